"""kube-proxy's modes: what each writes on a node for the services and their endpoints."""
