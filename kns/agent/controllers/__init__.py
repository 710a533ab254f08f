"""Kubernetes' controllers, as functions from a cluster's objects to the writes that they want."""
