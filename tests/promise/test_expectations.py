"""The oracle: which checks a cluster implies, and what they expect, rule by rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.networking import (
    DetectLocalMode,
    EgressOptions,
    KubeProxyOptions,
    PodNetworkMode,
    ProxyMode,
)
from kns.kinds.pod import Container
from kns.kinds.service import (
    LoadBalancerIngress,
    Service,
    ServicePort,
    ServiceType,
    SessionAffinity,
    TrafficPolicy,
)
from kns.promise.check import AffinityExpiry, Check, Cover, Http, ReadAddresses
from kns.promise.checks import PATHS, cluster_checks
from kns.promise.flow import Outcome
from kns.promise.lookup import Lookup
from tests.clusters import make_cluster, make_network
from tests.probe.scenes import four_paths, pod, service, with_service

LOCAL = TrafficPolicy.LOCAL


def checks(cluster: Cluster) -> dict[str, Check]:
    return {check.id: check for check in cluster_checks(cluster).checks}


def seen(check: Check) -> dict[str, str]:
    return {name: str(address) for name, address in check.steps[-1].expectation.seen}


def outcomes(check: Check) -> tuple[Outcome, ...]:
    return check.steps[-1].expectation.outcomes


def backends(check: Check) -> tuple[str, ...]:
    return check.steps[-1].expectation.backends


def changed(cluster: Cluster, name: str, **fields: object) -> Cluster:
    """The cluster with other fields of one service; its endpoints stay."""
    new = replace(service(cluster, name), **fields)  # type: ignore[arg-type]
    return replace(
        cluster,
        services=tuple(new if item.name == name else item for item in cluster.services),
    )


def with_options(cluster: Cluster, **fields: object) -> Cluster:
    options = replace(cluster.network.kube_proxy, **fields)  # type: ignore[arg-type]
    return replace(cluster, network=replace(cluster.network, kube_proxy=options))


# -- the whole -------------------------------------------------------------------------------------


def test_every_path_of_a_small_lab_is_checked() -> None:
    found = cluster_checks(four_paths()).checks
    assert {check.path for check in found} >= {
        "addressing",
        "container-to-container",
        "pod-to-pod",
        "node-to-pod",
        "node-to-node",
        "pod-to-node",
        "pod-to-service",
        "node-to-service",
        "internet-to-service",
        "pod-to-internet",
        "internet-to-pod",
    }
    order = [PATHS.index(check.path) for check in found]
    assert order == sorted(order)


def test_ids_are_unique_in_dual_stack_with_several_ports() -> None:
    families = (IPFamily.IPV4, IPFamily.IPV6)
    cluster = make_cluster(network=make_network(families))
    ports = (ServicePort(80, "http"), ServicePort(80, "u", Protocol.UDP), ServicePort(81, "alt"))
    cluster = changed(cluster, "svc-a", ports=ports)
    ids = [check.id for check in cluster_checks(cluster).checks]
    assert len(ids) == len(set(ids))
    assert "pod-to-pod/cross-node/pod1->pod2" in ids
    assert "pod-to-pod/cross-node/pod1->pod2/ipv6" in ids


def test_checks_are_the_same_every_time() -> None:
    assert cluster_checks(four_paths()) == cluster_checks(four_paths())


def test_a_big_lab_is_sampled_and_says_so() -> None:
    found = cluster_checks(make_cluster(nodes=4, pods=100))
    pairs = [check for check in found.checks if check.path == "pod-to-pod"]
    assert {check.source.label for check in pairs} == {f"pod{i + 1}" for i in range(100)}
    assert {check.target for check in pairs} == {f"pod{i + 1}" for i in range(100)}
    assert len(pairs) == 200
    skip = next(skip for skip in found.skips if skip.what == "pod-to-pod pairs")
    assert skip.count == 100 * 99 - 200


# -- pods ------------------------------------------------------------------------------------------


def test_addresses_are_read_from_the_kernel_and_must_be_unique() -> None:
    cluster = four_paths()
    twin = replace(pod(cluster, "pod3"), addresses=pod(cluster, "pod1").addresses)
    cluster = replace(cluster, pods=(*cluster.pods[:2], twin, cluster.pods[3]))
    step = checks(cluster)["addressing/pod3"].steps[0]
    assert isinstance(step.ask, ReadAddresses)
    assert step.expectation.fault == "10.244.0.2 belongs to 2 pods"


def test_address_outside_the_nodes_pod_cidr_is_a_fault() -> None:
    cluster = four_paths()
    stray = replace(pod(cluster, "pod3"), addresses=(ip_address("10.244.1.77"),))
    cluster = replace(cluster, pods=(*cluster.pods[:2], stray, cluster.pods[3]))
    want = checks(cluster)["addressing/pod3"].steps[0].expectation
    assert want.fault == "10.244.1.77 is not from node1's pod CIDR"


def test_containers_reach_each_other_on_localhost() -> None:
    check = checks(four_paths())["container-to-container/localhost/pod1:web->sidecar"]
    assert check.steps[0].ask == Http(ip_address("127.0.0.1"), 9090)
    assert check.steps[0].expectation.container == "sidecar"


def test_containers_with_their_own_program_are_not_asked_who_they_are() -> None:
    cluster = four_paths()
    own = replace(pod(cluster, "pod2"), containers=(Container("x", command=("sleep", "9")),))
    cluster = replace(cluster, pods=(cluster.pods[0], own, *cluster.pods[2:]))
    steps = checks(cluster)["pod-to-pod/cross-node/pod1->pod2"].steps
    assert len(steps) == 1  # ping alone
    assert "pod-to-service/cluster-ip/pod1->svc-a" not in checks(cluster)
    assert any(skip.what == "svc-a" for skip in cluster_checks(cluster).skips)


@pytest.mark.parametrize(
    ("mode", "local", "remote"),
    [
        (PodNetworkMode.HOST_GW, "10.244.0.1", "172.18.0.2"),
        (PodNetworkMode.VXLAN, "10.244.0.1", "10.244.0.0"),
    ],
)
def test_source_of_a_node_and_of_what_it_masquerades(
    mode: PodNetworkMode, local: str, remote: str
) -> None:
    cluster = four_paths()
    cluster = replace(cluster, network=replace(cluster.network, pod_network=mode))
    found = checks(cluster)
    assert seen(found["node-to-pod/own/node1->pod1"]) == {"pod1": local}
    assert seen(found["node-to-pod/remote/node1->pod2"]) == {"pod2": remote}
    outside = found["internet-to-service/node-port/internet->node1:30080"]
    assert seen(outside) == {"pod2": remote, "pod3": local, "pod4": remote}
    assert seen(found["node-to-service/cluster-ip/node1->svc-a"]) == seen(outside)


def test_egress_is_masqueraded_unless_told_otherwise() -> None:
    cluster = four_paths()
    check = checks(cluster)["pod-to-internet/egress/pod1->internet"]
    assert seen(check) == {"internet": "172.18.0.2"}
    for egress in (
        EgressOptions(masquerade=False),
        EgressOptions(non_masquerade_cidrs=cluster.network.internet_cidrs),
    ):
        off = replace(cluster, network=replace(cluster.network, egress=egress))
        check = checks(off)["pod-to-internet/egress/pod1->internet"]
        assert outcomes(check) == (Outcome.TIMEOUT, Outcome.UNREACHABLE)


# -- cluster IPs -----------------------------------------------------------------------------------


def test_service_answers_by_every_endpoint_and_nobody_else() -> None:
    step = checks(four_paths())["pod-to-service/cluster-ip/pod1->svc-a"].steps[0]
    assert isinstance(step.ask, Http)
    assert step.ask.count == 49  # three backends, each missed with p < 1e-8
    assert (step.expectation.backends, step.expectation.cover) == (
        ("pod2", "pod3", "pod4"),
        Cover.ALL,
    )
    assert step.expectation.is_even
    assert {address for _, address in step.expectation.seen} == {ip_address("10.244.0.2")}


def test_hairpin_is_masqueraded_for_the_pod_itself_only() -> None:
    check = checks(four_paths())["pod-to-service/hairpin/pod3->svc-a"]
    assert seen(check) == {"pod2": "10.244.0.3", "pod3": "10.244.0.1", "pod4": "10.244.0.3"}


def test_service_without_endpoints_refuses_at_once() -> None:
    for client in ("pod-to-service/cluster-ip/pod1", "node-to-service/cluster-ip/node1"):
        want = checks(four_paths())[f"{client}->svc-empty"].steps[0].expectation
        assert want.outcomes == (Outcome.REFUSED,)
        assert want.within_ms == 900


def test_service_whose_target_port_nobody_serves_refuses() -> None:
    cluster = four_paths()
    cluster = with_service(cluster, service(cluster, "svc-a"), cluster.pods[1:], target=9999)
    check = checks(cluster)["pod-to-service/cluster-ip/pod1->svc-a"]
    assert outcomes(check) == (Outcome.REFUSED,)


@pytest.mark.parametrize("name", ["internet->svc-a", "internet->svc-empty"])
def test_cluster_ip_is_no_way_in(name: str) -> None:
    check = checks(four_paths())[f"internet-to-service/unroutable/{name}"]
    assert outcomes(check) == (Outcome.TIMEOUT, Outcome.UNREACHABLE)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (ProxyMode.IPTABLES, (Outcome.TIMEOUT, Outcome.UNREACHABLE)),
        (ProxyMode.NFTABLES, (Outcome.REFUSED,)),
        (ProxyMode.IPVS, (Outcome.REFUSED,)),
    ],
)
def test_wrong_port_differs_by_mode(mode: ProxyMode, expected: tuple[Outcome, ...]) -> None:
    check = checks(four_paths(mode))["pod-to-service/wrong-port/pod1->svc-a:81"]
    assert outcomes(check) == expected


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ({}, "10.244.0.2"),
        ({"masquerade_all": True}, "172.18.0.2"),
        ({"cluster_cidrs": ()}, "10.244.0.2"),
        ({"detect_local_mode": DetectLocalMode.NODE_CIDR}, "10.244.0.2"),
        (
            {
                "detect_local_mode": DetectLocalMode.BRIDGE_INTERFACE,
                "pod_bridge_interface": "docker0",
            },
            "172.18.0.2",
        ),
        (
            {
                "detect_local_mode": DetectLocalMode.INTERFACE_NAME_PREFIX,
                "pod_interface_name_prefix": "cni",
            },
            "10.244.0.2",
        ),
    ],
)
def test_source_through_the_cluster_ip(options: dict[str, object], source: str) -> None:
    check = checks(with_options(four_paths(), **options))["pod-to-service/cluster-ip/pod1->svc-a"]
    assert seen(check)["pod2"] == source


def test_internal_policy_local_by_mode() -> None:
    """pod1 is on node1, where only pod3 is; without pod3 there is nobody on node1."""
    cluster = changed(four_paths(), "svc-a", internal_traffic_policy=LOCAL)
    assert backends(checks(cluster)["pod-to-service/cluster-ip/pod1->svc-a"]) == ("pod3",)
    remote_only = tuple(pod(cluster, name) for name in ("pod2", "pod4"))
    cluster = with_service(cluster, service(cluster, "svc-a"), remote_only)
    name = "pod-to-service/cluster-ip/pod1->svc-a"
    for mode, expected in (
        (ProxyMode.IPTABLES, Outcome.TIMEOUT),
        (ProxyMode.NFTABLES, Outcome.TIMEOUT),
        (ProxyMode.IPVS, Outcome.REFUSED),
    ):
        assert outcomes(checks(with_options(cluster, mode=mode))[name]) == (expected,)


# -- which endpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, ("pod2", "pod3", "pod4")),
        ({"pod2": {"ready": False}}, ("pod3", "pod4")),
        ({"pod2": {"ready": None}}, ("pod2", "pod3", "pod4")),
        (
            {
                "pod2": {"ready": False, "serving": True, "terminating": True},
                "pod3": {"ready": False},
            },
            ("pod4",),
        ),
        (
            {
                "pod2": {"ready": False, "serving": True, "terminating": True},
                "pod3": {"ready": False, "serving": False, "terminating": True},
                "pod4": {"ready": False},
            },
            ("pod2",),
        ),
        (
            {
                "pod2": {"ready": False, "serving": None, "terminating": True},
                "pod3": {"ready": False, "serving": False, "terminating": True},
                "pod4": {"ready": False},
            },
            ("pod2",),
        ),
        ({name: {"hint_zones": ("a",)} for name in ("pod2", "pod3", "pod4")}, None),
        (
            {
                "pod2": {"hint_zones": ("z1",)},
                "pod3": {"hint_zones": ("z2",)},
                "pod4": {"hint_zones": ("z1",)},
            },
            ("pod2", "pod4"),
        ),
        ({"pod2": {"hint_zones": ("z1",)}}, ("pod2", "pod3", "pod4")),
        (
            {
                "pod2": {"hint_nodes": ("node2",), "hint_zones": ("z1",)},
                "pod3": {"hint_nodes": ("node1",), "hint_zones": ("z1",)},
                "pod4": {"hint_nodes": ("node2",), "hint_zones": ("z1",)},
            },
            ("pod3",),
        ),
    ],
)
def test_promise(
    conditions: dict[str, dict[str, object]], expected: tuple[str, ...] | None
) -> None:
    """Seen from node1 in zone z1. No hint fits: hints don't count."""
    cluster = four_paths()
    node = replace(cluster.nodes[0], labels={"topology.kubernetes.io/zone": "z1"})
    cluster = replace(cluster, nodes=(node, cluster.nodes[1]))
    svc = service(cluster, "svc-a")
    cluster = with_service(cluster, svc, cluster.pods[1:], conditions=conditions)
    found = Lookup(cluster).endpoints(svc, svc.ports[0], IPFamily.IPV4).at(node)
    assert tuple(b.name for b in found.cluster) == (expected or ("pod2", "pod3", "pod4"))


