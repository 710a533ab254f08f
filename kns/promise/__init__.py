"""What Kubernetes promises of a flow: an oracle that looks at the Cluster alone."""
