"""The resolved Kubernetes model: addresses, names, selectors, endpoints. No kernel, no I/O."""