def test_an_endpoint_outside_answers_by_its_hosts_name() -> None:
    """The usual use of a Service without a selector: a database beyond the cluster."""
    cluster = four_paths()
    outside = Endpoint((cluster.internet[0].addresses[0],), ready=True)
    port = EndpointPort(cluster.internet[0].port)
    item = EndpointSlice("default", "svc-a-1", "svc-a", IPFamily.IPV4, (port,), (outside,))
    cluster = replace(cluster, endpoint_slices=(item,))
    assert backends(checks(cluster)["pod-to-service/cluster-ip/pod1->svc-a"]) == ("internet",)


def test_promise_of_local_looks_at_this_node_alone() -> None:
    """On node1 nobody is ready but a terminating pod still serves, whatever the others do."""
    cluster = four_paths()
    svc = service(cluster, "svc-a")
    conditions = {"pod3": {"ready": False, "serving": True, "terminating": True}}
    cluster = with_service(cluster, svc, cluster.pods[1:], conditions=conditions)
    found = Lookup(cluster).endpoints(svc, svc.ports[0], IPFamily.IPV4).at(cluster.nodes[0])
    assert [b.name for b in found.local] == ["pod3"]
    assert [b.name for b in found.cluster] == ["pod2", "pod4"]
    assert found.local_ready == 0


