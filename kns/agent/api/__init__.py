"""The Kubernetes API of a lab: what kubectl speaks with."""
