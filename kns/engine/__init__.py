"""Ties observe, plan and apply together: up, down, status, and where a lab keeps its files."""
