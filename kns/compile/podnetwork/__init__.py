"""Pod networks: how packets reach the pods of other nodes."""
