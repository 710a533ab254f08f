"""How pods leave the cluster: flannel's chains, ip-masq-agent's, egress gateways."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from kns.addresses import IPFamily, IPNetwork
from kns.cluster.model import Cluster
from kns.compile import egress, egress_gateway
from kns.kinds.networking import EgressGateway, EgressOptions, PodNetworkMode
from kns.kinds.pod import Pod
from kns.state.model import Chain, NextHop, PolicyRule, Route
from tests.clusters import make_cluster, make_network

EVERYWHERE: tuple[IPNetwork, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
CRAWLER = '-m comment --comment "egress gateway: default/pod1'
INSIDE = '-m comment --comment "egress gateway: stays inside" -j RETURN'


def with_egress(options: EgressOptions, mode: PodNetworkMode = PodNetworkMode.HOST_GW) -> Cluster:
    """Three nodes with a pod each; pod1 alone is labelled app: crawler."""
    cluster = make_cluster(nodes=3, network=make_network(pod_network=mode))
    pods = tuple(
        replace(pod, labels={"app": "crawler" if pod.name == "pod1" else "shop"})
        for pod in cluster.pods
    )
    network = replace(cluster.network, egress=options)
    return replace(cluster, network=network, pods=pods)


def gateway(node: str = "node3", **changes: object) -> EgressGateway:
    fields = {"selector": {"app": "crawler"}, "destination_cidrs": EVERYWHERE, **changes}
    return EgressGateway(node, **fields)  # type: ignore[arg-type]


def chain(cluster: Cluster, index: int, table: str, name: str) -> tuple[str, ...]:
    """A gateway chain's rules on the node with that number."""
    tables = egress_gateway.gateway_tables(cluster, cluster.nodes[index], IPFamily.IPV4)
    for item in tables:
        for found in item.chains:
            if (item.name, found.name) == (table, name):
                return found.rules
    return ()


# -- ip-masq-agent ---------------------------------------------------------------------------------


def nat(options: EgressOptions) -> tuple[Chain, ...]:
    cluster = with_egress(options)
    tables = egress.flannel_tables(cluster.network, cluster.nodes[0], IPFamily.IPV4)
    return next((table.chains for table in tables if table.name == "nat"), ())


CIDRS: tuple[IPNetwork, ...] = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_non_masquerade_cidrs_put_ip_masq_agent_in_flannels_place() -> None:
    local = '-m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE"'
    assert nat(EgressOptions(non_masquerade_cidrs=CIDRS)) == (
        Chain(
            "POSTROUTING",
            (
                '-m comment --comment "ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL'
                ' destination traffic to our custom IP-MASQ-AGENT chain" -m addrtype ! --dst-type'
                " LOCAL -j IP-MASQ-AGENT",
            ),
            "ACCEPT",
        ),
        Chain(
            "IP-MASQ-AGENT",
            (
                f"-d 169.254.0.0/16 {local} -j RETURN",
                f"-d 10.0.0.0/8 {local} -j RETURN",
                '-m comment --comment "ip-masq-agent: outbound traffic is subject to MASQUERADE'
                ' (must be last in chain)" -j MASQUERADE --random-fully',
            ),
        ),
    )


def test_link_local_destinations_are_translated_if_told_so() -> None:
    options = EgressOptions(non_masquerade_cidrs=CIDRS, masq_link_local=True)
    assert not any("169.254" in rule for rule in nat(options)[1].rules)


def test_without_them_it_is_flannel() -> None:
    assert [item.name for item in nat(EgressOptions())] == ["POSTROUTING", "FLANNEL-POSTRTG"]
    assert nat(EgressOptions(masquerade=False, non_masquerade_cidrs=CIDRS)) == ()


# -- gateways --------------------------------------------------------------------------------------


def test_what_a_chosen_pod_begins_is_marked_on_its_node() -> None:
    cluster = with_egress(EgressOptions(gateways=(gateway(),)))
    assert chain(cluster, 0, "mangle", "PREROUTING") == (
        '-m conntrack --ctdir ORIGINAL -m comment --comment "egress gateway" -j EGRESS-GATEWAY',
    )
    assert chain(cluster, 0, "mangle", "EGRESS-GATEWAY") == (
        f"-d 10.244.0.0/16 {INSIDE}",
        f"-d 172.18.0.0/24 {INSIDE}",
        f'-s 10.244.0.2/32 {CRAWLER} by node3" -j MARK --set-xmark 0x30000/0xffff0000',
    )


def test_marked_packets_look_up_the_gateways_table() -> None:
    cluster = with_egress(EgressOptions(gateways=(gateway(),)))
    node = cluster.nodes[0]
    assert egress_gateway.policy_rules(cluster, node) == (
        PolicyRule(100, table=254, destination=ip_network("10.244.0.0/16")),
        PolicyRule(100, table=254, destination=ip_network("172.18.0.0/24")),
        PolicyRule(110, table=1003, mark=0x30000, family=IPFamily.IPV4),
    )
    hop = NextHop(ip_address("172.18.0.4"), "eth0")
    assert egress_gateway.routes(cluster, node) == (Route(EVERYWHERE[0], (hop,), table=1003),)


