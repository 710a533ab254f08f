"""What kubelet does for the pods of all nodes: probes, hooks, restarts, orderly ends, accounts."""
