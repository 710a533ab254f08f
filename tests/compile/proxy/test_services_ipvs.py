"""kube-proxy's IPVS mode, set by set and server by server; captured states are tested beside it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from kns.addresses import IPFamily
from kns.compile.proxy.ipvs import DEVICE, ipvs_rules
from kns.compile.proxy.ipvs_rules import IpvsRules
from kns.compile.proxy.ipvs_sets import SetName
from kns.compile.proxy.ipvs_text import render_text
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.networking import DetectLocalMode, IPVSOptions, KubeProxyOptions
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
from kns.state.ipvs import endpoint
from kns.state.model import Address, Dummy, IpvsTimeouts, Link, Sysctl
from tests.vectors import read_vectors

VECTORS: list[dict[str, Any]] = read_vectors("ipvs")["cases"]
NODE = Node(
    "node1",
    (ip_address("192.168.50.11"), ip_address("fd00:50::11")),
    (ip_network("10.244.1.0/24"), ip_network("fd00:10:244:1::/64")),
    host_addresses=(ip_address("10.244.1.1"), ip_address("127.0.0.1")),
)
OPTIONS = KubeProxyOptions(
    cluster_cidrs=(ip_network("10.244.0.0/16"), ip_network("fd00:10:244::/56"))
)
LOCAL_POD, OTHER_POD = "10.244.1.10:8080", "10.244.2.10:8080"


def web(**changes: Any) -> Service:
    fields: dict[str, object] = {
        "cluster_ips": (ip_address("10.96.10.1"), ip_address("fd00:10:96::a01")),
        "ip_families": (IPFamily.IPV4, IPFamily.IPV6),
        "ports": (ServicePort(80, target_port=8080),),
    }
    return Service("default", "web", **(fields | changes))  # type: ignore[arg-type]


def node_port(protocol: Protocol = Protocol.TCP, **changes: Any) -> Service:
    port = ServicePort(80, protocol=protocol, target_port=8080, node_port=30080)
    return web(**{"type": ServiceType.NODE_PORT, "ports": (port,), **changes})


def balanced(**changes: Any) -> Service:
    ingress = (LoadBalancerIngress(ip_address("203.0.113.10")),)
    return node_port(type=ServiceType.LOAD_BALANCER, load_balancer_ingress=ingress, **changes)


def pod(address: str, node: str) -> Endpoint:
    return Endpoint((ip_address(address),), ready=True, node_name=node)


def slice_of(*endpoints: Endpoint, protocol: Protocol = Protocol.TCP) -> EndpointSlice:
    family = IPFamily.of(endpoints[0].addresses[0])
    port = EndpointPort(8080, protocol=protocol)
    return EndpointSlice("default", "web-aaaaa", "web", family, (port,), endpoints)


BOTH = slice_of(pod("10.244.1.10", "node1"), pod("10.244.2.10", "node2"))
ELSEWHERE = slice_of(pod("10.244.2.10", "node2"), pod("10.244.3.10", "node3"))


def rules_of(
    service: Service,
    *slices: EndpointSlice,
    options: KubeProxyOptions = OPTIONS,
    family: IPFamily = IPFamily.IPV4,
) -> IpvsRules:
    return ipvs_rules([service], slices or (BOTH,), NODE, options, family)


def backends(rules: IpvsRules) -> dict[str, list[str]]:
    """The real servers by virtual server."""
    return {
        endpoint(item.address, item.port): [
            endpoint(server.address, server.port) for server in item.real_servers
        ]
        for item in rules.virtual_servers
    }


def entries(rules: IpvsRules, name: SetName, family: IPFamily = IPFamily.IPV4) -> tuple[str, ...]:
    return next(item.entries for item in rules.ipsets if item.name == name.of(family))


def chain(rules: IpvsRules, table: str, name: str) -> tuple[str, ...]:
    (found,) = (item for item in rules.tables if item.name == table)
    return next(item.rules for item in found.chains if item.name == name)


# -- virtual servers -------------------------------------------------------------------------------


def test_cluster_ip_has_every_endpoint_as_real_server() -> None:
    assert backends(rules_of(web())) == {"10.96.10.1:80": [LOCAL_POD, OTHER_POD]}


def test_ipv6_has_its_own_servers_sets_and_addresses() -> None:
    own = slice_of(pod("fd00:10:244:1::10", "node1"))
    rules = rules_of(web(), own, family=IPFamily.IPV6)
    assert backends(rules) == {"[fd00:10:96::a01]:80": ["[fd00:10:244:1::10]:8080"]}
    assert rules.addresses == (Address(DEVICE, ip_interface("fd00:10:96::a01/128")),)
    assert entries(rules, SetName.CLUSTER_IP, IPFamily.IPV6) == ("fd00:10:96::a01,tcp:80",)


def test_service_without_endpoints_has_no_real_server() -> None:
    assert backends(rules_of(web(), replace(BOTH, endpoints=()))) == {"10.96.10.1:80": []}


def test_node_port_is_served_on_every_address_but_loopback() -> None:
    assert backends(rules_of(node_port())) == {
        "10.96.10.1:80": [LOCAL_POD, OTHER_POD],
        "10.244.1.1:30080": [LOCAL_POD, OTHER_POD],
        "192.168.50.11:30080": [LOCAL_POD, OTHER_POD],
    }


def test_node_port_addresses_narrow_node_ports() -> None:
    options = replace(OPTIONS, nodeport_addresses=(ip_network("192.168.50.0/24"),))
    served = backends(rules_of(node_port(), options=options))
    assert set(served) == {"10.96.10.1:80", "192.168.50.11:30080"}


def test_node_port_without_a_matching_address_has_neither_server_nor_entry() -> None:
    options = replace(OPTIONS, nodeport_addresses=(ip_network("10.9.0.0/16"),))
    rules = rules_of(node_port(), options=options)
    assert set(backends(rules)) == {"10.96.10.1:80"}
    assert entries(rules, SetName.NODE_PORT_TCP) == ()


def test_external_local_policy_keeps_to_this_node() -> None:
    rules = rules_of(balanced(external_traffic_policy=TrafficPolicy.LOCAL))
    assert backends(rules) == {
        "10.96.10.1:80": [LOCAL_POD, OTHER_POD],
        "10.244.1.1:30080": [LOCAL_POD],
        "192.168.50.11:30080": [LOCAL_POD],
        "203.0.113.10:80": [LOCAL_POD],
    }
    assert entries(rules, SetName.NODE_PORT_LOCAL_TCP) == ("30080",)
    assert entries(rules, SetName.LOAD_BALANCER_LOCAL) == ("203.0.113.10,tcp:80",)


def test_external_local_policy_falls_back_without_a_local_endpoint() -> None:
    rules = rules_of(node_port(external_traffic_policy=TrafficPolicy.LOCAL), ELSEWHERE)
    elsewhere = ["10.244.2.10:8080", "10.244.3.10:8080"]
    assert backends(rules)["192.168.50.11:30080"] == elsewhere


def test_internal_local_policy_has_nobody_without_a_local_endpoint() -> None:
    service = web(internal_traffic_policy=TrafficPolicy.LOCAL)
    assert backends(rules_of(service)) == {"10.96.10.1:80": [LOCAL_POD]}
    assert backends(rules_of(service, ELSEWHERE)) == {"10.96.10.1:80": []}


def test_affinity_makes_servers_persistent() -> None:
    service = node_port(session_affinity=SessionAffinity.CLIENT_IP, session_affinity_timeout=600)
    assert {item.persistent for item in rules_of(service).virtual_servers} == {600}


@pytest.mark.parametrize(("scheduler", "flags"), [("rr", 0), ("lc", 0), ("sh", 0), ("mh", 0x10)])
def test_scheduler_is_the_option(scheduler: str, flags: int) -> None:
    options = replace(OPTIONS, ipvs=IPVSOptions(scheduler=scheduler))
    servers = rules_of(balanced(), options=options).virtual_servers
    assert {(item.scheduler, item.flags) for item in servers} == {(scheduler, flags)}


def test_sctp_node_port_is_an_entry_an_address() -> None:
    own = slice_of(pod("10.244.1.10", "node1"), protocol=Protocol.SCTP)
    rules = rules_of(node_port(Protocol.SCTP, external_traffic_policy=TrafficPolicy.LOCAL), own)
    expected = ("10.244.1.1,sctp:30080", "192.168.50.11,sctp:30080")
    assert entries(rules, SetName.NODE_PORT_SCTP) == expected
    assert entries(rules, SetName.NODE_PORT_LOCAL_SCTP) == expected
    assert [rule.partition(" -m comment")[0] for rule in chain(rules, "nat", "KUBE-NODE-PORT")] == [
        "-p sctp",
        "-p sctp",
    ]


# -- the dummy device ------------------------------------------------------------------------------


def test_device_holds_service_addresses_and_is_down() -> None:
    rules = rules_of(balanced(external_ips=(ip_address("198.51.100.7"),)))
    assert rules.links == (Link(DEVICE, Dummy(), up=False),)
    assert [str(item.interface) for item in rules.addresses] == [
        "10.96.10.1/32",
        "198.51.100.7/32",
        "203.0.113.10/32",
    ]
    assert entries(rules, SetName.IPVS_IPS) == ("10.96.10.1", "198.51.100.7", "203.0.113.10")


def test_address_of_another_device_is_not_on_the_dummy() -> None:
    rules = rules_of(web(external_ips=(ip_address("192.168.50.11"),)))
    assert [str(item.interface) for item in rules.addresses] == ["10.96.10.1/32"]
    assert entries(rules, SetName.EXTERNAL_IP) == ("192.168.50.11,tcp:80",)
    assert "192.168.50.11:80" in backends(rules)


# -- sets and rules --------------------------------------------------------------------------------


def test_all_sets_are_there_in_both_families_with_names_cut_at_31() -> None:
    four, six = (ipvs_rules([], [], NODE, OPTIONS, family) for family in IPFamily)
    assert len(four.ipsets) == len(six.ipsets) == len(SetName)
    assert {item.name for item in six.ipsets} >= {
        "KUBE-6-LOAD-BALANCER-SOURCE-CID",
        "KUBE-6-NODE-PORT-LOCAL-SCTP-HAS",
    }
    assert max(len(item.name) for item in (*four.ipsets, *six.ipsets)) == 31


def test_loop_back_holds_local_endpoints_even_those_not_ready() -> None:
    unready = replace(pod("10.244.1.11", "node1"), ready=False, serving=False)
    rules = rules_of(web(), replace(BOTH, endpoints=(*BOTH.endpoints, unready)))
    assert entries(rules, SetName.LOOP_BACK) == (
        "10.244.1.10,tcp:8080,10.244.1.10",
        "10.244.1.11,tcp:8080,10.244.1.11",
    )
    assert backends(rules) == {"10.96.10.1:80": [LOCAL_POD, OTHER_POD]}


def test_external_ips_of_a_local_service_are_not_masqueraded() -> None:
    service = web(
        external_ips=(ip_address("198.51.100.7"),), external_traffic_policy=TrafficPolicy.LOCAL
    )
    rules = rules_of(service)
    assert entries(rules, SetName.EXTERNAL_IP) == ()
    assert entries(rules, SetName.EXTERNAL_IP_LOCAL) == ("198.51.100.7,tcp:80",)
    about = [r for r in chain(rules, "nat", "KUBE-SERVICES") if "KUBE-EXTERNAL-IP-LOCAL" in r]
    assert [rule.rpartition(" ")[2] for rule in about] == ["ACCEPT", "ACCEPT"]


def test_source_ranges_with_the_node_let_it_in() -> None:
    rules = rules_of(balanced(load_balancer_source_ranges=("192.168.50.0/24",)))
    assert entries(rules, SetName.LOAD_BALANCER_FW) == ("203.0.113.10,tcp:80",)
    assert entries(rules, SetName.LOAD_BALANCER_SOURCE_CIDR) == (
        "203.0.113.10,tcp:80,192.168.50.0/24",
    )
    assert entries(rules, SetName.LOAD_BALANCER_SOURCE_IP) == ("203.0.113.10,tcp:80,203.0.113.10",)
    assert chain(rules, "filter", "KUBE-IPVS-OUT-FILTER") == ()


@pytest.mark.parametrize(
    ("written", "entries"),
    [
        ("203.0.113.10/32", ["203.0.113.10"]),
        ("203.0.113.0/24", ["203.0.113.0/24"]),
        ("0.0.0.0/0", ["0.0.0.0/1", "128.0.0.0/1"]),
    ],
)
def test_source_ranges_are_written_as_ipset_prints_them(written: str, entries: list[str]) -> None:
    """`ipset save` prints a single address bare, and no set of networks can hold 0.0.0.0/0."""
    options = replace(OPTIONS, version=Release.V1_33)
    rules = rules_of(balanced(load_balancer_source_ranges=(written,)), options=options)
    (found,) = (item for item in rules.ipsets if item.name == "KUBE-LOAD-BALANCER-SOURCE-CIDR")
    assert [entry.rpartition(",")[2] for entry in found.entries] == entries


def test_source_ranges_without_the_node_keep_it_out() -> None:
    rules = rules_of(balanced(load_balancer_source_ranges=("198.51.100.0/24",)))
    assert entries(rules, SetName.LOAD_BALANCER_SOURCE_IP) == ()
    assert chain(rules, "filter", "KUBE-IPVS-OUT-FILTER") == (
        "-s 203.0.113.10/32 -m ipvs --vproto 6 --vaddr 203.0.113.10 --vport 80 -j DROP",
    )


def test_health_check_port_is_accepted_and_not_refused() -> None:
    service = balanced(external_traffic_policy=TrafficPolicy.LOCAL, health_check_node_port=32000)
    rules = rules_of(service)
    assert entries(rules, SetName.HEALTH_CHECK_NODE_PORT) == ("32000",)


def test_rules_do_not_grow_with_services() -> None:
    services = [
        replace(web(), name=f"web{i}", cluster_ips=(ip_address("10.96.20.0") + i,))
        for i in range(200)
    ]
    one = ipvs_rules(services[:1], [], NODE, OPTIONS, IPFamily.IPV4)
    many = ipvs_rules(services, [], NODE, OPTIONS, IPFamily.IPV4)
    assert many.tables == one.tables
    assert len(many.virtual_servers) == 200


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"masquerade_all": True}, ("", "dst,dst")),
        ({}, ("! -s 10.244.0.0/16 ", "dst,dst")),
        ({"cluster_cidrs": ()}, ("", "src,dst")),
        (
            {
                "detect_local_mode": DetectLocalMode.BRIDGE_INTERFACE,
                "pod_bridge_interface": "cni0",
            },
            ("! -i cni0 ", "dst,dst"),
        ),
    ],
)
def test_who_is_masqueraded_to_a_cluster_ip(change: dict[str, Any], match: tuple[str, str]) -> None:
    rules = rules_of(web(), options=replace(OPTIONS, **change))
    before, fields = match
    assert (
        f"{before}-m comment --comment"
        ' "Kubernetes service cluster ip + port for masquerade purpose"'
        f" -m set --match-set KUBE-CLUSTER-IP {fields} -j KUBE-MARK-MASQ"
    ) in chain(rules, "nat", "KUBE-SERVICES")


def test_masquerade_bit_is_the_mark() -> None:
    rules = rules_of(web(), options=replace(OPTIONS, masquerade_bit=10))
    assert chain(rules, "nat", "KUBE-MARK-MASQ") == ("-j MARK --set-xmark 0x400/0x400",)
    assert "-m mark ! --mark 0x400/0x400 -j RETURN" in chain(rules, "nat", "KUBE-POSTROUTING")


# -- sysctls, timeouts, text -----------------------------------------------------------------------


def test_strict_arp_adds_two_sysctls() -> None:
    strict = replace(OPTIONS, ipvs=IPVSOptions(strict_arp=True))
    added = set(rules_of(web(), options=strict).sysctls) - set(rules_of(web()).sysctls)
    assert added == {
        Sysctl("ipv4/conf/all/arp_ignore", "1"),
        Sysctl("ipv4/conf/all/arp_announce", "2"),
    }


def test_timeouts_are_the_options() -> None:
    options = replace(OPTIONS, ipvs=IPVSOptions(tcp_timeout=900, udp_timeout=30))
    assert rules_of(web(), options=options).timeouts == IpvsTimeouts(tcp=900, udp=30)


def test_text_has_timeouts_last_and_only_if_asked_for() -> None:
    options = replace(OPTIONS, ipvs=IPVSOptions(tcp_timeout=900))
    text = render_text(rules_of(web(), options=options))
    assert text.endswith("# ipvsadm --set\nipvsadm --set 900 0 0\n")
    assert "--set " not in render_text(rules_of(web())).partition("# ipvsadm -R\n")[2]


# -- Kubernetes' own tests -------------------------------------------------------------------------


def vectors() -> list[dict[str, Any]]:
    """Those of pkg/proxy/ipvs/proxier_test.go that tell one Service and its endpoints."""
    return [case for case in VECTORS if isinstance(case["service"], dict)]


def compiled_vector(case: dict[str, Any]) -> IpvsRules:
    spec, status = case["service"]["spec"], case["service"].get("status", {})
    (raw,) = spec["ports"]
    protocol = Protocol(raw["protocol"])
    service = Service(
        "ns1",
        "svc1",
        ServiceType(spec["type"]),
        cluster_ips=(ip_address(spec["clusterIP"]),),
        ports=(ServicePort(raw["port"], raw["name"], protocol, node_port=raw.get("nodePort", 0)),),
        external_traffic_policy=TrafficPolicy(spec.get("externalTrafficPolicy", "Cluster")),
        load_balancer_source_ranges=tuple(spec.get("loadBalancerSourceRanges", ())),
        load_balancer_ingress=tuple(
            LoadBalancerIngress(ip_address(item["ip"]))
            for item in status.get("loadBalancer", {}).get("ingress", ())
        ),
    )
    endpoints = tuple(
        Endpoint((ip_address(item["address"]),), ready=item["ready"], node_name=item["node"] or "")
        for item in case["endpoints"]
    )
    ports = (EndpointPort(80, raw["name"], protocol),)
    slices = [EndpointSlice("ns1", "svc1-a", "svc1", IPFamily.IPV4, ports, endpoints)]
    addresses = [ip_address(text) for text in case["nodeIPs"]]
    node = Node("testnode", tuple(addresses[:1]), host_addresses=tuple(addresses[1:]))
    return ipvs_rules([service], slices, node, KubeProxyOptions(), IPFamily.IPV4)


@pytest.mark.parametrize("case", vectors(), ids=lambda case: case["test"])
def test_kubernetes_own_cases(case: dict[str, Any]) -> None:
    rules = compiled_vector(case)
    actual = {
        (str(s.address), s.port, s.protocol.upper(), s.scheduler): [
            (str(r.address), r.port, r.weight) for r in s.real_servers
        ]
        for s in rules.virtual_servers
    }
    # some of the cases name only the servers that they are about
    for server in case.get("virtualServers", ()):
        key = (server["ip"], server["port"], server["protocol"], server["scheduler"])
        assert actual[key] == [(r["ip"], r["port"], r["weight"]) for r in server["realServers"]]
    for name, expected in case.get("ipsets", {}).items():
        assert entries(rules, SetName(name)) == tuple(expected)
    for name, expected in case.get("chains", {}).items():
        assert [
            told(rule) for table in ("nat", "filter") for rule in in_table(rules, table, name)
        ] == [(item["jump"], item.get("set", "")) for item in expected]


def in_table(rules: IpvsRules, table: str, name: str) -> tuple[str, ...]:
    (found,) = (item for item in rules.tables if item.name == table)
    return next((item.rules for item in found.chains if item.name == name), ())


def told(rule: str) -> tuple[str, str]:
    """A rule's target and the set that it matches, if any."""
    words = rule.split()
    name = words[words.index("--match-set") + 1] if "--match-set" in words else ""
    return words[words.index("-j") + 1], name
