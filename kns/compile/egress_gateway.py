"""Egress gateways: chosen pods leave the cluster by one node, with that node's address.

    the pod's node   mangle PREROUTING  → EGRESS-GATEWAY   what the pod itself begins: a mark
                     ip rule 100        to the cluster's own subnets: the main table
                     ip rule 110        the mark: the gateway's table, default via the gateway
                     nat POSTROUTING    → EGRESS-GATEWAY   marked: accepted untranslated
    the gateway      nat POSTROUTING    → EGRESS-GATEWAY   from these pods: MASQUERADE

Only connections that the pod begins are marked (--ctdir ORIGINAL): its answers to clients outside
must leave by the node by which the questions came. The mark is set before a service's address is
translated to a pod's, so the rules for the cluster's own subnets come first. OVN-Kubernetes'
EgressIP and Cilium's CiliumEgressGatewayPolicy promise the same and do it in OVS and eBPF; here
the kernel's policy routing does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from kns.addresses import IPFamily, IPNetwork
from kns.cluster.egress import pods_by_gateway
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.podnetwork.by_mode import pod_network
from kns.kinds.networking import EgressGateway
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.state.model import Chain, IptablesTable, Netns, PolicyRule, Route

CHAIN = "EGRESS-GATEWAY"
#: the upper half of the mark is a gateway's number; kube-proxy's bits are in the lower
MARK_MASK = 0xFFFF0000
MARK_STEP = 0x10000
#: routing tables of gateways, by the number of the gateway's node
FIRST_TABLE = 1000
#: the cluster's own subnets, before the gateways
LOCAL_PRIORITY, GATEWAY_PRIORITY = 100, 110
_COMMENT = '-m comment --comment "egress gateway{what}"'
_MANGLE_REST = ("INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_DEFAULT = {IPFamily.IPV4: ip_network("0.0.0.0/0"), IPFamily.IPV6: ip_network("::/0")}


def _number(cluster: Cluster, gateway: EgressGateway) -> int:
    """A gateway's number is its node's: two policies with one node share mark and table."""
    return 1 + [node.name for node in cluster.nodes].index(gateway.node)


def _own_subnets(cluster: Cluster, family: IPFamily) -> tuple[IPNetwork, ...]:
    network = cluster.network
    subnets = (*network.pod_cidrs, *network.node_cidrs)
    return tuple(cidr for cidr in subnets if cidr.version == family.version)


def _sent_away(cluster: Cluster, node: Node) -> Iterator[tuple[EgressGateway, tuple[Pod, ...]]]:
    """The node's pods that leave by other nodes."""
    for gateway, pods in pods_by_gateway(cluster):
        here = tuple(pod for pod in pods if pod.node == node.name)
        if here and gateway.node != node.name:
            yield gateway, here


def on_node(cluster: Cluster, node: Node) -> Netns:
    """What the gateways add to a node: rules and tables of routing, marks and masquerade."""
    return Netns(
        names.netns_of_node(cluster.name, node.name),
        links=(),
        routes=routes(cluster, node),
        rules=policy_rules(cluster, node),
        iptables=tuple(
            table for family in IPFamily for table in gateway_tables(cluster, node, family)
        ),
    )


def policy_rules(cluster: Cluster, node: Node) -> tuple[PolicyRule, ...]:
    """The node's routing rules: marked packets leave by their gateway."""
    gateways = {_number(cluster, gateway) for gateway, _ in _sent_away(cluster, node)}
    rules: list[PolicyRule] = []
    for family in cluster.network.families if gateways else ():
        rules += [
            PolicyRule(LOCAL_PRIORITY, table=254, destination=cidr, family=family)
            for cidr in _own_subnets(cluster, family)
        ]
        rules += [
            PolicyRule(GATEWAY_PRIORITY, table=FIRST_TABLE + g, mark=g * MARK_STEP, family=family)
            for g in sorted(gateways)
        ]
    return tuple(rules)