# -- outer doors -----------------------------------------------------------------------------------


def test_node_port_of_policy_local_keeps_the_client_or_drops_it() -> None:
    cluster = changed(four_paths(), "svc-web", external_traffic_policy=LOCAL)
    cluster = with_service(cluster, service(cluster, "svc-web"), (pod(cluster, "pod2"),))
    found = checks(cluster)
    with_local = found["internet-to-service/node-port/internet->node2:30080"]
    without = found["internet-to-service/node-port/internet->node1:30080"]
    assert seen(with_local) == {"pod2": "203.0.113.10"}
    assert outcomes(without) == (Outcome.TIMEOUT,)
    # the node and its pods are inside already
    assert seen(found["node-to-service/node-port/node1->node1:30080"]) == {"pod2": "172.18.0.2"}
    assert seen(found["pod-to-service/node-port/pod1->node1:30080"]) == {"pod2": "10.244.0.2"}


def test_node_port_without_endpoints_refuses() -> None:
    cluster = with_service(four_paths(), service(four_paths(), "svc-web"), ())
    check = checks(cluster)["internet-to-service/node-port/internet->node1:30080"]
    assert outcomes(check) == (Outcome.REFUSED,)


@pytest.mark.parametrize(
    ("mode", "options", "expected"),
    [
        (ProxyMode.IPTABLES, {}, Outcome.CONNECTED),
        (ProxyMode.IPTABLES, {"localhost_nodeports": False}, Outcome.REFUSED),
        (ProxyMode.NFTABLES, {}, Outcome.REFUSED),
        (ProxyMode.IPVS, {}, Outcome.REFUSED),
    ],
)
def test_localhost_node_port(
    mode: ProxyMode, options: dict[str, object], expected: Outcome
) -> None:
    cluster = with_options(four_paths(mode), **options)
    check = checks(cluster)["node-to-service/localhost/node1->localhost:30080"]
    assert outcomes(check) == (expected,)


