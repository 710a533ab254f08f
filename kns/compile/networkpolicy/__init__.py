"""NetworkPolicies in the kernel: one nft table per family on every node with an isolated pod."""
