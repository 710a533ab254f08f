"""SRC and DST: names, ports, addresses, DNS names, URLs, and which path they make."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kns.cluster.model import Cluster
from kns.errors import UsageError
from kns.kinds.common import Protocol
from kns.kinds.service import Service, ServicePort
from kns.probe.addresses import split_port
from kns.probe.target import TargetOptions, parse_source, parse_target, path_of
from kns.promise.location import LocationKind
from tests.probe.scenes import at_internet, at_node, at_pod, four_paths, pod, with_service


@pytest.fixture
def cluster() -> Cluster:
    return four_paths()


@pytest.mark.parametrize(
    ("source", "target", "path", "address", "port"),
    [
        ("pod1", "pod3", "pod-to-pod", "10.244.0.3", 8080),
        ("pod1", "pod/pod2", "pod-to-pod", "10.244.1.2", 8080),
        ("pod1", "default/pod2", "pod-to-pod", "10.244.1.2", 8080),
        ("pod1", "pod1:sidecar-port", "container-to-container", "127.0.0.1", 9090),
        ("pod1", "pod1:sidecar", "container-to-container", "127.0.0.1", 9090),
        ("pod1", "pod1", "container-to-container", "127.0.0.1", 8080),
        ("pod1", "localhost:9090", "container-to-container", "127.0.0.1", 9090),
        ("pod1", "svc-a", "pod-to-service", "10.96.3.232", 80),
        ("pod1", "svc/svc-a:80", "pod-to-service", "10.96.3.232", 80),
        ("pod1", "svc-a:81", "pod-to-service", "10.96.3.232", 81),
        ("node1", "svc-a", "node-to-service", "10.96.3.232", 80),
        ("node1", "pod1", "node-to-pod", "10.244.0.2", 8080),
        ("node1", "node2", "node-to-node", "172.18.0.3", None),
        ("pod1", "node2", "pod-to-node", "172.18.0.3", None),
        ("pod1", "node1:30080", "pod-to-service", "172.18.0.2", 30080),
        ("internet", "node1:30080", "internet-to-service", "172.18.0.2", 30080),
        ("internet", "node1:30081", "internet-to-node", "172.18.0.2", 30081),
        ("internet", "pod1", "internet-to-pod", "10.244.0.2", 8080),
        ("internet", "svc-a", "internet-to-service", "10.96.3.232", 80),
        ("node1", "127.0.0.1:30080", "node-to-service", "127.0.0.1", 30080),
        ("pod1", "internet", "pod-to-internet", "203.0.113.10", 80),
        ("pod1", "203.0.113.10", "pod-to-internet", "203.0.113.10", 80),
        ("pod1", "203.0.113.77:443", "pod-to-internet", "203.0.113.77", 443),
        ("pod1", "10.244.1.2", "pod-to-pod", "10.244.1.2", 8080),
        ("pod1", "10.244.0.2:8080", "container-to-container", "10.244.0.2", 8080),
        ("pod1", "10.96.3.232:80", "pod-to-service", "10.96.3.232", 80),
        ("pod1", "10.96.77.77:80", "pod-to-service", "10.96.77.77", 80),
        ("pod1", "10.244.9.9", "pod-to-pod", "10.244.9.9", None),
        ("pod1", "www.example.com", "pod-to-internet", "", 80),
        ("pod1", "svc-a.default.svc.cluster.local", "pod-to-service", "", 80),
        ("pod1", "svc-a.default", "pod-to-service", "", 80),
        ("internet", "http://shop.example.com/cart", "internet-to-internet", "", 80),
        ("pod1", "https://svc-a/x", "pod-to-service", "10.96.3.232", 443),
        ("pod1", "http://pod2:8080/hostname", "pod-to-pod", "10.244.1.2", 8080),
    ],
)
def test_target(
    cluster: Cluster, source: str, target: str, path: str, address: str, port: int | None
) -> None:
    start = parse_source(cluster, source)
    goal = parse_target(cluster, start, target)
    shown = "" if goal.address is None else str(goal.address)
    assert (path_of(start, goal), shown, goal.port) == (path, address, port)


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("podd1", "there is no pod, service, node or internet host 'podd1'", "mean pod1?"),
        ("svc-emty", "there is no pod, service, node", "did you mean svc-empty?"),
        ("svc-emty.default", "no service 'svc-emty' in namespace default", "svc-empty.default?"),
        ("svc-emty.default.svc", "no service 'svc-emty' in namespace default", "svc-empty.default"),
        (
            "qqq.default:80",
            "no service 'qqq' in namespace default",
            "services there: ",
        ),
        ("node/node22", "there is no pod, service", "did you mean node2?"),
        ("pod1:webb", "pod pod1 has no TCP port 'webb'", "it has http, web, sidecar-port, sidecar"),
        ("svc-a:http", "service svc-a has no TCP port 'http'", "it has 80/TCP"),
        ("node1:http", "node node1 has no named ports", "node1:30080"),
        ("pod1:70000", "'70000' is not a port", "1 to 65535"),
        ("pod1:", "a name and a port are needed", ""),
        ("ftp://pod1/", "only http:// and https://", ""),
        ("http://pod1:x/", "is not a URL", ""),
    ],
)
def test_target_that_means_nothing(cluster: Cluster, target: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(cluster, at_pod(cluster, "pod1"), target)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_target_that_fits_two_kinds_is_ambiguous(cluster: Cluster) -> None:
    twin = Service(
        "default", "pod2", cluster_ips=(ip_address("10.96.9.9"),), ports=(ServicePort(80),)
    )
    cluster = with_service(cluster, twin, ())
    with pytest.raises(UsageError) as caught:
        parse_target(cluster, at_pod(cluster, "pod1"), "pod2")
    assert caught.value.message == "'pod2' is ambiguous: pod and service have that name"
    assert caught.value.hint == "write pod/pod2 or svc/pod2"
    assert parse_target(cluster, at_pod(cluster, "pod1"), "svc/pod2").kind is LocationKind.SERVICE


def test_name_in_another_namespace_is_suggested(cluster: Cluster) -> None:
    other = replace(pod(cluster, "pod4"), namespace="shop", name="cart")
    cluster = replace(cluster, pods=(*cluster.pods[:3], other))
    with pytest.raises(UsageError) as caught:
        parse_target(cluster, at_pod(cluster, "pod1"), "cart")
    assert caught.value.hint == "did you mean shop/cart?"
    assert parse_target(cluster, at_pod(cluster, "pod1"), "shop/cart").label == "shop/cart"


def test_port_option_names_a_port(cluster: Cluster) -> None:
    goal = parse_target(cluster, at_pod(cluster, "pod2"), "pod1", TargetOptions("sidecar-port"))
    assert (str(goal.address), goal.port) == ("10.244.0.2", 9090)


def test_port_named_twice_is_refused(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match="names port 8080, and --port says 9090"):
        parse_target(cluster, at_pod(cluster, "pod2"), "pod1:8080", TargetOptions("9090"))


def test_protocol_chooses_the_port(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match="service svc-a has no UDP port"):
        parse_target(
            cluster, at_pod(cluster, "pod1"), "svc-a", TargetOptions(protocol=Protocol.UDP)
        )


@pytest.mark.parametrize("verb", ["probe", "trace", "dns"])
def test_the_hint_for_a_service_as_source_works(cluster: Cluster, verb: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(cluster, "svc-a", verb)
    program, told, source, target = caught.value.hint.split()
    assert (program, told) == ("kns", verb)
    assert parse_target(cluster, parse_source(cluster, source), target).kind is LocationKind.SERVICE


def test_source_that_is_a_service(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match="'svc-a' is a service; a probe starts at a pod"):
        parse_source(cluster, "svc-a")


def test_services_are_reached_by_name_where_pods_have_dns(cluster: Cluster) -> None:
    dns = Service(
        "kube-system", "kube-dns", cluster_ips=(ip_address("10.96.0.10"),), ports=(ServicePort(53),)
    )
    cluster = with_service(cluster, dns, ())
    from_pod = parse_target(cluster, at_pod(cluster, "pod1"), "svc-a")
    from_node = parse_target(cluster, at_node(cluster, "node1"), "svc-a")
    elsewhere = parse_target(cluster, at_pod(cluster, "pod1"), "kube-system/kube-dns")
    assert (from_pod.host, from_node.host) == ("svc-a", "10.96.3.232")
    assert elsewhere.host == "kube-dns.kube-system"


def test_headless_service_without_dns(cluster: Cluster) -> None:
    cluster = with_service(cluster, Service("default", "db", ports=(ServicePort(80),)), ())
    with pytest.raises(UsageError, match="service db is headless"):
        parse_target(cluster, at_internet(cluster), "db")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("pod1", "pod1", ""),
        ("ns/pod1:http", "ns/pod1", "http"),
        ("fd00::1", "fd00::1", ""),
        ("[fd00::1]:80", "fd00::1", "80"),
        ("[fd00::1]", "fd00::1", ""),
        ("10.0.0.1:80", "10.0.0.1", "80"),
    ],
)
def test_split_port(text: str, host: str, port: str) -> None:
    assert split_port(text) == (host, port)


@given(st.text(max_size=40) | st.from_regex(r"(pod1|svc-a|http://|10\.|\[|fd00::|:|/|\]){1,6}"))
def test_any_text_is_a_target_or_a_usage_error(text: str) -> None:
    cluster = four_paths()
    for source in (at_pod(cluster, "pod1"), at_internet(cluster)):
        with contextlib.suppress(UsageError):
            path = path_of(source, parse_target(cluster, source, text))
            assert path.startswith(f"{source.kind}-to-") or path == "container-to-container"
