"""The lab whose flows `tests/state/test_walk_flows.py` lists, as a file: same names, addresses."""

from __future__ import annotations

CLIENT, CLIENT6 = "203.0.113.10", "2001:db8:203::a"
EXTERNAL_IP, BALANCER_IP = "198.51.100.7", "198.51.100.8"
FAR, BARRED = "198.51.100.9", "198.51.100.10"

_SERVICE = """\
- name: {name}
  selector: {{{selector}: here}}
  ipFamilyPolicy: RequireDualStack
  clusterIPs: [10.96.0.{number}, "fd00:10:96::{number:x}"]
  ports: [{{port: 80, targetPort: 8080{port}}}]
{more}"""


_BALANCED = """\
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: LoadBalancer
  selector: {{{selector}: here}}
  ipFamilyPolicy: RequireDualStack
  clusterIP: 10.96.0.{number}
  clusterIPs: [10.96.0.{number}, "fd00:10:96::{number:x}"]
  loadBalancerSourceRanges: [203.0.113.0/24]
  ports: [{{port: 80, targetPort: 8080, nodePort: 300{number}}}]
status: {{loadBalancer: {{ingress: [{{ip: {address}}}]}}}}
"""


def _service(name: str, number: int, *more: str, selector: str = "all", port: str = "") -> str:
    lines = "".join(f"  {line}\n" for line in more)
    return _SERVICE.format(name=name, number=number, selector=selector, port=port, more=lines)


def _node_port(name: str, number: int, *more: str, selector: str = "all") -> str:
    port = f", nodePort: 300{number}"
    return _service(name, number, "type: NodePort", *more, selector=selector, port=port)


def _balanced(name: str, number: int, address: str, selector: str) -> str:
    return _BALANCED.format(name=name, number=number, address=address, selector=selector)


_LOCAL = "externalTrafficPolicy: Local"
LAB = "test"
TEXT = f"""\
apiVersion: kns/v1
kind: Lab
metadata: {{name: {LAB}}}
networking: {{ipFamily: dual, dns: {{enabled: false}}}}
nodes: [{{name: node1}}, {{name: node2}}]
internet: [{{name: internet, addresses: [{CLIENT}, "{CLIENT6}"]}}]
pods:
- {{name: pod1, node: node1, labels: {{all: here}}, containers: &server [{{ports: [
    {{containerPort: 8080}}, {{containerPort: 8080, protocol: UDP}}]}}]}}
- {{name: pod2, node: node2, labels: {{all: here, far: here}}, containers: *server}}
- {{name: pod3, node: node1, labels: {{all: here}}, containers: *server}}
services:
{_service("web", 11)}\
{_service("remote", 12, selector="far")}\
{_service("datagrams", 13, port=", protocol: UDP")}\
{_service("empty", 14, selector="none")}\
{_service("sticky", 15, "sessionAffinity: ClientIP")}\
{_service("near", 16, "internalTrafficPolicy: Local")}\
{_node_port("door", 17)}\
{_node_port("door-local", 18, _LOCAL)}\
{_node_port("door-far", 19, _LOCAL, selector="far")}\
{_node_port("door-empty", 20, selector="none")}\
{_service("external", 21, f"externalIPs: [{EXTERNAL_IP}]")}\
{_service("external-far", 23, f"externalIPs: [{FAR}]", _LOCAL, selector="far")}\
{_balanced("balanced", 22, BALANCER_IP, "all")}\
{_balanced("barred", 24, BARRED, "none")}\
"""