def test_node_port_addresses_leave_out_a_node() -> None:
    chosen = KubeProxyOptions().nodeport_addresses
    assert chosen == ()
    cluster = with_options(four_paths(), nodeport_addresses=(four_paths().network.pod_cidrs[0],))
    check = checks(cluster)["internet-to-service/node-port/internet->node1:30080"]
    assert outcomes(check) == (Outcome.REFUSED,)
    assert "nodePortAddresses leaves out 172.18.0.2" in check.expected


def balanced(**fields: object) -> Cluster:
    base = Service(
        "default",
        "lb",
        ServiceType.LOAD_BALANCER,
        (ip_address("10.96.4.4"),),
        selector={"app": "a"},
        ports=(ServicePort(80, target_port=8080, node_port=30090),),
        load_balancer_ingress=(LoadBalancerIngress(ip_address("198.51.100.1")),),
    )
    cluster = four_paths()
    return with_service(cluster, replace(base, **fields), cluster.pods[1:])  # type: ignore[arg-type]


LB = "198.51.100.1:80 (lb)"


def test_balancer_address_is_a_short_cut_from_inside() -> None:
    check = checks(balanced())[f"pod-to-service/load-balancer-ip/pod1->{LB}"]
    assert seen(check) == {"pod2": "172.18.0.2", "pod3": "10.244.0.1", "pod4": "172.18.0.2"}


