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
from dataclasses import replace
from ipaddress import ip_network

from kns.addresses import IPFamily, IPNetwork
from kns.cluster.model import Network
from kns.kinds.node import Node
from kns.state.model import Chain, IptablesTable

_COMMENT = '-m comment --comment "flanneld {what}"'
_AGENT_COMMENT = '-m comment --comment "ip-masq-agent: {what}"'
_AGENT_CHAIN = "IP-MASQ-AGENT"
_LINK_LOCAL = {IPFamily.IPV4: "169.254.0.0/16", IPFamily.IPV6: "fe80::/10"}
_MULTICAST = {IPFamily.IPV4: "224.0.0.0/4", IPFamily.IPV6: "ff00::/8"}


def _of_family(cidrs: Iterable[IPNetwork], family: IPFamily) -> IPNetwork | None:
    return next((cidr for cidr in cidrs if cidr.version == family.version), None)


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


def bare_tables(family: IPFamily) -> tuple[IptablesTable, ...]:
    """filter and nat as the kernel makes them: built-in chains that accept."""
    built_in = {
        "filter": ("INPUT", "FORWARD", "OUTPUT"),
        "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    }
    return tuple(
        IptablesTable(family, table, tuple(Chain(chain, policy="ACCEPT") for chain in chains))
        for table, chains in built_in.items()
    )


def merge(
    below: Iterable[IptablesTable], above: Iterable[IptablesTable]
) -> tuple[IptablesTable, ...]:
    """Tables of one family with the rules of `above` appended to chains that both have."""
    merged = {table.name: table for table in below}
    for table in above:
        base = merged.get(table.name)
        merged[table.name] = table if base is None else _merge_table(base, table)
    return tuple(merged.values())


def _merge_table(base: IptablesTable, extra: IptablesTable) -> IptablesTable:
    chains = {chain.name: chain for chain in base.chains}
    for chain in extra.chains:
        have = chains.get(chain.name)
        chains[chain.name] = (
            chain if have is None else replace(have, rules=(*have.rules, *chain.rules))
        )
    return replace(base, chains=tuple(chains.values()))
