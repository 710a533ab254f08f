"""Kubernetes objects as kubectl prints them: Lists, streams, null, and every error at its place."""

from __future__ import annotations

import json

import pytest

from kns.cluster.manifests import ClusterObjects, read_objects
from kns.labfile.objects import parse_object_stream
from kns.labfile.parse import parse_documents

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: null, uid: 0c1f, managedFields: [{}]}
spec:
  clusterIP: 10.96.10.1
  clusterIPs: [10.96.10.1]
  ports: [{port: 80, targetPort: web, appProtocol: http}]
  selector: null
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
status: {loadBalancer: {}}
"""


def read(text: str) -> tuple[ClusterObjects, list[str]]:
    objects, problems = read_objects(parse_documents(text, "objects.yaml"))
    return objects, [str(problem) for problem in problems]


def _split(problem: str) -> tuple[str, str, str]:
    return problem.partition(": ")


def test_fields_that_are_not_needed_are_passed_over() -> None:
    objects, problems = read(SERVICE)
    (service,) = objects.services
    assert problems == []
    assert (service.name, service.annotations) == ("web", {})
    assert service.ports[0].target_port == "web"
    assert service.session_affinity_timeout == 60


def test_an_api_servers_defaults_are_filled_in() -> None:
    objects, problems = read("{kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}")
    (service,) = objects.services
    assert problems == []
    assert (service.namespace, service.type) == ("default", "ClusterIP")
    assert service.ports[0].protocol == "TCP"
    assert service.session_affinity_timeout == 10800


@pytest.mark.parametrize("kind", ["List", "ServiceList"])
def test_a_list_holds_objects(kind: str) -> None:
    """A typed list's items need not say their kind."""
    item = "{metadata: {name: web}" + (", kind: Service}" if kind == "List" else "}")
    objects, problems = read(f"{{kind: {kind}, items: [{item}]}}")
    assert ([item.name for item in objects.services], problems) == (["web"], [])


def test_an_empty_list_is_fine() -> None:
    assert read("{kind: List, items: null}") == (ClusterObjects(), [])


def test_other_kinds_are_passed_over() -> None:
    text = "{kind: ConfigMap, metadata: 7}\n---\n{kind: EndpointSlice, addressType: FQDN}"
    assert read(text) == (ClusterObjects(), [])


def test_an_object_that_comes_twice_counts_as_it_comes_last() -> None:
    text = SERVICE + "---\n" + SERVICE.replace("80", "81")
    objects, _ = read(text)
    assert [item.ports[0].port for item in objects.services] == [81]


def test_addresses_may_have_leading_zeros() -> None:
    """As Kubernetes before 1.22 took them: decimal."""
    objects, problems = read(SERVICE.replace("10.96.10.1", "010.096.010.001"))
    assert ([str(ip) for ip in objects.services[0].cluster_ips], problems) == (["10.96.10.1"], [])


def test_a_headless_service_has_no_address() -> None:
    objects, problems = read("{kind: Service, metadata: {name: db}, spec: {clusterIP: None}}")
    assert (objects.services[0].cluster_ips, problems) == ((), [])


def test_every_error_is_reported_at_its_place() -> None:
    text = """\
kind: List
items:
- kind: Service
  metadata: {}
  spec:
    clusterIP: 10.96.300.1
    type: Foo
    ports:
    - {port: 70000, protocol: tcp}
    - {name: a}
- 5
- metadata: {name: x}
- kind: EndpointSlice
  metadata: {name: x}
  addressType: IPv4
  endpoints:
  - {addresses: [x], conditions: {ready: "yes"}}
- kind: Node
  metadata: {name: ""}
  status: {addresses: [{type: InternalIP, address: x}]}
"""
    _, problems = read(text)
    actual = [(place.rpartition(":")[0], text) for place, _, text in map(_split, problems)]
    assert actual == [
        ("objects.yaml:4", "items[0].metadata.name: Required value"),
        (
            "objects.yaml:6",
            'items[0].spec.clusterIP: Invalid value: "10.96.300.1": must be a valid IP address, '
            "(e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            "objects.yaml:7",
            'items[0].spec.type: Unsupported value: "Foo": supported values: '
            '"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"',
        ),
        (
            "objects.yaml:9",
            "items[0].spec.ports[0].port: Invalid value: 70000: "
            "must be between 1 and 65535, inclusive",
        ),
        (
            "objects.yaml:9",
            'items[0].spec.ports[0].protocol: Unsupported value: "tcp": supported values: '
            '"TCP", "UDP", "SCTP"',
        ),
        ("objects.yaml:10", "items[0].spec.ports[1].port: Required value"),
        ("objects.yaml:11", "items[1]: must be a Kubernetes object, a mapping"),
        ("objects.yaml:12", "items[2].kind: Required value"),
        (
            "objects.yaml:17",
            'items[3].endpoints[0].addresses[0]: Invalid value: "x": must be a valid IP address, '
            "(e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            "objects.yaml:17",
            'items[3].endpoints[0].conditions.ready: must be true or false, not the string "yes"',
        ),
        ("objects.yaml:19", 'items[4].metadata.name: Invalid value: "": must not be empty'),
        (
            "objects.yaml:20",
            'items[4].status.addresses[0]: Invalid value: "x": must be a valid IP address, '
            "(e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
    ]


def test_json_objects_may_follow_each_other() -> None:
    """As two `kubectl get -o json` in a pipe print them; errors keep their lines."""
    first = json.dumps({"kind": "List", "items": []}, indent=4)
    second = json.dumps({"kind": "Service", "metadata": {"name": 7}}, indent=4)
    stream = parse_object_stream(f"{first}\n{second}\n", "-")
    assert (len(stream.documents), stream.problems) == (2, ())
    _, (problem,) = read_objects(stream.documents)
    assert (problem.line, problem.path) == (8, "metadata.name")


def test_json_that_breaks_off_is_an_error_at_its_line() -> None:
    stream = parse_object_stream('{"kind": "List"}\n{"kind":\n', "-")
    assert len(stream.documents) == 1
    assert [problem.line >= 2 for problem in stream.problems] == [True]
