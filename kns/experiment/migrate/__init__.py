"""What changes for a cluster's Services when kube-proxy's mode or release does."""
