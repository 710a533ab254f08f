"""ping, curl, dns and capture from inside a lab; what Kubernetes promises; verify and trace."""