def test_balancer_address_of_mode_proxy_has_no_short_cut() -> None:
    ingress = (LoadBalancerIngress(ip_address("198.51.100.1"), ip_mode="Proxy"),)
    ids = checks(balanced(load_balancer_ingress=ingress))
    assert not any("load-balancer-ip" in name for name in ids)


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (("10.244.0.0/24",), Outcome.CONNECTED),
        (("192.0.2.0/24",), Outcome.TIMEOUT),
        ((" 192.0.2.77/24 ", "nonsense"), Outcome.TIMEOUT),
        (("2001:db8::/32",), Outcome.CONNECTED),
    ],
)
def test_source_ranges(ranges: tuple[str, ...], expected: Outcome) -> None:
    cluster = balanced(load_balancer_source_ranges=ranges)
    check = checks(cluster)[f"pod-to-service/load-balancer-ip/pod1->{LB}"]
    assert outcomes(check) == (expected,)


def test_external_ip_of_a_node_is_reached_from_the_internet() -> None:
    cluster = changed(four_paths(), "svc-a", external_ips=(ip_address("172.18.0.3"),))
    check = checks(cluster)["internet-to-service/external-ip/internet->172.18.0.3:80 (svc-a)"]
    assert seen(check) == {"pod2": "10.244.1.1", "pod3": "172.18.0.3", "pod4": "10.244.1.1"}


def test_external_ip_without_endpoints_is_not_rejected_where_the_node_itself_asks() -> None:
    """iptables mode hooks its REJECT for outer addresses into INPUT and FORWARD only."""
    external = (ip_address("198.51.100.9"),)
    name = "node-to-service/external-ip/node1->198.51.100.9:80 (svc-empty)"
    for mode, expected in (
        (ProxyMode.IPTABLES, (Outcome.TIMEOUT, Outcome.UNREACHABLE)),
        (ProxyMode.NFTABLES, (Outcome.REFUSED,)),
    ):
        cluster = changed(four_paths(mode), "svc-empty", external_ips=external)
        assert outcomes(checks(cluster)[name]) == expected


