"""EndpointSlices and topology hints, as their controller makes them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.cluster.selectors import PodIndex, matches
from kns.kinds.endpointslice import Endpoint, EndpointSlice
from tests.kinds.labs import NODES, lab

HEAD = "networking: {dns: {enabled: false}}\n"


def cluster(body: str, *, nodes: str = NODES, head: str = HEAD) -> Cluster:
    return resolve(lab(head + body, nodes=nodes).spec).cluster


def slices(body: str, *, nodes: str = NODES, head: str = HEAD) -> tuple[EndpointSlice, ...]:
    return cluster(body, nodes=nodes, head=head).endpoint_slices


def pods_of(items: Sequence[EndpointSlice]) -> list[str]:
    return [endpoint.pod for item in items for endpoint in item.endpoints]


# -- which pods ------------------------------------------------------------------------------------


def test_a_slice_holds_the_namespaces_pods_that_match_all_labels() -> None:
    (found,) = slices(
        "pods:\n- {name: a, labels: {app: x, tier: y}}\n- {name: b, labels: {app: x}}\n"
        "- {name: c, namespace: shop, labels: {app: x, tier: y}}\n"
        "services:\n"
        "- {name: s, selector: {app: x, tier: y}, ports: [{port: 80, targetPort: 8080}]}\n"
    )
    assert pods_of([found]) == ["default/a"]
    (endpoint,) = found.endpoints
    assert str(endpoint.addresses[0]) == "10.244.0.2"
    assert (endpoint.ready, endpoint.serving, endpoint.terminating) == (True, True, False)
    assert endpoint.node_name == "node1"
    assert [(port.port, port.name) for port in found.ports] == [(8080, "")]
    assert found.labels["kubernetes.io/service-name"] == "s"
    assert found.name.startswith("s-")


def test_an_empty_selector_selects_nothing() -> None:
    assert PodIndex([]).select("default", {}) == ()
    assert matches({}, {"a": "b"})
    assert not matches({"a": "b"}, {"a": "c"})


def test_a_service_without_pods_has_an_empty_slice() -> None:
    (found,) = slices("services: [{name: s, selector: {app: x}, ports: [{port: 80}]}]\n")
    assert (found.endpoints, found.ports) == ((), ())


def test_no_slice_without_selector_and_for_external_names() -> None:
    body = (
        "services: [{name: s, ports: [{port: 80}]},"
        " {name: e, type: ExternalName, externalName: x, selector: {a: b}}]\n"
    )
    assert slices(body) == ()


def test_dual_stack_services_have_slices_of_both_families() -> None:
    body = (
        "pods: [{name: a, labels: {app: x}}]\n"
        "services: [{name: s, ipFamilyPolicy: PreferDualStack, selector: {app: x},"
        " ports: [{port: 80}]}]\n"
    )
    head = "networking: {ipFamily: dual, dns: {enabled: false}}\n"
    found = slices(body, head=head)
    addresses = {item.address_type: str(item.endpoints[0].addresses[0]) for item in found}
    assert addresses == {IPFamily.IPV4: "10.244.0.2", IPFamily.IPV6: "fd00:10:244::2"}


# -- ports -----------------------------------------------------------------------------------------


def test_named_target_ports_make_a_slice_for_each_set_of_ports() -> None:
    found = slices(
        "pods:\n- {name: a, labels: {app: x}, containers: [{ports: [{name: http, port: 8080}]}]}\n"
        "- {name: b, labels: {app: x}, containers: [{ports: [{name: http, port: 9090}]}]}\n"
        "- {name: c, labels: {app: x}, containers: [{ports: [{name: http, port: 8080}]}]}\n"
        "- {name: d, labels: {app: x}, containers: [{port: 1}]}\n"
        "services: [{name: s, selector: {app: x}, ports: [{port: 80, targetPort: http}]}]\n"
    )
    by_ports = {tuple(port.port for port in item.ports): pods_of([item]) for item in found}
    assert by_ports == {
        (8080,): ["default/a", "default/c"], (9090,): ["default/b"], (): ["default/d"],
    }  # fmt: skip


def test_a_named_port_is_of_the_services_protocol_and_the_first_container_wins() -> None:
    found = slices(
        "pods:\n- name: a\n  labels: {app: x}\n  containers:\n"
        "  - {name: one, ports: [{name: dns, port: 1, protocol: UDP}]}\n"
        "  - {name: two, ports: [{name: dns, port: 2}]}\n"
        "  - {name: three, ports: [{name: dns, port: 3}]}\n"
        "services: [{name: s, selector: {app: x}, ports: [{port: 80, targetPort: dns}]}]\n"
    )
    assert [port.port for port in found[0].ports] == [2]


def test_a_number_needs_no_container_port() -> None:
    (found,) = slices(
        "pods: [{name: a, labels: {app: x}, containers: [{name: c}]}]\n"
        "services: [{name: s, selector: {app: x}, ports: [{port: 80, targetPort: 1234}]}]\n"
    )
    assert [port.port for port in found.ports] == [1234]


def test_a_slice_has_at_most_a_hundred_endpoints() -> None:
    body = (
        "pods: [{name: a, replicas: 250, labels: {app: x}}]\n"
        "services: [{name: s, selector: {app: x}, ports: [{port: 80}]}]\n"
    )
    found = slices(body)
    assert sorted(len(item.endpoints) for item in found) == [50, 100, 100]
    assert len({item.name for item in found}) == 3
    assert len(set(pods_of(found))) == 250


def test_slice_names_stay_when_pods_come() -> None:
    template = (
        "pods: [{{name: a, replicas: {count}, labels: {{app: x}}}}]\n"
        "services: [{{name: s, selector: {{app: x}}, ports: [{{port: 80}}]}}]\n"
    )
    few, more = slices(template.format(count=1)), slices(template.format(count=9))
    assert [item.name for item in few] == [item.name for item in more]


# -- conditions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("publish", [False, True])
@pytest.mark.parametrize(
    ("fields", "conditions"),
    [
        ("", (True, True, False)),
        ("ready: false", (False, False, False)),
        ("terminating: true", (False, True, True)),
        ("terminating: true, ready: false", (False, False, True)),
        ("terminating: true, ready: false, serving: true", (False, True, True)),
    ],
)
def test_conditions(fields: str, conditions: tuple[bool, bool, bool], *, publish: bool) -> None:
    (found,) = slices(
        f"pods: [{{name: a, labels: {{app: x}}, {fields}}}]\n"
        "services: [{name: s, selector: {app: x}, ports: [{port: 80}],"
        f" publishNotReadyAddresses: {str(publish).lower()}}}]\n"
    )
    (endpoint,) = found.endpoints
    ready, serving, terminating = conditions
    actual = (endpoint.ready, endpoint.serving, endpoint.terminating)
    assert actual == (ready or publish, serving, terminating)


def test_a_hostname_is_told_only_below_its_own_service() -> None:
    found = slices(
        "pods: [{name: a, labels: {app: x}, hostname: h, subdomain: s}]\n"
        "services: [{name: s, clusterIP: None, selector: {app: x}, ports: [{port: 80}]},"
        " {name: t, selector: {app: x}, ports: [{port: 80}]}]\n"
    )
    assert {item.service: item.endpoints[0].hostname for item in found} == {"s": "h", "t": ""}
    assert "service.kubernetes.io/headless" in found[0].labels


def test_explicit_slices_are_kept_and_know_the_pods_behind_them() -> None:
    (found,) = slices(
        "pods: [{name: a, node: node2}]\nservices: [{name: s, ports: [{port: 80}]}]\n"
        "endpointSlices: [{name: s-1, service: s, ports: [{port: 8080}, {name: all}], endpoints:"
        " [{addresses: [10.244.1.2]}, {addresses: [10.9.9.9], nodeName: far, zone: z,"
        " conditions: {ready: false}, hints: {forZones: [{name: z}]}}]}]\n"
    )
    ours, theirs = found.endpoints
    assert (ours.pod, ours.node_name, ours.ready) == ("default/a", "node2", None)
    assert (theirs.pod, theirs.node_name, theirs.zone, theirs.ready) == ("", "far", "z", False)
    assert theirs.hint_zones == ("z",)
    assert [port.port for port in found.ports] == [8080, None]
    assert found.labels == {"kubernetes.io/service-name": "s"}


# -- hints -----------------------------------------------------------------------------------------

ZONES = "nodes: [{name: n1, zone: a}, {name: n2, zone: b}]\n"


def hinted(service: str, placement: dict[str, int], *, nodes: str = ZONES) -> list[Endpoint]:
    pods = "".join(
        f"- {{name: {node}-p, node: {node}, replicas: {count}, labels: {{app: x}}}}\n"
        for node, count in placement.items()
    )
    ports = "ports: [{port: 80}]"
    body = f"pods:\n{pods}services: [{{name: s, selector: {{app: x}}, {ports}, {service}}}]\n"
    return [endpoint for item in slices(body, nodes=nodes) for endpoint in item.endpoints]


@pytest.mark.parametrize("value", ["PreferClose", "PreferSameZone"])
def test_prefer_close_hints_at_the_own_zone(value: str) -> None:
    found = hinted(f"trafficDistribution: {value}", {"n1": 1, "n2": 1})
    assert [(e.hint_zones, e.hint_nodes) for e in found] == [(("a",), ()), (("b",), ())]


def test_prefer_same_node_hints_at_node_and_zone() -> None:
    found = hinted("trafficDistribution: PreferSameNode", {"n1": 1, "n2": 1})
    assert [(e.hint_zones, e.hint_nodes) for e in found] == [
        (("a",), ("n1",)), (("b",), ("n2",)),
    ]  # fmt: skip


def test_without_zones_there_are_no_zone_hints() -> None:
    nodes = "nodes: [{name: n1}, {name: n2}]\n"
    found = hinted("trafficDistribution: PreferClose", {"n1": 1, "n2": 1}, nodes=nodes)
    assert [endpoint.hint_zones for endpoint in found] == [(), ()]


AUTO = "annotations: {service.kubernetes.io/topology-mode: Auto}"


def test_auto_gives_each_zone_its_share() -> None:
    """Four endpoints on one side of two equal zones: two are lent to the other."""
    found = hinted(AUTO, {"n1": 4, "n2": 0})
    assert sorted(endpoint.hint_zones for endpoint in found) == [("a",), ("a",), ("b",), ("b",)]


def test_auto_keeps_balanced_endpoints_in_their_zones() -> None:
    found = hinted(AUTO, {"n1": 2, "n2": 2})
    assert all(endpoint.hint_zones == (endpoint.zone,) for endpoint in found)


@pytest.mark.parametrize(
    ("placement", "nodes"),
    [
        ({"n1": 1}, ZONES),
        ({"n1": 2, "n2": 2}, "nodes: [{name: n1, zone: a}, {name: n2}]\n"),
        ({"n1": 2, "n2": 2}, "nodes: [{name: n1, zone: a}, {name: n2, zone: a}]\n"),
        # two of three endpoints' worth of nodes in one zone: the smallest share is too small
        ({"n1": 1, "n2": 1}, ZONES.replace("]", ", {name: n3, zone: b}]")),
    ],
)  # fmt: skip
def test_auto_gives_no_hints_where_they_would_overload(
    placement: dict[str, int], nodes: str
) -> None:
    found = hinted(AUTO, placement, nodes=nodes)
    assert [endpoint.hint_zones for endpoint in found] == [()] * sum(placement.values())


def test_control_plane_nodes_do_not_count() -> None:
    nodes = (
        "nodes: [{name: n1, zone: a}, {name: n2, zone: b},"
        " {name: cp, zone: b, labels: {node-role.kubernetes.io/control-plane: ''}}]\n"
    )
    found = hinted(AUTO, {"n1": 1, "n2": 1}, nodes=nodes)
    assert [endpoint.hint_zones for endpoint in found] == [("a",), ("b",)]


def test_the_annotation_wins_over_the_field_and_disabled_is_off() -> None:
    both = f"{AUTO}, trafficDistribution: PreferSameNode"
    assert all(not e.hint_nodes for e in hinted(both, {"n1": 1, "n2": 1}))
    off = "annotations: {service.kubernetes.io/topology-mode: Disabled}"
    assert all(not e.hint_zones for e in hinted(off, {"n1": 1, "n2": 1}))
