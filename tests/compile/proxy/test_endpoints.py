"""Which endpoints a node uses: conditions, policies, hints, several slices."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from kns.addresses import IPFamily
from kns.compile.proxy.endpoints import ServicePortView, service_ports
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.node import Node
from kns.kinds.release import NEWEST, Release
from kns.kinds.service import LoadBalancerIngress, Service, ServicePort, ServiceType, TrafficPolicy
from tests.compile.proxy.services import (
    HTTP,
    NODE,
    OPTIONS,
    cluster_ip,
    endpoint,
    endpoint_slice,
    load_balancer,
    node_port,
)

AUTO = {"service.kubernetes.io/topology-mode": "Auto"}


def view_of(
    service: Service, *slices: EndpointSlice, release: Release = NEWEST, node: Node = NODE
) -> ServicePortView:
    options = replace(OPTIONS, version=release)
    (view,) = service_ports((service,), slices, node, options, IPFamily.IPV4)
    return view


def hosts(endpoints: tuple[Any, ...]) -> list[str]:
    return [item.host for item in endpoints]


# -- which endpoints, in which order ---------------------------------------------------------------


def test_endpoints_are_sorted_by_text() -> None:
    """`:` comes after the digits, so .100 is before .10 and that before .9."""
    items = (endpoint("10.244.1.9"), endpoint("10.244.1.10"), endpoint("10.244.1.100"))
    view = view_of(cluster_ip(), endpoint_slice(*items))
    assert hosts(view.cluster) == ["10.244.1.100", "10.244.1.10", "10.244.1.9"]


def test_an_endpoint_in_two_slices_counts_once() -> None:
    one = endpoint_slice(endpoint("10.244.1.9"), name="a")
    two = endpoint_slice(endpoint("10.244.1.9"), endpoint("10.244.1.8"), name="b")
    view = view_of(cluster_ip(), one, two)
    assert (hosts(view.cluster), view.total_endpoints) == (["10.244.1.8", "10.244.1.9"], 2)


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_where_slices_differ_the_local_one_wins(names: tuple[str, str]) -> None:
    here = endpoint_slice(endpoint("10.244.1.9", "node1"), name=names[0])
    there = endpoint_slice(endpoint("10.244.1.9", "node2"), name=names[1])
    service = cluster_ip(internal_traffic_policy=TrafficPolicy.LOCAL)
    assert hosts(view_of(service, here, there).local) == ["10.244.1.9"]


def test_only_the_first_address_of_an_endpoint_counts() -> None:
    item = endpoint("10.244.1.9", addresses=(ip_address("10.244.1.9"), ip_address("10.244.1.8")))
    assert hosts(view_of(cluster_ip(), endpoint_slice(item)).cluster) == ["10.244.1.9"]


@pytest.mark.parametrize(
    "port",
    [
        EndpointPort(8080, "other"),
        EndpointPort(8080, "http", Protocol.UDP),
        EndpointPort(None, "http"),
        EndpointPort(0, "http"),
    ],
)
def test_a_slice_port_belongs_to_the_service_port_of_its_name_and_protocol(
    port: EndpointPort,
) -> None:
    item = endpoint_slice(endpoint("10.244.1.9"), ports=(port,))
    assert view_of(cluster_ip(), item).has_any is False


def test_slices_may_have_different_numbers_for_a_named_port() -> None:
    one = endpoint_slice(endpoint("10.244.1.9"), name="a", port=8080)
    two = endpoint_slice(endpoint("10.244.2.9"), name="b", port=9090)
    texts = [item.text for item in view_of(cluster_ip(), one, two).cluster]
    assert texts == ["10.244.1.9:8080", "10.244.2.9:9090"]


def test_ipv6_endpoints_are_written_in_brackets() -> None:
    item = endpoint_slice(endpoint("fd00:10:244:1::9"))
    (view,) = service_ports((cluster_ip(),), (item,), NODE, OPTIONS, IPFamily.IPV6)
    assert [item.text for item in view.cluster] == ["[fd00:10:244:1::9]:8080"]


# -- conditions ------------------------------------------------------------------------------------

READY = endpoint("10.244.1.1")
REMOTE = endpoint("10.244.2.1", "node2")
UNKNOWN = endpoint("10.244.1.2", ready=None, serving=None, terminating=None)
NOT_READY = endpoint("10.244.1.3", ready=False, serving=False)
SERVING = endpoint("10.244.1.4", ready=False, terminating=True)
GONE = endpoint("10.244.1.5", ready=False, serving=False, terminating=True)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((READY, UNKNOWN, NOT_READY, SERVING, GONE), ["10.244.1.1", "10.244.1.2"]),
        ((NOT_READY, SERVING, GONE), ["10.244.1.4"]),
        ((NOT_READY, GONE), []),
        ((), []),
    ],
)
def test_serving_endpoints_count_only_where_none_is_ready(
    items: tuple[Endpoint, ...], expected: list[str]
) -> None:
    view = view_of(cluster_ip(), endpoint_slice(*items))
    assert (hosts(view.cluster), view.has_any) == (expected, bool(expected))


def test_local_falls_back_to_serving_ones_on_its_own() -> None:
    """A node that drains keeps its last local endpoint while others have ready ones."""
    service = node_port(external_traffic_policy=TrafficPolicy.LOCAL)
    view = view_of(service, endpoint_slice(REMOTE, SERVING))
    assert hosts(view.cluster) == ["10.244.2.1"]
    assert hosts(view.local) == ["10.244.1.4"]
    assert hosts(view.reachable) == ["10.244.1.4", "10.244.2.1"]


# -- policies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "cluster", "local"),
    [
        (cluster_ip(), 2, 0),
        (cluster_ip(external_traffic_policy=TrafficPolicy.LOCAL), 2, 0),
        (cluster_ip(internal_traffic_policy=TrafficPolicy.LOCAL), 0, 1),
        (node_port(internal_traffic_policy=TrafficPolicy.LOCAL), 2, 1),
        (node_port(external_traffic_policy=TrafficPolicy.LOCAL), 2, 1),
        (node_port(), 2, 0),
        (
            cluster_ip(
                external_traffic_policy=TrafficPolicy.LOCAL,
                external_ips=(ip_address("198.51.100.1"),),
            ),
            2,
            1,
        ),
    ],
)
def test_a_list_is_there_only_where_a_policy_uses_it(
    service: Service, cluster: int, local: int
) -> None:
    view = view_of(service, endpoint_slice(READY, REMOTE))
    assert (len(view.cluster), len(view.local)) == (cluster, local)


def test_endpoints_elsewhere_count_as_some_for_policy_local() -> None:
    view = view_of(cluster_ip(internal_traffic_policy=TrafficPolicy.LOCAL), endpoint_slice(REMOTE))
    assert (view.local, view.reachable, view.has_any) == ((), (), True)


def test_a_health_check_port_needs_a_balancer_with_policy_local() -> None:
    local = {"external_traffic_policy": TrafficPolicy.LOCAL, "health_check_node_port": 32100}
    assert view_of(load_balancer(**local)).health_check_node_port == 32100
    assert view_of(load_balancer(health_check_node_port=32100)).health_check_node_port == 0
    assert view_of(node_port(**local)).health_check_node_port == 0


# -- topology hints --------------------------------------------------------------------------------


def hinted(*zones: str, **changes: Any) -> EndpointSlice:
    items = (
        endpoint(f"10.244.1.{number}", hint_zones=(zone,) if zone else (), **changes)
        for number, zone in enumerate(zones, 1)
    )
    return endpoint_slice(*items)


@pytest.mark.parametrize(
    ("annotations", "zones", "expected"),
    [
        (AUTO, ("zone-a", "zone-b"), ["10.244.1.1"]),
        (AUTO, ("zone-a", ""), ["10.244.1.1", "10.244.1.2"]),
        (AUTO, ("zone-b", "zone-b"), ["10.244.1.1", "10.244.1.2"]),
        ({}, ("zone-a", "zone-b"), ["10.244.1.1", "10.244.1.2"]),
        (
            {"service.kubernetes.io/topology-mode": "Disabled"},
            ("zone-a", "zone-b"),
            ["10.244.1.1", "10.244.1.2"],
        ),
        (
            {"service.kubernetes.io/topology-aware-hints": "auto"},
            ("zone-a", "zone-b"),
            ["10.244.1.1"],
        ),
        (
            {"service.kubernetes.io/topology-aware-hints": "disabled", **AUTO},
            ("zone-a", "zone-b"),
            ["10.244.1.1", "10.244.1.2"],
        ),
    ],
)
def test_zone_hints_need_the_annotation_a_hint_each_and_one_for_here(
    annotations: dict[str, str], zones: tuple[str, ...], expected: list[str]
) -> None:
    service = cluster_ip(annotations=annotations)
    view = view_of(service, hinted(*zones), release=Release.V1_30)
    assert hosts(view.cluster) == expected


@pytest.mark.parametrize("release", [r for r in Release if r > Release.V1_30], ids=str)
@pytest.mark.parametrize(
    "annotations", [{}, AUTO, {"service.kubernetes.io/topology-mode": "Disabled"}]
)
def test_zone_hints_need_no_annotation_since_1_31(
    release: Release, annotations: dict[str, str]
) -> None:
    service = cluster_ip(annotations=annotations)
    found = view_of(service, hinted("zone-a", "zone-b"), release=release)
    assert hosts(found.cluster) == ["10.244.1.1"]
    incomplete = view_of(service, hinted("zone-a", ""), release=release)
    assert hosts(incomplete.cluster) == ["10.244.1.1", "10.244.1.2"]


def test_endpoints_that_are_not_ready_need_no_hint() -> None:
    item = hinted("zone-a", "zone-b")
    item = replace(item, endpoints=(*item.endpoints, NOT_READY))
    assert hosts(view_of(cluster_ip(annotations=AUTO), item).cluster) == ["10.244.1.1"]


def test_hints_leave_policy_local_alone() -> None:
    service = node_port(annotations=AUTO, external_traffic_policy=TrafficPolicy.LOCAL)
    view = view_of(service, hinted("zone-a", "zone-b"))
    assert hosts(view.cluster) == ["10.244.1.1"]
    assert hosts(view.local) == hosts(view.reachable) == ["10.244.1.1", "10.244.1.2"]


def test_a_node_without_zone_uses_no_hints() -> None:
    service = cluster_ip(annotations=AUTO)
    node = replace(NODE, labels={})
    view = view_of(service, hinted("zone-a", "zone-b"), node=node)
    assert hosts(view.cluster) == ["10.244.1.1", "10.244.1.2"]


def test_node_hints_count_before_zone_hints() -> None:
    service = cluster_ip()
    items = (
        endpoint("10.244.1.1", hint_zones=("zone-a",), hint_nodes=("node1",)),
        endpoint("10.244.2.1", "node2", hint_zones=("zone-a",), hint_nodes=("node2",)),
    )
    assert hosts(view_of(service, endpoint_slice(*items)).cluster) == ["10.244.1.1"]
    elsewhere = [replace(item, hint_nodes=("node2",)) for item in items]
    view = view_of(service, endpoint_slice(*elsewhere))
    assert hosts(view.cluster) == ["10.244.1.1", "10.244.2.1"]


@pytest.mark.parametrize("release", list(Release), ids=str)
def test_node_hints_count_since_1_34_whatever_the_service_says(release: Release) -> None:
    service = cluster_ip(traffic_distribution="PreferSameNode")
    items = (
        endpoint("10.244.1.1", hint_zones=("zone-a",), hint_nodes=("node1",)),
        endpoint("10.244.2.1", "node2", hint_zones=("zone-a",), hint_nodes=("node2",)),
    )
    for asked in (service, cluster_ip()):
        found = hosts(view_of(asked, endpoint_slice(*items), release=release).cluster)
        both = ["10.244.1.1", "10.244.2.1"]
        assert found == (both if release < Release.V1_34 else ["10.244.1.1"])


#: which of two endpoints on different nodes are hinted at nodes, and which are used on node1
NODE_HINTS = [
    ("none here: the zone", (("node2",), ("node2",)), ("zone-a", "zone-b"), ["10.244.1.1"]),
    ("none here, no zone", (("node2",), ("node2",)), ("", ""), ["10.244.1.1", "10.244.2.1"]),
    ("one without", (("node1",), ()), ("zone-a", "zone-b"), ["10.244.1.1"]),
]


@pytest.mark.parametrize(
    ("nodes", "zones", "expected"),
    [case[1:] for case in NODE_HINTS],
    ids=[c[0] for c in NODE_HINTS],
)
def test_node_hints_that_do_not_fit_leave_it_to_the_zones(
    nodes: tuple[tuple[str, ...], ...], zones: tuple[str, ...], expected: list[str]
) -> None:
    items = (
        endpoint("10.244.1.1", hint_nodes=nodes[0], hint_zones=(zones[0],) if zones[0] else ()),
        endpoint(
            "10.244.2.1", "node2", hint_nodes=nodes[1], hint_zones=(zones[1],) if zones[1] else ()
        ),
    )
    assert hosts(view_of(cluster_ip(), endpoint_slice(*items)).cluster) == expected


def test_node_hints_leave_endpoints_out_that_are_not_ready() -> None:
    here = endpoint("10.244.1.1", hint_nodes=("node1",))
    elsewhere = endpoint("10.244.2.1", "node2", hint_nodes=("node2",))
    without_hint = replace(NOT_READY, hint_nodes=())
    found = view_of(cluster_ip(), endpoint_slice(here, elsewhere, without_hint))
    assert hosts(found.cluster) == ["10.244.1.1"]
    gone = replace(here, ready=False, serving=False)
    found = view_of(cluster_ip(), endpoint_slice(gone, elsewhere))
    assert hosts(found.cluster) == ["10.244.2.1"]


@pytest.mark.parametrize("release", [Release.V1_35, Release.V1_36], ids=str)
def test_of_an_address_in_two_slices_the_living_one_counts_since_1_36(release: Release) -> None:
    living = endpoint("10.244.1.1")
    dying = replace(living, ready=False, terminating=True)
    remote = endpoint("10.244.2.1", "node2")
    slices = (endpoint_slice(living, remote, name="web-a"), endpoint_slice(dying, name="web-b"))
    expected = ["10.244.2.1"] if release < Release.V1_36 else ["10.244.1.1", "10.244.2.1"]
    assert hosts(view_of(cluster_ip(), *slices, release=release).cluster) == expected
    swapped = (slices[0], replace(slices[1], name="web-0"))
    assert hosts(view_of(cluster_ip(), *swapped, release=release).cluster) == [
        "10.244.1.1",
        "10.244.2.1",
    ]


# -- services --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "service",
    [
        cluster_ip(cluster_ips=()),
        cluster_ip(type=ServiceType.EXTERNAL_NAME),
        cluster_ip(labels={"service.kubernetes.io/service-proxy-name": "other"}),
        cluster_ip(labels={"service.kubernetes.io/headless": ""}),
        cluster_ip(cluster_ips=(ip_address("fd00:10:96::a01"),)),
    ],
    ids=["headless", "external-name", "other-proxy", "labelled-headless", "other-family"],
)
def test_some_services_make_no_rules(service: Service) -> None:
    assert service_ports((service,), (endpoint_slice(READY),), NODE, OPTIONS, IPFamily.IPV4) == ()


@pytest.mark.parametrize(
    "label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"]
)
def test_labelled_slices_are_not_watched(label: str) -> None:
    item = endpoint_slice(READY, labels={label: "x"})
    assert view_of(cluster_ip(), item).has_any is False


def test_slices_belong_to_a_service_of_their_namespace() -> None:
    assert view_of(cluster_ip(), endpoint_slice(READY, namespace="other")).has_any is False


def test_ports_are_sorted_by_name() -> None:
    ports = (replace(HTTP, name="b"), replace(HTTP, name="a", port=81))
    services = (cluster_ip(name="z"), cluster_ip(ports=ports))
    views = service_ports(services, (), NODE, OPTIONS, IPFamily.IPV4)
    assert [view.name for view in views] == ["default/web:a", "default/web:b", "default/z:http"]


def test_a_port_without_name_has_none_in_its_service_ports_name() -> None:
    assert view_of(cluster_ip(ports=(ServicePort(80),))).name == "default/web"


def test_only_vip_ingress_addresses_of_the_family_count() -> None:
    ingress = (
        LoadBalancerIngress(ip_address("203.0.113.10")),
        LoadBalancerIngress(ip_address("203.0.113.11"), ip_mode="Proxy"),
        LoadBalancerIngress(ip_address("2001:db8::10")),
        LoadBalancerIngress(hostname="lb.example.com"),
    )
    view = view_of(load_balancer(load_balancer_ingress=ingress))
    assert view.load_balancer_ips == (ip_address("203.0.113.10"),)


def test_source_ranges_are_read_leniently() -> None:
    """Blanks, host bits, decimal numbers with leading zeros; what is no CIDR is left out."""
    ranges = (
        " 198.51.100.7/24 ",
        "010.001.0.0/16",
        "10.0.0.1",
        "x/8",
        "2001:db8::/32",
        "0.0.0.0/0",
    )
    view = view_of(load_balancer(load_balancer_source_ranges=ranges), release=Release.V1_33)
    assert view.source_ranges == ("198.51.100.0/24", "10.1.0.0/16", "0.0.0.0/0")
