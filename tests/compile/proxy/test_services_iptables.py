"""kube-proxy's iptables rules beyond the captured cases: options, corners, and recompilation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from kns.addresses import IPFamily
from kns.compile.proxy.iptables import IptablesCompilation, iptables_tables, recompile
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.networking import DetectLocalMode, KubeProxyOptions
from kns.kinds.node import Node
from kns.kinds.release import Release
from kns.kinds.service import Service, SessionAffinity, TrafficPolicy
from kns.state.iptables import save_text, table_changes
from tests.compile.proxy.services import (
    NODE,
    OPTIONS,
    cluster_ip,
    endpoint,
    endpoint_slice,
    load_balancer,
    node_port,
)

#: of default/web:http over TCP, as kube-proxy made it (captured rules)
END = "CDGGSHYLG3RE2FKL"
SVC, SVL, EXT, FW = (f"KUBE-{kind}-{END}" for kind in ("SVC", "SVL", "EXT", "FW"))
LOCAL = endpoint("10.244.1.10")
REMOTE = endpoint("10.244.2.10", "node2")
SLICE = endpoint_slice(LOCAL, REMOTE)
SEP_LOCAL, SEP_REMOTE = "KUBE-SEP-GWQABTP5GBYXHJY5", "KUBE-SEP-IQIBSY2R4USWK4F3"
LOCAL_POLICY = TrafficPolicy.LOCAL

Rules = dict[str, tuple[str, ...]]


def rules(
    *services: Service,
    slices: Iterable[EndpointSlice] = (SLICE,),
    options: KubeProxyOptions = OPTIONS,
    node: Node = NODE,
    family: IPFamily = IPFamily.IPV4,
) -> Rules:
    """The rules of each chain; filter's chains are named `filter KUBE-…`."""
    nat, filter_ = iptables_tables(services, slices, node, options, family)
    return {c.name: c.rules for c in nat.chains} | {
        f"filter {c.name}": c.rules for c in filter_.chains
    }


def with_options(**changes: Any) -> KubeProxyOptions:
    return replace(OPTIONS, **changes)


def own_chains(found: Rules) -> list[str]:
    prefixes = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-")
    return [name for name in found if name.startswith(prefixes)]


# -- who is local ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "family", "expected"),
    [
        ({}, IPFamily.IPV4, "! -s 10.244.0.0/16 -d 10.96.10.1/32 -p"),
        ({}, IPFamily.IPV6, "! -s fd00:10:244::/56 -d fd00:10:96::a01/128 -p"),
        (
            {"detect_local_mode": DetectLocalMode.NODE_CIDR},
            IPFamily.IPV4,
            "! -s 10.244.1.0/24 -d 10.96.10.1/32 -p",
        ),
        (
            {
                "detect_local_mode": DetectLocalMode.BRIDGE_INTERFACE,
                "pod_bridge_interface": "cni0",
            },
            IPFamily.IPV6,
            "-d fd00:10:96::a01/128 ! -i cni0 -p",
        ),
        (
            {
                "detect_local_mode": DetectLocalMode.INTERFACE_NAME_PREFIX,
                "pod_interface_name_prefix": "veth",
            },
            IPFamily.IPV4,
            "-d 10.96.10.1/32 ! -i veth+ -p",
        ),
        ({"masquerade_all": True}, IPFamily.IPV4, "-d 10.96.10.1/32 -p"),
    ],
)
def test_clients_that_are_not_local_pods_are_masqueraded(
    options: dict[str, Any], family: IPFamily, expected: str
) -> None:
    found = rules(
        cluster_ip(), slices=_both_families(), options=with_options(**options), family=family
    )
    rest = 'tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80'
    assert found[SVC][0] == f"{expected} {rest} -j KUBE-MARK-MASQ"


def _both_families() -> tuple[EndpointSlice, ...]:
    return SLICE, endpoint_slice(endpoint("fd00:10:244:1::10"), name="web-b")


def test_without_a_cidr_nobody_is_told_apart() -> None:
    """Neither masquerading by source nor the short cut for pods; IPv6 of an IPv4 flag is such."""
    options = KubeProxyOptions(cluster_cidrs=(ip_network("fd00:10:244::/56"),))
    service = node_port(external_traffic_policy=LOCAL_POLICY)
    found = rules(service, options=options)
    assert len(found[SVC]) == 2
    assert not any("pod traffic" in rule for rule in found[EXT])
    assert len(found[EXT]) == 3


