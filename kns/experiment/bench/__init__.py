"""Measuring kube-proxy's modes against the number of services."""
