"""The only side effects: rtnetlink, netns, netfilter, ipvs, sysctl, processes, capabilities."""