def test_pods_are_told_by_interface_in_the_short_cut() -> None:
    options = with_options(
        detect_local_mode=DetectLocalMode.INTERFACE_NAME_PREFIX, pod_interface_name_prefix="veth"
    )
    found = rules(node_port(external_traffic_policy=LOCAL_POLICY), options=options)
    note = '-m comment --comment "pod traffic for default/web:http external destinations"'
    assert found[EXT][0] == f"-i veth+ {note} -j {SVC}"


# -- marks, node ports -----------------------------------------------------------------------------


def test_the_masquerade_bit_is_everywhere() -> None:
    found = rules(options=with_options(masquerade_bit=15))
    assert found["KUBE-MARK-MASQ"] == ("-j MARK --set-xmark 0x8000/0x8000",)
    assert found["KUBE-POSTROUTING"][:2] == (
        "-m mark ! --mark 0x8000/0x8000 -j RETURN",
        "-j MARK --set-xmark 0x8000/0x0",
    )
    assert "-m mark --mark 0x8000/0x8000 -j ACCEPT" in found["filter KUBE-FORWARD"][1]


@pytest.mark.parametrize(
    ("options", "family", "expected", "martians"),
    [
        ({}, IPFamily.IPV4, ["-m addrtype"], 1),
        ({"localhost_nodeports": False}, IPFamily.IPV4, ["! -d 127.0.0.0/8 -m addrtype"], 0),
        ({}, IPFamily.IPV6, ["! -d ::1/128 -m addrtype"], 0),
        ({"nodeport_addresses": ("0.0.0.0/0", "10.0.0.0/8")}, IPFamily.IPV4, ["-m addrtype"], 1),
        ({"nodeport_addresses": ("fd00::/16",)}, IPFamily.IPV4, ["-m addrtype"], 1),
        ({"nodeport_addresses": ("192.168.0.0/16",)}, IPFamily.IPV4, ["-d 192.168.50.11/32"], 0),
        (
            {"nodeport_addresses": ("192.168.0.0/16", "10.0.0.0/8", "127.0.0.0/8")},
            IPFamily.IPV4,
            ["-d 10.244.1.1/32", "-d 127.0.0.1/32", "-d 192.168.50.11/32"],
            1,
        ),
        (
            {"nodeport_addresses": ("127.0.0.0/8",), "localhost_nodeports": False},
            IPFamily.IPV4,
            [],
            0,
        ),
        ({"nodeport_addresses": ("::1/128",)}, IPFamily.IPV6, [], 0),
        ({"nodeport_addresses": ("172.16.0.0/12",)}, IPFamily.IPV4, [], 0),
        ({"nodeport_addresses_primary": True}, IPFamily.IPV4, ["-d 192.168.50.11/32"], 0),
        ({"nodeport_addresses_primary": True}, IPFamily.IPV6, ["-d fd00:50::11/128"], 0),
    ],
)
def test_node_ports_answer_on_the_addresses_that_options_name(
    options: dict[str, Any], family: IPFamily, expected: list[str], martians: int
) -> None:
    if "nodeport_addresses" in options:
        options["nodeport_addresses"] = tuple(map(ip_network, options["nodeport_addresses"]))
    found = rules(options=with_options(**options), family=family)
    note = (
        '-m comment --comment "kubernetes service nodeports;'
        ' NOTE: this must be the last rule in this chain" '
    )
    targets = [rule.replace(note, "") for rule in found["KUBE-SERVICES"]]
    kinds = [rule.partition(" --dst-type")[0].partition(" -j")[0] for rule in targets]
    assert kinds == expected
    assert all(rule.endswith("-j KUBE-NODEPORTS") for rule in targets)
    assert len(found["filter KUBE-FIREWALL"]) == martians


def test_a_liberal_conntrack_lets_invalid_packets_through() -> None:
    found = rules(options=with_options(conntrack_tcp_be_liberal=True))["filter KUBE-FORWARD"]
    assert (len(found), any("INVALID" in rule for rule in found)) == (2, False)


# -- affinity, ranges, policies --------------------------------------------------------------------


