"""Kernel vocabulary: what a set of netns holds, desired or observed."""