def test_with_vxlan_the_way_to_the_gateway_is_the_overlay() -> None:
    cluster = with_egress(EgressOptions(gateways=(gateway(),)), PodNetworkMode.VXLAN)
    hop = NextHop(ip_address("10.244.2.0"), "flannel.1", onlink=True)
    (route,) = egress_gateway.routes(cluster, cluster.nodes[0])
    assert route.hops == (hop,)


def test_marked_packets_are_translated_at_the_gateway_alone() -> None:
    cluster = with_egress(EgressOptions(gateways=(gateway(),)))
    assert chain(cluster, 0, "nat", "EGRESS-GATEWAY") == (
        '-m mark ! --mark 0x0/0xffff0000 -m comment --comment "egress gateway: translated there"'
        " -j ACCEPT",
    )
    assert chain(cluster, 2, "nat", "EGRESS-GATEWAY") == (
        f"-d 10.244.0.0/16 {INSIDE}",
        f"-d 172.18.0.0/24 {INSIDE}",
        f'-s 10.244.0.2/32 {CRAWLER}" -j MASQUERADE --random-fully',
    )


def test_nodes_that_have_no_part_in_it_have_no_rules() -> None:
    cluster = with_egress(EgressOptions(gateways=(gateway(),)))
    node = cluster.nodes[1]
    assert egress_gateway.gateway_tables(cluster, node, IPFamily.IPV4) == ()
    assert egress_gateway.policy_rules(cluster, node) == ()
    assert egress_gateway.routes(cluster, node) == ()


def test_a_pod_on_the_gateway_itself_is_only_translated() -> None:
    cluster = with_egress(EgressOptions(gateways=(gateway("node1"),)))
    assert egress_gateway.policy_rules(cluster, cluster.nodes[0]) == ()
    rules = chain(cluster, 0, "nat", "EGRESS-GATEWAY")
    assert rules[-1].endswith("-j MASQUERADE --random-fully")
    assert not any("ACCEPT" in rule for rule in rules)


def test_destinations_and_exceptions() -> None:
    chosen = gateway(
        destination_cidrs=(ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")),
        excluded_cidrs=(ip_network("203.0.113.64/26"),),
    )
    rules = chain(with_egress(EgressOptions(gateways=(chosen,))), 0, "mangle", "EGRESS-GATEWAY")
    assert rules[2:] == (
        f'-s 10.244.0.2/32 -d 203.0.113.64/26 {CRAWLER} by node3" -j RETURN',
        f'-s 10.244.0.2/32 -d 203.0.113.0/24 {CRAWLER} by node3"'
        " -j MARK --set-xmark 0x30000/0xffff0000",
    )


def test_the_first_gateway_that_chooses_a_pod_is_its_own() -> None:
    everybody = gateway("node2", selector={})
    cluster = with_egress(EgressOptions(gateways=(gateway(), everybody)))
    assert "by node3" in chain(cluster, 0, "mangle", "EGRESS-GATEWAY")[-1]
    assert "by node2" in chain(cluster, 2, "mangle", "EGRESS-GATEWAY")[-1]
    reverse = with_egress(EgressOptions(gateways=(everybody, gateway())))
    assert "by node2" in chain(reverse, 0, "mangle", "EGRESS-GATEWAY")[-1]


def test_pods_of_other_namespaces_are_not_chosen() -> None:
    cluster = with_egress(EgressOptions(gateways=(gateway(namespace="shop"),)))
    assert egress_gateway.policy_rules(cluster, cluster.nodes[0]) == ()
    (first, *others) = cluster.pods
    moved: tuple[Pod, ...] = (replace(first, namespace="shop"), *others)
    moved_cluster = replace(cluster, pods=moved)
    assert len(egress_gateway.policy_rules(moved_cluster, cluster.nodes[0])) == 3


def test_both_families_have_their_own_rules() -> None:
    network = make_network((IPFamily.IPV4, IPFamily.IPV6))
    cluster = make_cluster(nodes=3, network=network)
    options = EgressOptions(gateways=(gateway(selector={"app": "a"}),))
    cluster = replace(cluster, network=replace(network, egress=options))
    node = cluster.nodes[0]
    assert [rule.family for rule in egress_gateway.policy_rules(cluster, node)] == [
        *[IPFamily.IPV4] * 3,
        *[IPFamily.IPV6] * 3,
    ]
    assert [str(route.destination) for route in egress_gateway.routes(cluster, node)] == [
        "0.0.0.0/0",
        "::/0",
    ]