def test_affinity_is_remembered_for_its_timeout_in_both_families() -> None:
    service = cluster_ip(session_affinity=SessionAffinity.CLIENT_IP, session_affinity_timeout=60)
    found = rules(service, slices=_both_families(), family=IPFamily.IPV6)
    (sep,) = [name for name in found if name.startswith("KUBE-SEP-")]
    mask = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    assert found[SVC][1:] == (
        '-m comment --comment "default/web:http -> [fd00:10:244:1::10]:8080" -m recent --rcheck'
        f" --seconds 60 --reap --name {sep} --mask {mask} --rsource -j {sep}",
        f'-m comment --comment "default/web:http -> [fd00:10:244:1::10]:8080" -j {sep}',
    )
    assert f"-m recent --set --name {sep} --mask {mask} --rsource -m tcp -j DNAT" in found[sep][1]


def test_source_ranges_that_hold_the_node_allow_the_balancers_address() -> None:
    service = load_balancer(load_balancer_source_ranges=("192.168.50.0/24", "10.0.0.0/8"))
    note = '-m comment --comment "default/web:http loadbalancer IP"'
    assert rules(service)[FW] == (
        f"-s 192.168.50.0/24 {note} -j {EXT}",
        f"-s 10.0.0.0/8 {note} -j {EXT}",
        f"-s 203.0.113.10/32 {note} -j {EXT}",
        '-m comment --comment "other traffic to default/web:http'
        ' will be dropped by KUBE-PROXY-FIREWALL"',
    )


def test_a_range_of_all_addresses_needs_no_match() -> None:
    service = load_balancer(load_balancer_source_ranges=("0.0.0.0/0",))
    found = rules(service, options=with_options(version=Release.V1_33))
    note = '-m comment --comment "default/web:http loadbalancer IP"'
    assert found[FW][0] == f"{note} -j {EXT}"


def test_ranges_of_the_other_family_restrict_nothing() -> None:
    found = rules(load_balancer(load_balancer_source_ranges=("2001:db8::/32",)))
    assert FW not in found
    assert found["filter KUBE-PROXY-FIREWALL"] == ()


def test_the_firewall_drops_at_each_balancer_address() -> None:
    service = load_balancer("203.0.113.10", "203.0.113.11")
    found = rules(replace(service, load_balancer_source_ranges=("10.0.0.0/8",)))
    assert [rule.partition(" -p")[0] for rule in found["filter KUBE-PROXY-FIREWALL"]] == [
        "-d 203.0.113.10/32",
        "-d 203.0.113.11/32",
    ]


def test_a_draining_node_sends_external_traffic_to_its_terminating_endpoint() -> None:
    terminating = endpoint("10.244.1.10", ready=False, terminating=True)
    service = load_balancer(external_traffic_policy=LOCAL_POLICY, health_check_node_port=32100)
    found = rules(service, slices=(endpoint_slice(terminating, REMOTE),))
    assert found[SVL] == (
        f'-m comment --comment "default/web:http -> 10.244.1.10:8080" -j {SEP_LOCAL}',
    )
    assert found[SVC][1:] == (
        f'-m comment --comment "default/web:http -> 10.244.2.10:8080" -j {SEP_REMOTE}',
    )
    assert own_chains(found) == [EXT, SEP_LOCAL, SEP_REMOTE, SVC, SVL]
    assert len(found["filter KUBE-NODEPORTS"]) == 1


def test_endpoints_that_do_not_serve_are_like_none() -> None:
    gone = endpoint("10.244.1.10", ready=False, serving=False, terminating=True)
    found = rules(load_balancer(), slices=(endpoint_slice(gone),))
    assert own_chains(found) == []
    assert len(found["KUBE-SERVICES"]) == 1
    refused = (*found["filter KUBE-SERVICES"], *found["filter KUBE-EXTERNAL-SERVICES"])
    assert len(refused) == 3
    assert all("has no endpoints" in rule and "-j REJECT" in rule for rule in refused)


def test_ipv6_is_refused_by_icmpv6() -> None:
    found = rules(cluster_ip(), slices=(), family=IPFamily.IPV6)["filter KUBE-SERVICES"]
    assert [rule.partition("-j ")[2] for rule in found] == [
        "REJECT --reject-with icmp6-port-unreachable"
    ]


def test_both_policies_local_share_a_chain_that_masquerades() -> None:
    service = node_port(internal_traffic_policy=LOCAL_POLICY, external_traffic_policy=LOCAL_POLICY)
    found = rules(service)
    assert [rule.partition(" -j ")[2] for rule in found[SVL]] == ["KUBE-MARK-MASQ", SEP_LOCAL]
    assert len(found[SVC]) == 2


