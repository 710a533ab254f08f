"""Endpoints objects and the EndpointSlices that they are mirrored to."""

from __future__ import annotations

import pytest

from kns.cluster.resolve import resolve
from kns.kinds.endpointslice import MIRRORING_CONTROLLER, EndpointSlice
from kns.kinds.load import load_lab_text
from tests.kinds.labs import HEAD, NODES, problems

SERVICE = "---\napiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {ports: [{port: 80}]}\n"
SUBSETS = "subsets: [{addresses: [{ip: 203.0.113.10}], ports: [{port: 80}]}]\n"


def endpoints(subsets: str = SUBSETS, *, name: str = "db", metadata: str = "") -> str:
    head = f"---\napiVersion: v1\nkind: Endpoints\nmetadata: {{name: {name}{metadata}}}\n"
    return head + subsets


def slices(manifests: str) -> list[EndpointSlice]:
    """The slices of default/db."""
    cluster = resolve(load_lab_text(f"{HEAD}{NODES}{manifests}").spec).cluster
    return [item for item in cluster.endpoint_slices if item.service == "db"]


def warnings(manifests: str) -> list[str]:
    found = load_lab_text(f"{HEAD}{NODES}{manifests}").warnings
    return [f"{problem.path}: {problem.message}" for problem in found]


def test_endpoints_of_a_service_without_selector_are_mirrored() -> None:
    manifests = SERVICE + endpoints(metadata=", labels: {tier: back}")
    (item,) = slices(manifests)
    assert warnings(manifests) == []
    assert [str(e.addresses[0]) for e in item.endpoints] == ["203.0.113.10"]
    assert [(port.name, port.port) for port in item.ports] == [("", 80)]
    assert dict(item.labels) == {
        "tier": "back",
        "kubernetes.io/service-name": "db",
        "endpointslice.kubernetes.io/managed-by": MIRRORING_CONTROLLER,
    }
    assert item.name.startswith("db-")


def test_subsets_of_the_same_ports_are_one_slice_a_family() -> None:
    found = slices(
        SERVICE
        + endpoints(
            "subsets:\n"
            '- {addresses: [{ip: 203.0.113.10}, {ip: "2001:db8::1"}], ports: [{port: 80}]}\n'
            "- {addresses: [{ip: 203.0.113.12}], notReadyAddresses: [{ip: 203.0.113.10}, "
            "{ip: 203.0.113.11}], ports: [{port: 80}]}\n"
            "- {addresses: [{ip: 203.0.113.13}], ports: [{port: 81}]}\n"
        )
    )
    content = {
        (str(item.address_type), item.ports[0].port): [
            (str(endpoint.addresses[0]), endpoint.ready) for endpoint in item.endpoints
        ]
        for item in found
    }
    assert content == {
        ("IPv4", 80): [
            ("203.0.113.10", False),
            ("203.0.113.12", True),
            ("203.0.113.11", False),
        ],
        ("IPv6", 80): [("2001:db8::1", True)],
        ("IPv4", 81): [("203.0.113.13", True)],
    }


def test_a_thousand_addresses_of_a_subset_are_mirrored() -> None:
    items = ", ".join(f"{{ip: 10.1.{n // 250}.{n % 250 + 1}}}" for n in range(1001))
    manifests = SERVICE + endpoints(f"subsets: [{{addresses: [{items}], ports: [{{port: 80}}]}}]\n")
    assert [len(item.endpoints) for item in slices(manifests)] == [1000]
    told = "subsets[0]: 1001 addresses: 1000 of a subset are mirrored, no more"
    assert told in warnings(manifests)


SELECTED = "has no effect: the Service has a selector, so that its endpoints are pods"
LOCK = ", annotations: {control-plane.alpha.kubernetes.io/leader: x}"


@pytest.mark.parametrize(
    ("service", "written", "warning"),
    [
        (SERVICE.replace("ports:", "selector: {a: b}, ports:"), endpoints(),
         f"metadata.name: {SELECTED}"),
        (SERVICE, endpoints(name="bd"), "metadata.name: there is no Service default/bd"),
        (SERVICE, endpoints(metadata=', labels: {endpointslice.kubernetes.io/skip-mirror: "true"}'),
         "metadata.name: has no effect: its label says that it is not mirrored to EndpointSlices"),
        (SERVICE, endpoints(metadata=LOCK),
         "metadata.name: the Service has no selector and no EndpointSlice: nothing is behind it"),
        (SERVICE.replace("{port: 80}", "{name: http, port: 80}"), endpoints(),
         'subsets[0].ports[0].name: Endpoints db has the port name "" (TCP), Service db has '
         '"http" (TCP): they must be equal'),
    ],
)  # fmt: skip
def test_what_comes_of_nothing_is_told(service: str, written: str, warning: str) -> None:
    assert warning in warnings(service + written)
    if "ports[0]" not in warning:
        assert not [e for item in slices(service + written) for e in item.endpoints]


def test_a_dump_has_what_the_controllers_wrote() -> None:
    """`kubectl get svc,endpoints,endpointslices -o yaml`: nothing is made of it twice."""
    trigger = "endpoints.kubernetes.io/last-change-trigger-time"
    selected = SERVICE.replace("db", "web").replace("ports:", "selector: {a: b}, ports:")
    mirrored = (
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: db-abcde, "
        "labels: {kubernetes.io/service-name: db, endpointslice.kubernetes.io/managed-by: "
        f"{MIRRORING_CONTROLLER}}}}}\naddressType: IPv4\nports: [{{name: '', port: 80}}]\n"
        "endpoints: [{addresses: [203.0.113.10]}]\n"
    )
    theirs = endpoints(name="web", metadata=f", annotations: {{{trigger}: x}}")
    manifests = SERVICE + selected + theirs + endpoints() + mirrored
    assert [item.name for item in slices(manifests)] == ["db-abcde"]
    assert not [text for text in warnings(manifests) if "has no effect" in text]


@pytest.mark.parametrize(
    ("subsets", "expected"),
    [
        ("subsets: [{ports: [{port: 80}]}]",
         "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
        ("subsets: [{addresses: [{ip: 127.0.0.1}]}]",
         'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback '
         "range (127.0.0.0/8, ::1/128)"),
        ("subsets: [{addresses: [{ip: 10.1.1.1}], notReadyAddresses: [{ip: 0.0.0.0}]}]",
         'subsets[0].notReadyAddresses[0].ip: Invalid value: "0.0.0.0": may not be unspecified '
         "(0.0.0.0 or ::)"),
        ("subsets: [{addresses: [{ip: 10.1.1.1}], ports: [{port: 1}, {port: 2, name: a}]}]",
         "subsets[0].ports[0].name: Required value"),
        ("subsets: [{addresses: [{ip: 10.1.1.1}], ports: [{port: 0}]}]",
         "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
    ],
)  # fmt: skip
def test_what_the_api_server_refuses(subsets: str, expected: str) -> None:
    assert problems(SERVICE + endpoints(f"{subsets}\n")) == [expected]
