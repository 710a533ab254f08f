"""Pure: a resolved Cluster becomes the HostState that Kubernetes would have made of it."""
