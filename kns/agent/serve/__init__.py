"""The agent's servers: HTTP as agnhost's netexec speaks it, DNS, UDP and SCTP."""
