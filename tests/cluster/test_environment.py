"""Service environment variables against kubelet's own test cases, and expansion."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address
from typing import Any

import pytest

from kns.addresses import IPFamily
from kns.cluster.environment import container_environment, expand, service_environment
from kns.cluster.model import Cluster, Network
from kns.kinds.common import Protocol
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort
from tests.vectors import read_vectors

CLUSTER = Cluster(
    name="env",
    network=Network(
        families=(IPFamily.IPV4,),
        pod_cidrs=(IPv4Network("10.244.0.0/16"),),
        service_cidrs=(IPv4Network("10.96.0.0/16"),),
        node_cidrs=(IPv4Network("172.18.0.0/24"),),
        internet_cidrs=(),
    ),
    nodes=(),
)
POD = Pod("default", "pod1", "node1", (ip_address("10.244.0.2"),))
VECTORS = read_vectors("envvars")


def service(name: str, address: str, *ports: ServicePort, namespace: str = "default") -> Service:
    addresses = (ip_address(address),) if address not in {"", "None"} else ()
    return Service(namespace, name, cluster_ips=addresses, ports=ports or (ServicePort(80),))


def vector_service(raw: dict[str, Any]) -> Service:
    ports = (
        ServicePort(port["port"], port.get("name", ""), Protocol(port["protocol"]))
        for port in raw["ports"]
    )
    return service(raw["name"], raw["clusterIP"], *ports)


@pytest.mark.parametrize("raw", VECTORS["services"], ids=lambda raw: raw["name"])
def test_variables_of_each_service_are_kubelets(raw: dict[str, Any]) -> None:
    """One service at a time, so that the order of the list of services plays no part."""
    item = vector_service(raw)
    prefix = raw["name"].upper().replace("-", "_")
    expected = tuple(
        # the API server stores addresses in canonical form, which the vectors do not
        (pair["name"], pair["value"].lower())
        for pair in VECTORS["expected_in_order"]
        if pair["name"].startswith(f"{prefix}_")
    )
    assert service_environment(CLUSTER, POD, services=(item,)) == expected


def test_variables_of_all_services_are_kubelets() -> None:
    services = tuple(vector_service(raw) for raw in VECTORS["services"])
    actual = service_environment(CLUSTER, POD, services=services)
    expected = {pair["name"]: pair["value"].lower() for pair in VECTORS["expected_in_order"]}
    assert dict(actual) == expected
    assert len(actual) == len(VECTORS["expected_in_order"])


@pytest.mark.parametrize("raw", VECTORS["selection"], ids=lambda raw: raw["name"])
def test_visible_services_are_kubelets(raw: dict[str, Any]) -> None:
    pod = Pod(
        raw["pod_ns"],
        "pod1",
        "node1",
        (ip_address("10.244.0.2"),),
        enable_service_links=raw["enableServiceLinks"],
    )
    services = tuple(
        service(item["name"], item["clusterIP"], ServicePort(item["port"]), namespace=item["ns"])
        for item in raw["services"]
    )
    names = [name for name, _ in service_environment(CLUSTER, pod, services=services)]
    assert sorted({name.split("_")[0] + "_" for name in names}) == raw["expect_prefixes"]


def test_own_namespace_kubernetes_replaces_the_default_one() -> None:
    pod = Pod("team", "pod1", "node1", (ip_address("10.244.0.2"),))
    services = (
        service("kubernetes", "10.96.0.1"),
        service("kubernetes", "10.96.0.9", namespace="team"),
    )
    actual = dict(service_environment(CLUSTER, pod, services=services))
    assert actual["KUBERNETES_SERVICE_HOST"] == "10.96.0.9"


def test_same_variable_of_two_services_when_later_name_wins() -> None:
    services = (service("foo-service", "10.96.0.2"), service("foo", "10.96.0.1"))
    actual = dict(service_environment(CLUSTER, POD, services=services))
    assert actual["FOO_SERVICE_PORT"] == "tcp://10.96.0.2:80"


def test_own_variables_come_first_win_and_may_refer() -> None:
    own = (
        ("URL", "http://$(WEB_SERVICE_HOST):$(WEB_SERVICE_PORT)/"),
        ("WEB_SERVICE_PORT", "old $(WEB_SERVICE_PORT)"),
        ("AGAIN", "$(URL)$(LATER)$$(URL)"),
        ("LATER", "1"),
    )
    inherited = (("WEB_SERVICE_HOST", "10.96.0.5"), ("WEB_SERVICE_PORT", "80"))
    assert container_environment(own, inherited) == (
        ("URL", "http://10.96.0.5:80/"),
        ("WEB_SERVICE_PORT", "old 80"),
        ("AGAIN", "http://10.96.0.5:80/$(LATER)$(URL)"),
        ("LATER", "1"),
        ("WEB_SERVICE_HOST", "10.96.0.5"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$(A)$(B)", "12"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$(C)", "$(C)"),
        ("$(A", "$(A"),
        ("$A $", "$A $"),
        ("$()", "$()"),
        ("a$(A)b$$", "a1b$"),
        ("$(A$(B))", "$(A$(B))"),
        ("((A)) $ (A)", "((A)) $ (A)"),
    ],
)
def test_expand_follows_kubernetes_syntax(text: str, expected: str) -> None:
    """The cases are those of third_party/forked/golang/expansion/expand_test.go."""
    assert expand(text, {"A": "1", "B": "2"}) == expected