def routes(cluster: Cluster, node: Node) -> tuple[Route, ...]:
    """The gateways' tables on the node: a default route by the pod network's way to the gateway."""
    found: dict[tuple[int, IPFamily], Route] = {}
    nodes = {item.name: item for item in cluster.nodes}
    way = pod_network(cluster.network.pod_network)
    for gateway, _ in _sent_away(cluster, node):
        table = FIRST_TABLE + _number(cluster, gateway)
        for cidr in nodes[gateway.node].pod_cidrs:
            family = IPFamily.of(cidr)
            hop = way.hop_to(nodes[gateway.node], cidr)
            found[table, family] = Route(_DEFAULT[family], (hop,), table=table)
    return tuple(found.values())


def gateway_tables(cluster: Cluster, node: Node, family: IPFamily) -> tuple[IptablesTable, ...]:
    """The chains on the node, to be laid under flannel's; none if no gateway concerns it."""
    marking = _marking(cluster, node, family)
    leaving = _leaving(cluster, node, family)
    jump = f"{_COMMENT.format(what='')} -j {CHAIN}"
    tables = []
    if marking:
        only = f"-m conntrack --ctdir ORIGINAL {_COMMENT.format(what='')} -j {CHAIN}"
        built_in = (Chain(name, policy="ACCEPT") for name in _MANGLE_REST)
        chains = (Chain("PREROUTING", (only,), "ACCEPT"), *built_in, Chain(CHAIN, marking))
        tables.append(IptablesTable(family, "mangle", chains))
    if marking or leaving:
        untranslated = _COMMENT.format(what=": translated there")
        mask = f"0x{MARK_MASK:x}"
        stays = f"-m mark ! --mark 0x0/{mask} {untranslated} -j ACCEPT"
        rules = (*((stays,) if marking else ()), *leaving)
        chains = (Chain("POSTROUTING", (jump,), "ACCEPT"), Chain(CHAIN, rules))
        tables.append(IptablesTable(family, "nat", chains))
    return tuple(tables)


def _marking(cluster: Cluster, node: Node, family: IPFamily) -> tuple[str, ...]:
    """Marks for what the node's own pods send to the outside, or to a service."""
    marks = tuple(_marks(cluster, node, family))
    return (*_stays_inside(cluster, family), *marks) if marks else ()


def _marks(cluster: Cluster, node: Node, family: IPFamily) -> Iterator[str]:
    for gateway, pods in _sent_away(cluster, node):
        mark = f"0x{_number(cluster, gateway) * MARK_STEP:x}/0x{MARK_MASK:x}"
        for pod, address in _addresses(pods, family):
            words = _COMMENT.format(what=f": {pod.full_name} by {gateway.node}")
            yield from _chosen(gateway, f"-s {address}", words, f"MARK --set-xmark {mark}")


def _leaving(cluster: Cluster, node: Node, family: IPFamily) -> tuple[str, ...]:
    """Translation at the gateway itself: for its pods, wherever they run."""
    rules = [
        rule
        for gateway, pods in pods_by_gateway(cluster)
        for pod, address in _addresses(pods if gateway.node == node.name else (), family)
        for rule in _chosen(
            gateway,
            f"-s {address}",
            _COMMENT.format(what=f": {pod.full_name}"),
            "MASQUERADE --random-fully",
        )
    ]
    return (*_stays_inside(cluster, family), *rules) if rules else ()


def _stays_inside(cluster: Cluster, family: IPFamily) -> Iterator[str]:
    words = _COMMENT.format(what=": stays inside")
    return (f"-d {cidr} {words} -j RETURN" for cidr in _own_subnets(cluster, family))


def _chosen(gateway: EgressGateway, source: str, words: str, target: str) -> Iterator[str]:
    """The target for what goes to the gateway's destinations, but for the excluded ones."""
    family = IPFamily.IPV6 if ":" in source else IPFamily.IPV4
    for cidr in _of_family(gateway.excluded_cidrs, family):
        yield f"{source} -d {cidr} {words} -j RETURN"
    for cidr in _of_family(gateway.destination_cidrs, family):
        to = f" -d {cidr}" if cidr.prefixlen else ""
        yield f"{source}{to} {words} -j {target}"


def _addresses(pods: Iterable[Pod], family: IPFamily) -> Iterator[tuple[Pod, str]]:
    for pod in pods:
        address = pod.address(family)
        if address is not None:
            yield pod, f"{address}/{address.max_prefixlen}"


def _of_family(cidrs: Iterable[IPNetwork], family: IPFamily) -> Iterator[IPNetwork]:
    return (cidr for cidr in cidrs if cidr.version == family.version)
