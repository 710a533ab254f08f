"""kube-proxy's nftables mode of 1.30, rule by rule; test_release.py has what changed since."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from kns.addresses import IPFamily
from kns.compile.proxy.nftables import NftCompilation, nft_tables, recompile
from kns.compile.proxy.nftables_base import nodeport_addresses
from kns.compile.proxy.nftables_port import duration_text
from kns.compile.proxy.nftables_words import network_set_text
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.networking import DetectLocalMode, KubeProxyOptions, NFTablesOptions
from kns.kinds.node import Node
from kns.kinds.release import Release
from kns.kinds.service import (
    LoadBalancerIngress,
    Service,
    ServicePort,
    ServiceType,
    SessionAffinity,
    TrafficPolicy,
)
from kns.state.model import NftTable
from kns.state.nft import change as nft_change

NODE = Node(
    "node1",
    (ip_address("192.168.50.11"), ip_address("fd00:50::11")),
    (ip_network("10.244.1.0/24"), ip_network("fd00:10:244:1::/64")),
    host_addresses=(ip_address("10.244.1.1"),),
)
OPTIONS = KubeProxyOptions(
    version=Release.V1_30,
    cluster_cidrs=(ip_network("10.244.0.0/16"), ip_network("fd00:10:244::/56")),
)
#: names as kube-proxy made them for default/web, port http/TCP (captured rules)
SERVICE = "service-SUSTUHLJ-default/web/tcp/http"
LOCAL = "local-SUSTUHLJ-default/web/tcp/http"
EXTERNAL = "external-SUSTUHLJ-default/web/tcp/http"
FIREWALL = "firewall-SUSTUHLJ-default/web/tcp/http"
ENDPOINT_1 = "endpoint-FLXOMXXM-default/web/tcp/http__10.244.1.10/8080"
ENDPOINT_2 = "endpoint-ZRQGOVRH-default/web/tcp/http__10.244.2.10/8080"
ENDPOINT_1_V6 = "endpoint-JCTV2ASY-default/web/tcp/http__fd00.10.244.1..10/8080"


def web(**changes: object) -> Service:
    fields: dict[str, object] = {
        "cluster_ips": (ip_address("10.96.10.1"), ip_address("fd00:10:96::a01")),
        "ip_families": (IPFamily.IPV4, IPFamily.IPV6),
        "ports": (ServicePort(80, "http", target_port=8080),),
    }
    return Service("default", "web", **(fields | changes))  # type: ignore[arg-type]


def node_port(**changes: object) -> Service:
    port = ServicePort(80, "http", target_port=8080, node_port=30080)
    return web(**{"type": ServiceType.NODE_PORT, "ports": (port,), **changes})


def balanced(*ranges: str, ip: str = "203.0.113.10", **changes: object) -> Service:
    return node_port(
        type=ServiceType.LOAD_BALANCER,
        load_balancer_ingress=(LoadBalancerIngress(ip_address(ip)),),
        load_balancer_source_ranges=ranges,
        **changes,
    )


def slice_of(
    *endpoints: Endpoint, port: int = 8080, protocol: Protocol = Protocol.TCP
) -> EndpointSlice:
    family = IPFamily.of(endpoints[0].addresses[0]) if endpoints else IPFamily.IPV4
    ports = (EndpointPort(port, "http", protocol),)
    return EndpointSlice("default", "web-aaaaa", "web", family, ports, endpoints)


def endpoint(address: str, node: str = "node2", *, ready: bool = True) -> Endpoint:
    return Endpoint((ip_address(address),), ready=ready, node_name=node)


def terminating(address: str, node: str = "node2", *, serving: bool = True) -> Endpoint:
    return Endpoint(
        (ip_address(address),), ready=False, serving=serving, terminating=True, node_name=node
    )


BOTH = slice_of(endpoint("10.244.1.10", "node1"), endpoint("10.244.2.10"))
REMOTE = slice_of(endpoint("10.244.2.10"))


def table(
    *services: Service,
    slices: tuple[EndpointSlice, ...] = (BOTH,),
    options: KubeProxyOptions = OPTIONS,
    family: IPFamily = IPFamily.IPV4,
    node: Node = NODE,
) -> NftTable:
    chosen = replace(options, version=Release.V1_30)
    (result,) = nft_tables(services, slices, node, chosen, family)
    return result


def rules(found: NftTable, chain: str) -> tuple[str, ...]:
    return next(item.rules for item in found.chains if item.name == chain)


def elements(found: NftTable, name: str) -> tuple[str, ...]:
    return next(item.elements for item in found.sets if item.name == name)


def service_chains(found: NftTable) -> set[str]:
    return {chain.name for chain in found.chains if "/" in chain.name}


def test_table_without_services_is_there_in_both_families() -> None:
    names = [
        (found.family, found.name, len(found.chains), len(found.sets))
        for family in IPFamily
        for found in nft_tables((), (), NODE, OPTIONS, family)
    ]
    assert names == [(IPFamily.IPV4, "kube-proxy", 16, 7), (IPFamily.IPV6, "kube-proxy", 16, 7)]


def test_cluster_ip_goes_to_a_random_endpoint() -> None:
    found = table(web())
    assert elements(found, "service-ips") == (f"10.96.10.1 . tcp . 80 : goto {SERVICE}",)
    assert rules(found, SERVICE) == (
        "ip daddr 10.96.10.1 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade",
        f"numgen random mod 2 vmap {{ 0 : goto {ENDPOINT_1}, 1 : goto {ENDPOINT_2} }}",
    )
    assert rules(found, ENDPOINT_1) == (
        "ip saddr 10.244.1.10 jump mark-for-masquerade",
        "meta l4proto tcp dnat to 10.244.1.10:8080",
    )


def test_cluster_ip_of_ipv6_names_the_endpoint_with_dots() -> None:
    only = slice_of(endpoint("fd00:10:244:1::10", "node1"))
    found = table(web(), slices=(only,), family=IPFamily.IPV6)
    assert elements(found, "service-ips") == (f"fd00:10:96::a01 . tcp . 80 : goto {SERVICE}",)
    assert rules(found, ENDPOINT_1_V6) == (
        "ip6 saddr fd00:10:244:1::10 jump mark-for-masquerade",
        "meta l4proto tcp dnat to [fd00:10:244:1::10]:8080",
    )


def test_no_endpoints_are_rejected_everywhere() -> None:
    found = table(balanced(external_ips=(ip_address("198.51.100.7"),)), slices=())
    assert elements(found, "no-endpoint-services") == (
        '10.96.10.1 . tcp . 80 comment "default/web:http" : goto reject-chain',
        '198.51.100.7 . tcp . 80 comment "default/web:http" : goto reject-chain',
        '203.0.113.10 . tcp . 80 comment "default/web:http" : goto reject-chain',
    )
    assert elements(found, "no-endpoint-nodeports") == (
        'tcp . 30080 comment "default/web:http" : goto reject-chain',
    )
    assert elements(found, "cluster-ips") == ("10.96.10.1",)
    assert service_chains(found) == set()


def test_endpoints_that_neither_serve_nor_are_ready_are_no_endpoints() -> None:
    dead = slice_of(terminating("10.244.1.10", serving=False), endpoint("10.244.2.10", ready=False))
    found = table(web(), slices=(dead,))
    assert elements(found, "no-endpoint-services") == (
        '10.96.10.1 . tcp . 80 comment "default/web:http" : goto reject-chain',
    )


def test_external_policy_cluster_masquerades() -> None:
    found = table(balanced(external_ips=(ip_address("198.51.100.7"),)))
    assert rules(found, EXTERNAL) == ("jump mark-for-masquerade", f"goto {SERVICE}")
    assert elements(found, "service-nodeports") == (f"tcp . 30080 : goto {EXTERNAL}",)
    assert elements(found, "service-ips") == (
        f"10.96.10.1 . tcp . 80 : goto {SERVICE}",
        f"198.51.100.7 . tcp . 80 : goto {EXTERNAL}",
        f"203.0.113.10 . tcp . 80 : goto {EXTERNAL}",
    )


def test_external_policy_local_keeps_the_source() -> None:
    found = table(node_port(external_traffic_policy=TrafficPolicy.LOCAL))
    assert rules(found, EXTERNAL) == (
        f'ip saddr 10.244.0.0/16 goto {SERVICE} comment "short-circuit pod traffic"',
        'fib saddr type local jump mark-for-masquerade comment "masquerade local traffic"',
        f'fib saddr type local goto {SERVICE} comment "short-circuit local traffic"',
        f"goto {LOCAL}",
    )
    assert rules(found, LOCAL) == (f"numgen random mod 1 vmap {{ 0 : goto {ENDPOINT_1} }}",)


def test_external_policy_local_without_local_endpoint_drops() -> None:
    found = table(node_port(external_traffic_policy=TrafficPolicy.LOCAL), slices=(REMOTE,))
    assert elements(found, "no-endpoint-nodeports") == (
        'tcp . 30080 comment "default/web:http" : drop',
    )
    # pods and the node itself are still led to all endpoints
    assert elements(found, "service-nodeports") == (f"tcp . 30080 : goto {EXTERNAL}",)
    assert len(rules(found, EXTERNAL)) == 3
    assert service_chains(found) == {SERVICE, EXTERNAL, ENDPOINT_2}


def test_external_policy_local_uses_a_terminating_local_endpoint() -> None:
    draining = slice_of(
        terminating("10.244.1.10", "node1"),
        endpoint("10.244.2.10"),
    )
    found = table(node_port(external_traffic_policy=TrafficPolicy.LOCAL), slices=(draining,))
    assert rules(found, LOCAL) == (f"numgen random mod 1 vmap {{ 0 : goto {ENDPOINT_1} }}",)
    assert rules(found, SERVICE)[-1] == f"numgen random mod 1 vmap {{ 0 : goto {ENDPOINT_2} }}"


def test_internal_policy_local_uses_the_local_chain_only() -> None:
    found = table(web(internal_traffic_policy=TrafficPolicy.LOCAL))
    assert service_chains(found) == {LOCAL, ENDPOINT_1}
    assert rules(found, LOCAL) == (
        "ip daddr 10.96.10.1 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade",
        f"numgen random mod 1 vmap {{ 0 : goto {ENDPOINT_1} }}",
    )


def test_internal_policy_local_without_local_endpoint_drops() -> None:
    found = table(web(internal_traffic_policy=TrafficPolicy.LOCAL), slices=(REMOTE,))
    assert elements(found, "no-endpoint-services") == (
        '10.96.10.1 . tcp . 80 comment "default/web:http" : drop',
    )
    assert service_chains(found) == set()


def test_both_policies_local_keep_the_short_cuts() -> None:
    local = TrafficPolicy.LOCAL
    found = table(node_port(internal_traffic_policy=local, external_traffic_policy=local))
    assert service_chains(found) == {SERVICE, LOCAL, EXTERNAL, ENDPOINT_1, ENDPOINT_2}
    assert rules(found, SERVICE) == (
        f"numgen random mod 2 vmap {{ 0 : goto {ENDPOINT_1}, 1 : goto {ENDPOINT_2} }}",
    )


def test_affinity_has_a_set_for_each_endpoint() -> None:
    service = web(session_affinity=SessionAffinity.CLIENT_IP, session_affinity_timeout=90)
    found = table(service)
    known = ENDPOINT_1.replace("endpoint-", "affinity-")
    other = ENDPOINT_2.replace("endpoint-", "affinity-")
    assert next(item for item in found.sets if item.name == known).header == (
        "type ipv4_addr",
        "size 65535",
        "flags dynamic,timeout",
        "timeout 1m30s",
    )
    assert rules(found, SERVICE)[1:3] == (
        f"ip saddr @{known} goto {ENDPOINT_1}",
        f"ip saddr @{other} goto {ENDPOINT_2}",
    )
    assert rules(found, ENDPOINT_1)[1] == f"update @{known} {{ ip saddr }}"


def test_source_ranges_drop_all_others() -> None:
    found = table(balanced("203.0.113.128/25", "198.51.100.0/24"))
    assert rules(found, FIREWALL) == ("ip saddr != { 198.51.100.0/24, 203.0.113.128/25 } drop",)
    assert elements(found, "firewall-ips") == (
        f'203.0.113.10 . tcp . 80 comment "default/web:http" : goto {FIREWALL}',
    )


def test_source_range_with_the_node_lets_the_balancer_address_in() -> None:
    found = table(balanced("192.168.50.0/24"))
    assert rules(found, FIREWALL) == ("ip saddr != { 192.168.50.0/24, 203.0.113.10 } drop",)


def test_source_ranges_stay_without_endpoints() -> None:
    found = table(balanced("198.51.100.0/24"), slices=())
    assert rules(found, FIREWALL) == ("ip saddr != 198.51.100.0/24 drop",)


def test_source_ranges_of_the_other_family_mean_none() -> None:
    found = table(balanced("2001:db8::/32"))
    assert FIREWALL not in service_chains(found)


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (("203.0.113.0/24",), "203.0.113.0/24"),
        (("203.0.113.5/32",), "203.0.113.5"),
        (("0.0.0.0/0",), "0.0.0.0/0"),
        (("10.0.0.0/8", "10.1.0.0/16"), "{ 10.0.0.0/8 }"),
        (("10.0.0.0/9", "10.128.0.0/9"), "{ 10.0.0.0/8 }"),
        (("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"), "{ 10.0.0.0-10.0.2.255 }"),
        (("10.0.0.2/32", "10.0.0.1/32"), "{ 10.0.0.1-10.0.0.2 }"),
        (("10.0.0.3/32", "10.0.0.1/32"), "{ 10.0.0.1, 10.0.0.3 }"),
        (("2001:db8::/64", "2001:db8:0:1::/64", "fd00::1/128"), "{ 2001:db8::/63, fd00::1 }"),
    ],
)
def test_source_set_is_what_nft_prints(ranges: tuple[str, ...], expected: str) -> None:
    """The same rows are loaded into the kernel in tests/end_to_end."""
    assert network_set_text([ip_network(text) for text in ranges]) == expected


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ((), ("192.168.50.11",)),
        (("192.168.50.0/24",), ("192.168.50.11",)),
        (("10.0.0.0/8", "192.168.50.0/24"), ("192.168.50.11", "10.244.1.1")),
        (("172.16.0.0/12",), ()),
        (("fd00::/8",), ("192.168.50.11",)),
        (("127.0.0.0/8",), ()),
    ],
)
def test_node_ports_answer_on(addresses: tuple[str, ...], expected: tuple[str, ...]) -> None:
    cidrs = tuple(map(ip_network, addresses))
    options = KubeProxyOptions(nodeport_addresses=cidrs, version=Release.V1_30)
    found = nodeport_addresses(NODE, options, IPFamily.IPV4)
    assert found == tuple(map(ip_address, expected))


def test_node_ports_on_every_address_ask_the_fib() -> None:
    options = KubeProxyOptions(nodeport_addresses=(ip_network("0.0.0.0/0"),))
    found = table(options=options)
    assert rules(found, "services")[1] == (
        "fib daddr type local ip daddr != 127.0.0.0/8"
        " meta l4proto . th dport vmap @service-nodeports"
    )
    assert "nodeport-ips" not in {item.name for item in found.sets}


def test_flag_masquerade_all_is_not_for_nftables() -> None:
    assert table(web(), options=KubeProxyOptions(masquerade_all=True)) == table(
        web(), options=KubeProxyOptions()
    )


def test_nftables_section_masquerades_all_with_its_own_bit() -> None:
    own = NFTablesOptions(masquerade_all=True, masquerade_bit=15)
    found = table(web(), options=KubeProxyOptions(nftables=own))
    assert rules(found, SERVICE)[0] == "ip daddr 10.96.10.1 tcp dport 80 jump mark-for-masquerade"
    assert rules(found, "mark-for-masquerade") == ("meta mark set meta mark | 0x00008000",)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (KubeProxyOptions(), None),
        (
            KubeProxyOptions(detect_local_mode=DetectLocalMode.NODE_CIDR),
            "ip saddr != 10.244.1.0/24",
        ),
        (
            KubeProxyOptions(
                detect_local_mode=DetectLocalMode.BRIDGE_INTERFACE, pod_bridge_interface="cni0"
            ),
            'iif != "cni0"',
        ),
    ],
)
def test_traffic_from_outside_is_told_by(options: KubeProxyOptions, expected: str | None) -> None:
    first = rules(table(web(), options=options), SERVICE)[0]
    destination = "ip daddr 10.96.10.1 tcp dport 80"
    wanted = f"{destination} {expected} jump mark-for-masquerade"
    assert first == wanted if expected else first.startswith("numgen")


def test_sctp_and_udp_keep_their_names() -> None:
    ports = (ServicePort(53, "http", Protocol.UDP, 53, 30053),)
    udp = slice_of(endpoint("10.244.1.10", "node1"), port=53, protocol=Protocol.UDP)
    found = table(node_port(ports=ports), slices=(udp,))
    (dispatch,) = elements(found, "service-nodeports")
    assert dispatch.startswith("udp . 30053 : goto external-")


def test_names_longer_than_nft_allows_are_cut() -> None:
    long = "a" * 63
    service = Service(
        long,
        "b" * 63,
        cluster_ips=(ip_address("fd00:10:96::1"),),
        ports=(ServicePort(80, "c" * 63),),
    )
    address = ip_address("2001:db8:1111:2222:3333:4444:5555:6666")
    item = EndpointSlice(
        long,
        "x",
        "b" * 63,
        IPFamily.IPV6,
        (EndpointPort(65535, "c" * 63),),
        (Endpoint((address,), ready=True),),
    )
    found = table(service, slices=(item,), family=IPFamily.IPV6)
    (name,) = [chain.name for chain in found.chains if chain.name.startswith("endpoint-")]
    assert len(name) == len("endpoint-") + 240
    assert name.endswith("...")


def test_two_services_with_one_external_address_keep_the_first() -> None:
    """The kernel would refuse the second verdict, and with it the whole transaction."""
    shared = (ip_address("198.51.100.7"),)
    other = Service(
        "default",
        "zeta",
        cluster_ips=(ip_address("10.96.10.2"),),
        ports=(ServicePort(80),),
        external_ips=shared,
    )
    item = EndpointSlice(
        "default",
        "zeta-1",
        "zeta",
        IPFamily.IPV4,
        (EndpointPort(8080),),
        (endpoint("10.244.1.20"),),
    )
    found = table(other, web(external_ips=shared), slices=(BOTH, item))
    assert [e for e in elements(found, "service-ips") if "198.51.100.7" in e] == [
        f"198.51.100.7 . tcp . 80 : goto {EXTERNAL}"
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(10800, "3h"), (1, "1s"), (86400, "1d"), (3661, "1h1m1s"), (90061, "1d1h1m1s")],
)
def test_duration_is_what_nft_prints(seconds: int, expected: str) -> None:
    assert duration_text(seconds) == expected


# -- one change after another ----------------------------------------------------------------------


@pytest.mark.parametrize("release", list(Release), ids=str)
def test_one_endpoints_change_touches_the_changed_service_alone(release: Release) -> None:
    options = replace(OPTIONS, version=release)
    other = replace(web(), name="other", cluster_ips=(ip_address("10.96.10.2"),))
    elsewhere = replace(REMOTE, name="other-aaaaa", service="other")
    start = NftCompilation(NODE, options, IPFamily.IPV4)
    first = recompile(start, (web(), other), (BOTH, elsewhere))
    changed = replace(BOTH, endpoints=(*BOTH.endpoints, endpoint("10.244.2.11")))
    second = recompile(first, (web(), other), (changed, elsewhere))
    assert second.tables == nft_tables(
        (web(), other), (changed, elsewhere), NODE, options, IPFamily.IPV4
    )
    assert second.parts["default", "other"] is first.parts["default", "other"]
    text = nft_change(first.tables[0], second.tables[0]).text
    assert "default/other" not in text
    assert "10.244.2.11" in text
    # the chain of the service, and up to 1.35 the new endpoint's
    chains = [line for line in text.splitlines() if line.startswith("\tchain ")]
    assert len(chains) == (2 if release < Release.V1_36 else 1)
