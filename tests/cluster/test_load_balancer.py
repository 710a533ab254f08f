"""Who may take the packets for a LoadBalancer's address, and who is elected: MetalLB's rules."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.cluster.load_balancer import (
    Announcement,
    announced_by,
    announcements,
    elected,
    eligible_nodes,
    healthy_nodes,
    proxied,
)
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.service import LoadBalancerIngress, ServicePort
from tests.balanced import balanced
from tests.probe.scenes import service, with_service

NODES = ("node1", "node2", "node3")

#: the order of `printf NODE#ADDRESS | sha256sum`
VECTORS = [
    ("198.51.100.1", ("node1", "node3", "node2")),
    ("198.51.100.2", ("node1", "node3", "node2")),
    ("198.51.100.3", ("node2", "node1", "node3")),
    ("2001:db8::1", ("node3", "node2", "node1")),
]


@pytest.mark.parametrize(("address", "order"), VECTORS)
def test_the_lowest_hash_of_node_and_address_wins(address: str, order: tuple[str, ...]) -> None:
    item = Announcement(ip_address(address), service(balanced(), "svc-cluster"), NODES)
    alive = set(NODES)
    winners = []
    for _ in NODES:
        winner = elected(item, alive)
        assert winner is not None
        winners.append(winner)
        alive.remove(winner)
    assert tuple(winners) == order
    assert elected(item, alive) is None


def test_only_eligible_nodes_are_elected() -> None:
    item = Announcement(
        ip_address("198.51.100.1"), service(balanced(), "svc-cluster"), ("node2", "node3")
    )
    assert elected(item, NODES) == "node3"
    assert elected(item, ["node1"]) is None


def test_policy_cluster_makes_every_node_eligible_and_local_those_with_endpoints() -> None:
    cluster = balanced()
    assert eligible_nodes(cluster, service(cluster, "svc-cluster")) == NODES
    assert eligible_nodes(cluster, service(cluster, "svc-local")) == ("node1", "node2")


def test_without_any_endpoint_nobody_is_eligible() -> None:
    cluster = balanced(backends=0)
    assert [item.eligible for item in announcements(cluster)] == [(), (), ()]
    assert announced_by(cluster, "node1") == ()


def conditions(**values: bool) -> Cluster:
    cluster = balanced()
    local = service(cluster, "svc-local")
    return with_service(cluster, local, cluster.pods[:1], conditions={"pod1": values})


@pytest.mark.parametrize(
    ("values", "eligible", "healthy"),
    [
        ({"ready": True}, ("node1",), ("node1",)),
        ({"ready": False}, (), ()),
        # an endpoint that ends and serves until then: MetalLB goes on, health checks don't
        ({"ready": False, "serving": True, "terminating": True}, ("node1",), ()),
    ],
)
def test_conditions_of_endpoints(
    values: dict[str, bool], eligible: tuple[str, ...], healthy: tuple[str, ...]
) -> None:
    cluster = conditions(**values)
    local = service(cluster, "svc-local")
    assert eligible_nodes(cluster, local) == eligible
    assert healthy_nodes(cluster, local) == healthy


def test_policy_cluster_leaves_every_node_healthy_for_a_proxy() -> None:
    cluster = balanced("proxy", backends=0)
    assert healthy_nodes(cluster, service(cluster, "svc-cluster")) == NODES


def test_a_proxy_serves_what_has_a_tcp_node_port() -> None:
    cluster = balanced("proxy")
    assert [str(address) for address, _ in proxied(cluster)] == [
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.3",
    ]
    udp = (ServicePort(53, protocol=Protocol.UDP, node_port=30053),)
    assert proxied(balanced("proxy", ports=udp)) == ()
    assert proxied(balanced("proxy", ports=(ServicePort(80),))) == ()


def test_addresses_of_the_other_ip_mode_are_not_announced() -> None:
    cluster = balanced("proxy")
    assert announcements(cluster) == ()
    vip = (LoadBalancerIngress(ip_address("198.51.100.9")),)
    changed = replace(service(cluster, "svc-local"), load_balancer_ingress=vip)
    cluster = with_service(cluster, changed, cluster.pods[:1])
    assert [str(item.address) for item in announcements(cluster)] == ["198.51.100.9"]
