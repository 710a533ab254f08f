"""The structure of kube-proxy's nft table, which it has changed three times.

    ≤ 1.33   every filter chain before the DNAT; a chain for each endpoint; a chain that marks
    1.34     checks for endpoints after the DNAT, at the ordinary priority; a cluster IP is
             masqueraded whatever the port
    1.36     no chain that marks; one DNAT by a map for a service port; pods that reach themselves
             are told by a set; cluster IPs are masqueraded before the service is looked up
    1.37     a single endpoint is a plain DNAT

Source: nftablesBaseChains, nftablesJumpChains, setupNFTables and syncProxyRules in
pkg/proxy/nftables/proxier.go of those releases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from kns.kinds.release import Release


class ClusterIPMasquerade(StrEnum):
    """How the rule for clients from outside the pod network finds packets to a cluster IP."""

    BY_PORT = "in the service's chain, by address and port"
    BY_ADDRESS = "in the service's chain, by address"
    AT_ONCE = "in the chain services, for all cluster IPs"


@dataclass(frozen=True, slots=True)
class Generation:
    """What the table of one generation is made of."""

    #: the base chains; -100 has the name dstnat in prerouting only, which is how nft prints it
    hooks: Mapping[str, str]
    #: chain, and where it jumps to
    jumps: tuple[tuple[str, str], ...]
    cluster_ip_masquerade: ClusterIPMasquerade
    #: the chain mark-for-masquerade, and a chain for each endpoint with a hairpin rule of its own;
    #: else marks are set where they are due, hairpins are in the set hairpin-connections, and only
    #: endpoints that remember their clients have chains
    small_chains: bool
    #: a chain with one endpoint does not choose
    plain_single: bool


def _hook(kind: str, hook: str, priority: str) -> str:
    return f"type {kind} hook {hook} priority {priority}; policy accept;"


_NAT_HOOKS: Final = {
    "nat-prerouting": _hook("nat", "prerouting", "dstnat"),
    "nat-output": _hook("nat", "output", "-100"),
    "nat-postrouting": _hook("nat", "postrouting", "srcnat"),
}
_NAT_JUMPS: Final = (
    ("nat-prerouting", "jump services"),
    ("nat-output", "jump services"),
    ("nat-postrouting", "jump masquerading"),
)
_FIRST: Final = Generation(
    hooks={
        "filter-prerouting": _hook("filter", "prerouting", "dstnat - 10"),
        "filter-input": _hook("filter", "input", "-110"),
        "filter-forward": _hook("filter", "forward", "-110"),
        "filter-output": _hook("filter", "output", "-110"),
        "filter-output-post-dnat": _hook("filter", "output", "-90"),
        **_NAT_HOOKS,
    },
    jumps=(
        ("filter-prerouting", "ct state new jump firewall-check"),
        ("filter-input", "ct state new jump nodeport-endpoints-check"),
        ("filter-input", "ct state new jump service-endpoints-check"),
        ("filter-forward", "ct state new jump service-endpoints-check"),
        ("filter-forward", "ct state new jump cluster-ips-check"),
        ("filter-output", "ct state new jump service-endpoints-check"),
        ("filter-output", "ct state new jump firewall-check"),
        ("filter-output-post-dnat", "ct state new jump cluster-ips-check"),
        *_NAT_JUMPS,
    ),
    cluster_ip_masquerade=ClusterIPMasquerade.BY_PORT,
    small_chains=True,
    plain_single=False,
)
_SECOND: Final = replace(
    _FIRST,
    hooks={
        "filter-prerouting-pre-dnat": _hook("filter", "prerouting", "dstnat - 10"),
        "filter-output-pre-dnat": _hook("filter", "output", "-110"),
        "filter-input": _hook("filter", "input", "filter"),
        "filter-forward": _hook("filter", "forward", "filter"),
        "filter-output": _hook("filter", "output", "filter"),
        **_NAT_HOOKS,
    },
    jumps=(
        ("filter-prerouting-pre-dnat", "ct state new jump firewall-check"),
        ("filter-output-pre-dnat", "ct state new jump firewall-check"),
        ("filter-input", "ct state new jump nodeport-endpoints-check"),
        ("filter-input", "ct state new jump service-endpoints-check"),
        ("filter-forward", "ct state new jump service-endpoints-check"),
        ("filter-forward", "ct state new jump cluster-ips-check"),
        ("filter-output", "ct state new jump service-endpoints-check"),
        ("filter-output", "ct state new jump cluster-ips-check"),
        *_NAT_JUMPS,
    ),
    cluster_ip_masquerade=ClusterIPMasquerade.BY_ADDRESS,
)
_THIRD: Final = replace(
    _SECOND, cluster_ip_masquerade=ClusterIPMasquerade.AT_ONCE, small_chains=False
)
#: the first release of each, the newest first
_GENERATIONS: Final[Mapping[Release, Generation]] = {
    Release.V1_37: replace(_THIRD, plain_single=True),
    Release.V1_36: _THIRD,
    Release.V1_34: _SECOND,
    Release.V1_30: _FIRST,
}


def generation(release: Release) -> Generation:
    """The table's structure in a release."""
    return next(found for first, found in _GENERATIONS.items() if release >= first)
