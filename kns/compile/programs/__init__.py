"""The real programs that a lab runs of itself, and the texts that they read."""
