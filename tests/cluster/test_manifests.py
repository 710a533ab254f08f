"""Kubernetes objects as the cluster model."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from kns.addresses import IPFamily
from kns.cluster.manifests import load_objects
from kns.errors import SpecError
from kns.kinds.node import Node
from kns.kinds.service import SessionAffinity, TrafficPolicy

NODE = """\
kind: Node
metadata: {{name: node1, labels: {{topology.kubernetes.io/zone: zone-a}}}}
spec: {{podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]}}
status:
  addresses: [{}]
"""


def node(*addresses: tuple[str, str]) -> Node:
    entries = ", ".join(f'{{type: {kind}, address: "{text}"}}' for kind, text in addresses)
    (found,) = load_objects([("nodes.yaml", NODE.format(entries))]).nodes
    return found


def test_a_node_has_its_first_internal_address_of_each_family() -> None:
    found = node(
        ("Hostname", "node1"),
        ("ExternalIP", "203.0.113.1"),
        ("InternalIP", "192.168.50.11"),
        ("InternalIP", "10.0.0.5"),
        ("InternalIP", "fd00:50::11"),
    )
    assert found.addresses == (ip_address("192.168.50.11"), ip_address("fd00:50::11"))
    assert found.host_addresses == (ip_address("10.0.0.5"),)
    assert found.pod_cidrs == (ip_network("10.244.1.0/24"), ip_network("fd00:10:244:1::/64"))
    assert found.zone == "zone-a"


def test_a_node_without_internal_address_has_its_external_one() -> None:
    found = node(("ExternalIP", "203.0.113.1"))
    assert (found.addresses, found.host_addresses) == ((ip_address("203.0.113.1"),), ())


@pytest.mark.parametrize(
    "text",
    [
        "kind: Node\nmetadata: {name: n}\nspec: {podCIDRs: [10.244.1.0/24, 10.244.2.0/24]}\n",
        "kind: ServiceCIDR\nmetadata: {name: c}\nspec: {cidrs: [fd00:1::/112, fd00:2::/112]}\n",
    ],
)
def test_two_cidrs_are_one_of_each_family(text: str) -> None:
    """Kubernetes' ValidateNode and ValidateServiceCIDR."""
    with pytest.raises(SpecError) as caught:
        load_objects([("objects.yaml", text)])
    (problem,) = caught.value.problems
    assert str(problem).startswith("objects.yaml:3:")
    assert "may hold no more than one CIDR of each IP family" in str(problem)
    assert "one IPv4 and one IPv6" in problem.hint


def test_a_service_and_its_slice() -> None:
    text = """\
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: LoadBalancer
  clusterIP: 10.96.10.1
  clusterIPs: [10.96.10.1, "fd00::1"]
  ipFamilies: [IPv4, IPv6]
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  sessionAffinity: ClientIP
  externalIPs: [198.51.100.1]
  loadBalancerSourceRanges: [" 10.0.0.0/8"]
  healthCheckNodePort: 32100
  ports: [{name: http, port: 80, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.10, ipMode: Proxy}, {hostname: lb.example}]}}
---
kind: EndpointSlice
metadata: {name: web-a, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: all, port: null}]
endpoints:
- addresses: [10.244.1.10]
  conditions: {ready: false, terminating: true}
  nodeName: node1
  zone: zone-a
  hints: {forZones: [{name: zone-a}], forNodes: [{name: node1}]}
  targetRef: {kind: Pod, namespace: shop, name: web-1}
"""
    objects = load_objects([("objects.yaml", text)])
    (service,), (item,) = objects.services, objects.endpoint_slices
    assert service.ip_families == (IPFamily.IPV4, IPFamily.IPV6)
    assert (service.external_traffic_policy, service.internal_traffic_policy) == (
        TrafficPolicy.LOCAL,
        TrafficPolicy.LOCAL,
    )
    assert (service.session_affinity, service.session_affinity_timeout) == (
        SessionAffinity.CLIENT_IP,
        10800,
    )
    assert service.load_balancer_source_ranges == (" 10.0.0.0/8",)
    assert [(e.ip, e.hostname, e.ip_mode) for e in service.load_balancer_ingress] == [
        (ip_address("203.0.113.10"), "", "Proxy"),
        (None, "lb.example", "VIP"),
    ]
    assert (service.ports[0].target_port, service.ports[0].node_port) == (80, 30080)
    assert (item.service, [port.port for port in item.ports]) == ("web", [8080, None])
    (endpoint,) = item.endpoints
    assert (endpoint.ready, endpoint.serving, endpoint.terminating) == (False, None, True)
    assert (endpoint.hint_zones, endpoint.hint_nodes) == (("zone-a",), ("node1",))
    assert endpoint.pod == "shop/web-1"


def test_a_single_cluster_ip_is_enough() -> None:
    text = "{kind: Service, metadata: {name: web}, spec: {clusterIP: 'fd00::1'}}"
    (service,) = load_objects([("objects.yaml", text)]).services
    assert (service.cluster_ips, service.ip_families) == (
        (ip_address("fd00::1"),),
        (IPFamily.IPV6,),
    )


def test_errors_of_all_files_come_together() -> None:
    with pytest.raises(SpecError) as caught:
        load_objects([("a.yaml", "5"), ("b.yaml", "{kind: Node, metadata: {}}"), ("c.yaml", "[")])
    assert {problem.file for problem in caught.value.problems} == {"a.yaml", "b.yaml", "c.yaml"}


def test_what_no_api_server_printed_is_told() -> None:
    """Without clusterIP a Service would be taken as headless; kube-proxy knows no Endpoints."""
    raw = "apiVersion: v1\nkind: Service\nmetadata: {name: raw}\nspec: {ports: [{port: 80}]}\n"
    old = "apiVersion: v1\nkind: Endpoints\nmetadata: {name: raw}\n"
    headless = raw.replace("ports", "clusterIP: None, ports").replace("raw", "headless")
    external = raw.replace("ports", "type: ExternalName, ports").replace("raw", "external")
    found = load_objects([("a.yaml", "---\n".join((raw, old, old, headless, external)))])
    assert [problem.message for problem in found.warnings] == [
        "default/raw has no clusterIP: a manifest rather than kubectl get output?",
        "Endpoints are not read: kube-proxy watches EndpointSlices",
    ]
