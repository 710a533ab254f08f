"""Questions put from a netns with real programs: ping, curl, DNS, datagrams."""
