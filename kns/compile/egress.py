"""How pods leave the cluster: flannel's masquerade and forward chains, or ip-masq-agent's.

    nat POSTROUTING    → KUBE-POSTROUTING (kube-proxy)
                       → FLANNEL-POSTRTG   pods to the outside: MASQUERADE
       or, with nonMasqueradeCIDRs,
                       → IP-MASQ-AGENT     anybody to anywhere but these: MASQUERADE
    filter FORWARD     … kube-proxy's jumps
                       → FLANNEL-FWD       the pod network is accepted both ways

Without masquerade a packet leaves with the pod's address and no answer finds its way back.
Sources: flannel pkg/trafficmngr/iptables/iptables.go (masqRules, forwardRules);
ip-masq-agent cmd/ip-masq-agent/ip-masq-agent.go (syncMasqRules).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from kns.addresses import IPFamily, IPNetwork
from kns.cluster.model import Cluster, Network
from kns.compile import names
from kns.kinds.node import Node
from kns.state.model import Chain, IptablesTable, Netns

_COMMENT = '-m comment --comment "flanneld {what}"'
_AGENT_COMMENT = '-m comment --comment "ip-masq-agent: {what}"'
_AGENT_CHAIN = "IP-MASQ-AGENT"
_BUILT_IN = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}
_LINK_LOCAL = {IPFamily.IPV4: "169.254.0.0/16", IPFamily.IPV6: "fe80::/10"}
_MULTICAST = {IPFamily.IPV4: "224.0.0.0/4", IPFamily.IPV6: "ff00::/8"}


def _of_family(cidrs: Iterable[IPNetwork], family: IPFamily) -> IPNetwork | None:
    return next((cidr for cidr in cidrs if cidr.version == family.version), None)


def on_node(cluster: Cluster, node: Node) -> Netns:
    """flannel's chains in both families, below whatever chains are there already."""
    return Netns(
        names.netns_of_node(cluster.name, node.name),
        links=(),
        iptables=tuple(
            table for family in IPFamily for table in flannel_tables(cluster.network, node, family)
        ),
    )


def built_in_chains(cluster: Cluster, node: Node) -> Netns:
    """Tables filter and nat as the kernel makes them, for the chains of egress to be hung into."""
    name = names.netns_of_node(cluster.name, node.name)
    families = (f for f in IPFamily if flannel_tables(cluster.network, node, f))
    tables = tuple(
        IptablesTable(family, table, tuple(Chain(chain, policy="ACCEPT") for chain in chains))
        for family in families
        for table, chains in _BUILT_IN.items()
    )
    return Netns(name, links=(), iptables=tables)


def flannel_tables(network: Network, node: Node, family: IPFamily) -> tuple[IptablesTable, ...]:
    """flannel's chains alone, to be laid over kube-proxy's; empty without a pod CIDR."""
    cluster, own = _of_family(network.pod_cidrs, family), _of_family(node.pod_cidrs, family)
    if cluster is None or own is None:
        return ()
    forward = _COMMENT.format(what="forward")
    filter_table = IptablesTable(
        family,
        "filter",
        (
            Chain("FORWARD", (f"{forward} -j FLANNEL-FWD",), "ACCEPT"),
            Chain(
                "FLANNEL-FWD",
                (f"-s {cluster} {forward} -j ACCEPT", f"-d {cluster} {forward} -j ACCEPT"),
            ),
        ),
    )
    if not network.egress.masquerade:
        return (filter_table,)
    if network.egress.non_masquerade_cidrs:
        return (filter_table, IptablesTable(family, "nat", _agent_chains(network, family)))
    masq = _COMMENT.format(what="masq")
    nat = IptablesTable(
        family,
        "nat",
        (
            Chain("POSTROUTING", (f"{masq} -j FLANNEL-POSTRTG",), "ACCEPT"),
            Chain("FLANNEL-POSTRTG", _masquerade_rules(cluster, own, family)),
        ),
    )
    return (filter_table, nat)


def _agent_chains(network: Network, family: IPFamily) -> tuple[Chain, ...]:
    """ip-masq-agent's: it knows no pod network, only where not to translate."""
    jump = _AGENT_COMMENT.format(
        what="ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom"
        f" {_AGENT_CHAIN} chain"
    )
    local = _AGENT_COMMENT.format(what="local traffic is not subject to MASQUERADE")
    last = _AGENT_COMMENT.format(
        what="outbound traffic is subject to MASQUERADE (must be last in chain)"
    )
    egress = network.egress
    exempt = [] if egress.masq_link_local else [_LINK_LOCAL[family]]
    exempt += [str(c) for c in egress.non_masquerade_cidrs if c.version == family.version]
    rules = tuple(f"-d {cidr} {local} -j RETURN" for cidr in exempt)
    return (
        Chain(
            "POSTROUTING",
            (f"{jump} -m addrtype ! --dst-type LOCAL -j {_AGENT_CHAIN}",),
            "ACCEPT",
        ),
        Chain(_AGENT_CHAIN, (*rules, f"{last} -j MASQUERADE --random-fully")),
    )


def _masquerade_rules(cluster: IPNetwork, own: IPNetwork, family: IPFamily) -> tuple[str, ...]:
    masq = _COMMENT.format(what="masq")
    multicast = ip_network(_MULTICAST[family])
    return (
        # kube-proxy's mark: KUBE-POSTROUTING has decided about it already
        f"-m mark --mark 0x4000/0x4000 {masq} -j RETURN",
        f"-s {own} -d {cluster} {masq} -j RETURN",
        f"-s {cluster} -d {own} {masq} -j RETURN",
        f"! -s {cluster} -d {own} {masq} -j RETURN",
        f"-s {cluster} ! -d {multicast} {masq} -j MASQUERADE --random-fully",
        f"! -s {cluster} -d {cluster} {masq} -j MASQUERADE --random-fully",
    )