def test_external_ips_come_before_balancer_ips() -> None:
    service = load_balancer(external_ips=(ip_address("198.51.100.1"),))
    found = rules(service)["KUBE-SERVICES"]
    assert [rule.partition(" -p")[0] for rule in found[:-1]] == [
        "-d 10.96.10.1/32",
        "-d 198.51.100.1/32",
        "-d 203.0.113.10/32",
    ]


# -- large clusters --------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "comments"), [(1000, True), (1001, False)])
def test_above_a_thousand_endpoints_comments_go(count: int, *, comments: bool) -> None:
    """Endpoints that can't be used count, too."""
    ready = [endpoint("10.244.1.10")]
    rest = [endpoint(str(ip_address("10.245.0.0") + i), ready=False) for i in range(count - 1)]
    found = rules(cluster_ip(), slices=(endpoint_slice(*ready, *rest),))
    noted = any("--comment" in rule for rule in (*found[SEP_LOCAL], *found[SVC][1:]))
    assert noted is comments
    assert "--comment" in found[SVC][0]
    assert "--comment" in found["KUBE-SERVICES"][0]


# -- the form --------------------------------------------------------------------------------------


def test_text_declares_every_chain_and_commits_each_table() -> None:
    tables = iptables_tables((), (), NODE, OPTIONS, IPFamily.IPV4, canaries=True)
    lines = save_text(tables).splitlines()
    assert [line for line in lines if not line.startswith((":", "-A"))] == [
        "*nat", "COMMIT", "*filter", "COMMIT", "*mangle", "COMMIT",
    ]  # fmt: skip
    assert lines.count(":KUBE-PROXY-CANARY - [0:0]") == 3
    assert ":POSTROUTING ACCEPT [0:0]" in lines


def test_order_of_input_does_not_matter() -> None:
    services = (cluster_ip(name="b"), cluster_ip(name="a"))
    slices = (SLICE, endpoint_slice(REMOTE, LOCAL, name="web-0"))
    forward = rules(*services, slices=slices)
    assert rules(*reversed(services), slices=slices[::-1]) == forward


# -- recompilation ---------------------------------------------------------------------------------


def test_recompiling_equals_compiling_anew() -> None:
    services = [
        cluster_ip(name=f"s{i}", cluster_ips=(ip_address(f"10.96.0.{i}"),)) for i in range(5)
    ]
    slices = [endpoint_slice(LOCAL, REMOTE, name=f"s{i}", service=f"s{i}") for i in range(5)]
    first = recompile(
        IptablesCompilation(NODE, OPTIONS, IPFamily.IPV4, canaries=True), services, slices
    )
    slices[2] = replace(slices[2], endpoints=(LOCAL,))
    del services[4]
    second = recompile(first, services, slices)
    anew = iptables_tables(services, slices, NODE, OPTIONS, IPFamily.IPV4, canaries=True)
    assert second.tables == anew


def test_one_endpoint_less_touches_only_its_services_chains() -> None:
    """The plan between two compilations is what a partial sync restores."""
    services = [cluster_ip(name=name) for name in ("web", "other")]
    slices = [SLICE, endpoint_slice(LOCAL, name="other", service="other")]
    first = recompile(
        IptablesCompilation(NODE, OPTIONS, IPFamily.IPV4, canaries=False), services, slices
    )
    slices[0] = endpoint_slice(LOCAL)
    second = recompile(first, services, slices)
    (change,) = table_changes(second.tables, first.tables)
    assert (change.write, change.remove) == ((SVC,), (SEP_REMOTE,))


def test_growing_beyond_a_thousand_endpoints_rewrites_all() -> None:
    first = recompile(
        IptablesCompilation(NODE, OPTIONS, IPFamily.IPV4, canaries=False), (cluster_ip(),), (SLICE,)
    )
    many = [endpoint(str(ip_address("10.245.0.0") + i)) for i in range(1001)]
    services = (cluster_ip(), cluster_ip(name="many"))
    slices = (SLICE, endpoint_slice(*many, name="many", service="many"))
    second = recompile(first, services, slices)
    assert second.tables == iptables_tables(services, slices, NODE, OPTIONS, IPFamily.IPV4)
