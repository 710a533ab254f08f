"""kns: Kubernetes networking made of the Linux kernel's own parts."""

__version__ = "0.1.0"
