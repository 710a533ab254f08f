"""The lab's agent process: the servers in the pods, DNS, health checks, controllers."""
