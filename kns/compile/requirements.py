"""What kns wants of a machine, the default mode and all others: programs, and kernel features.

`kns doctor` tries each of them.
"""

from __future__ import annotations

from typing import Final

from kns.compile import faults
from kns.compile.networkpolicy import table as networkpolicy
from kns.compile.podnetwork.by_mode import POD_NETWORKS
from kns.compile.proxy.by_mode import proxies
from kns.state.requirements import Feature, Need, Tool


def _link(kind: str) -> tuple[str, ...]:
    return ("ip", "link", "add", "kns0", "type", kind)


TOOLS: Final[tuple[Tool, ...]] = (
    Tool("ip", Need.REQUIRED, "kns script, and your own looks", ("-V",)),
    Tool("ping", Need.REQUIRED, "probes by ICMP", ("-V",)),
    Tool("curl", Need.REQUIRED, "probes by TCP"),
    *(tool for proxy in proxies() for tool in proxy.TOOLS),
    Tool("conntrack", Need.OPTIONAL, "looking at connections"),
    Tool("tcpdump", Need.OPTIONAL, "kns capture"),
    Tool("dig", Need.OPTIONAL, "looking at DNS", ("-v",)),
    Tool("nginx", Need.OPTIONAL, "Ingress", ("-v",)),
    Tool("openssl", Need.OPTIONAL, "kubectl, Ingress: certificates", ("version",)),
    Tool("haproxy", Need.OPTIONAL, "loadBalancer: {mode: proxy}", ("-v",)),
    Tool("bird", Need.OPTIONAL, "loadBalancer: {mode: bgp}"),
)
FEATURES: Final[tuple[Feature, ...]] = (
    Feature("netns", Need.REQUIRED, "everything", ("ip", "link", "show", "lo")),
    Feature("veth", Need.REQUIRED, "pods", _link("veth"), "veth"),
    Feature("bridge", Need.REQUIRED, "cni0", _link("bridge"), "bridge"),
    *(feature for proxy in proxies() for feature in proxy.FEATURES),
    networkpolicy.FEATURE,
    *(feature for network in POD_NETWORKS.values() for feature in network.FEATURES),
    faults.SHAPING,
    faults.NETEM,
    Feature(
        "conntrack list",
        Need.OPTIONAL,
        "stale UDP connections",
        ("conntrack", "-L"),
        "nf_conntrack_netlink",
    ),
)
