"""A change compiles what has changed: one Service's rules, the pods that are new."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.cluster.model import Cluster
from kns.compile.lab import compile_host, recompile_host
from kns.compile.listeners import ListenerCompiler, listeners
from kns.compile.pods import compile_pod
from kns.compile.proxy import iptables, nftables
from kns.kinds.networking import ProxyMode
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from kns.state.model import Netns
from tests.clusters import make_cluster, make_network

MODULES = {ProxyMode.NFTABLES: nftables, ProxyMode.IPTABLES: iptables}


def two_services(mode: ProxyMode) -> Cluster:
    cluster = make_cluster(network=make_network(mode=mode))
    first, own = cluster.services[0], cluster.endpoint_slices[0]
    second = replace(first, name="svc-b", cluster_ips=(ip_address("10.96.3.3"),))
    return replace(
        cluster,
        services=(first, second),
        endpoint_slices=(own, replace(own, name="svc-b", service="svc-b")),
    )


def with_fewer_endpoints(cluster: Cluster) -> Cluster:
    """The second Service loses an endpoint."""
    first, second = cluster.endpoint_slices
    return replace(
        cluster, endpoint_slices=(first, replace(second, endpoints=second.endpoints[1:]))
    )


@pytest.mark.parametrize("mode", ProxyMode)
def test_what_is_compiled_after_another_cluster_is_what_is_compiled_anew(mode: ProxyMode) -> None:
    cluster = two_services(mode)
    before = recompile_host(cluster, None)
    fewer = with_fewer_endpoints(cluster)
    later = [
        cluster,
        fewer,
        replace(cluster, services=cluster.services[1:]),
        replace(cluster, pods=cluster.pods[1:]),
        replace(cluster, nodes=cluster.nodes[:1], pods=cluster.pods[::2]),
        replace(cluster, network=make_network(mode=ProxyMode.NFTABLES)),
        replace(cluster, network=make_network(mode=ProxyMode.IPTABLES)),
    ]
    for after in later:
        made = recompile_host(after, before)
        assert made.host == compile_host(after)
        assert recompile_host(cluster, made).host == before.host


@pytest.mark.parametrize("mode", MODULES)
def test_rules_of_a_service_that_is_as_it_was_are_taken_over(
    mode: ProxyMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = two_services(mode)
    before = recompile_host(cluster, None)
    seen: Counter[tuple[str, str]] = Counter()
    original = MODULES[mode].ports_of_service

    def counted(service: Service, slices: object, node: Node, *rest: object) -> object:
        seen[service.name, node.name] += 1
        return original(service, slices, node, *rest)

    monkeypatch.setattr(MODULES[mode], "ports_of_service", counted)
    recompile_host(with_fewer_endpoints(cluster), before)
    # once for each family
    assert seen == {("svc-b", node.name): 2 for node in cluster.nodes}


def test_pods_that_are_as_they_were_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make_cluster()
    before = recompile_host(cluster, None)
    made: list[str] = []

    def counted(cluster: Cluster, pod: Pod, node: Node) -> Netns:
        made.append(pod.name)
        return compile_pod(cluster, pod, node)

    monkeypatch.setattr("kns.compile.lab.compile_pod", counted)
    first, *others = cluster.pods
    new = replace(first, name="new", addresses=(ip_address("10.244.0.9"),))
    recompile_host(replace(cluster, pods=(*others, new)), before)
    assert made == ["new"]


@pytest.mark.parametrize("mode", ProxyMode)
def test_rules_stay_where_no_service_has_changed(mode: ProxyMode) -> None:
    cluster = two_services(mode)
    before = recompile_host(cluster, None)
    after = recompile_host(replace(cluster, pods=cluster.pods[1:]), before)
    assert all(after.rules[node.name] is before.rules[node.name] for node in cluster.nodes)


def test_a_pod_that_is_the_same_listens_by_the_same_sockets() -> None:
    cluster, compiler = make_cluster(), ListenerCompiler()
    before = compiler.of(cluster)
    first, *others = cluster.pods
    later = replace(cluster, pods=(*others, replace(first, labels={"app": "other"}, ready=False)))
    after = compiler.of(later)
    assert after == listeners(later)
    names = {pod.name for pod in others}
    known = {id(item) for item in before}
    kept = [item for item in after if getattr(item.subject, "pod", "") in names]
    assert kept
    assert all(id(item) in known for item in kept)
    other_lab = replace(cluster, name="other")
    assert compiler.of(other_lab) == listeners(other_lab)