def test_health_check_counts_ready_local_endpoints() -> None:
    cluster = balanced(external_traffic_policy=LOCAL, health_check_node_port=32000)
    cluster = with_service(cluster, service(cluster, "lb"), (pod(cluster, "pod3"),))
    found = checks(cluster)
    for node, status, endpoints in (("node1", 200, 1), ("node2", 503, 0)):
        want = found[f"internet-to-node/health-check/internet->{node}:32000"].steps[0].expectation
        assert (want.status, want.local_endpoints) == (status, endpoints)


# -- session affinity ------------------------------------------------------------------------------


def sticky(seconds: int, mode: ProxyMode = ProxyMode.IPTABLES) -> Cluster:
    affinity = SessionAffinity.CLIENT_IP
    cluster = four_paths(mode)
    return changed(cluster, "svc-a", session_affinity=affinity, session_affinity_timeout=seconds)


def test_affinity_sticks() -> None:
    want = checks(sticky(10800))["pod-to-service/cluster-ip/pod1->svc-a"].steps[0].expectation
    assert (want.cover, want.is_even) == (Cover.ONE, False)


@pytest.mark.parametrize(
    ("mode", "client", "cover"),
    [
        (ProxyMode.IPTABLES, "pod1", Cover.SUBSET),
        (ProxyMode.NFTABLES, "pod1", Cover.SUBSET),
        (ProxyMode.IPVS, "pod1", Cover.ONE),
        (ProxyMode.IPTABLES, "internet", Cover.ONE),
    ],
)
def test_affinity_is_torn_where_two_addresses_offer_other_endpoints(
    mode: ProxyMode, client: str, cover: Cover
) -> None:
    cluster = sticky(10800, mode)
    port = replace(service(cluster, "svc-a").ports[0], node_port=30099)
    cluster = changed(cluster, "svc-a", internal_traffic_policy=LOCAL, ports=(port,))
    path = "internet-to-service" if client == "internet" else "pod-to-service"
    want = checks(cluster)[f"{path}/node-port/{client}->node1:30099"].steps[0].expectation
    assert want.cover is cover


def test_affinity_ends_after_a_short_timeout() -> None:
    check = checks(sticky(2))["pod-to-service/affinity-expires/pod1->svc-a"]
    ask = check.steps[0].ask
    assert isinstance(ask, AffinityExpiry)
    # four clients that all pick the same of three backends again, every time: p < 1e-6
    assert 3.0 ** (-4 * ask.rounds) <= 1e-6


@pytest.mark.parametrize(
    ("seconds", "mode", "reason"),
    [
        (10800, ProxyMode.IPTABLES, "it ends after 10800 s"),
        (2, ProxyMode.IPVS, "TIME_WAIT"),
    ],
)
def test_affinity_whose_end_is_not_waited_for(seconds: int, mode: ProxyMode, reason: str) -> None:
    found = cluster_checks(sticky(seconds, mode))
    skip = next(skip for skip in found.skips if "affinity" in skip.what)
    assert reason in skip.reason
    assert not any("affinity-expires" in check.id for check in found.checks)


# -- refusals --------------------------------------------------------------------------------------


def test_many_empty_services_are_tried_by_one_pod_each() -> None:
    """Every door is still tried, and no pod is refused much more often than another."""
    cluster = four_paths()
    for number in range(8):
        empty = replace(
            service(cluster, "svc-empty"),
            name=f"empty{number}",
            cluster_ips=(ip_address(f"10.96.8.{number}"),),
        )
        cluster = with_service(cluster, empty, ())
    found = cluster_checks(cluster)
    refused = [
        check
        for check in found.checks
        if check.id.startswith("pod-to-service/cluster-ip/") and "empty" in check.target
    ]
    assert Counter(check.target for check in refused) == {
        **{f"empty{number}": 1 for number in range(8)},
        "svc-empty": 1,
    }
    assert set(Counter(check.source.label for check in refused).values()) <= {2, 3}
    assert sum(skip.count for skip in found.skips if skip.what == "refusals") == 9 * 3


def test_ipv6_refusals_may_take_a_retransmission() -> None:
    cluster = make_cluster(network=make_network((IPFamily.IPV6,)))
    cluster = replace(cluster, endpoint_slices=())
    want = checks(cluster)["pod-to-service/cluster-ip/pod1->svc-a"].steps[0].expectation
    assert (want.outcomes, want.within_ms) == ((Outcome.REFUSED,), None)
