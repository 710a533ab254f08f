"""What verify expects of LoadBalancer addresses, by mode and policy; and that it can fail."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from kns.cluster.model import Cluster
from kns.kinds.networking import (
    EgressGateway,
    EgressOptions,
    IPVSOptions,
    LoadBalancerOptions,
    ProxyMode,
)
from kns.kinds.service import LoadBalancerIngress, SessionAffinity
from kns.probe.judge import judge
from kns.probe.model import Attempt
from kns.promise.check import Check, Cover, Expectation, Http
from kns.promise.checks import cluster_checks
from kns.promise.flow import Outcome
from tests.balanced import balanced
from tests.probe.scenes import service, with_service

PREFIX = "internet-to-service/load-balancer/"
PAIRS = (("a", ip_address("1.1.1.1")), ("a", ip_address("2.2.2.2")))


def found(cluster: Cluster, path: str = "internet-to-service") -> dict[str, Check]:
    """The checks of LoadBalancer addresses by `source->service`."""
    prefix = f"{path}/load-balancer/"
    return {
        f"{check.source.label}->{check.target.split('(')[1].rstrip(')')}": check
        for check in cluster_checks(cluster).checks
        if check.id.startswith(prefix)
    }


def want(cluster: Cluster, name: str, path: str = "internet-to-service") -> Expectation:
    (step,) = found(cluster, path)[name].steps
    assert isinstance(step.ask, Http)
    return step.expectation


def seen(cluster: Cluster, name: str, path: str = "internet-to-service") -> dict[str, set[str]]:
    addresses: dict[str, set[str]] = {}
    for backend, address in want(cluster, name, path).seen:
        addresses.setdefault(backend, set()).add(str(address))
    return addresses


def test_layer_2_enters_at_the_elected_node() -> None:
    """node1 has the lowest hash for 198.51.100.1, node2 for 198.51.100.3."""
    cluster = balanced("l2")
    assert seen(cluster, "internet->svc-cluster") == {
        "pod1": {"10.244.0.1"},
        "pod2": {"172.18.0.2"},
    }
    assert seen(cluster, "internet->svc-ranges") == {"pod1": {"172.18.0.3"}, "pod2": {"10.244.1.1"}}
    assert seen(cluster, "internet->svc-local") == {"pod1": {"203.0.113.10"}}


def test_bgp_enters_at_every_eligible_node_and_each_way_must_be_used() -> None:
    cluster = balanced("bgp")
    assert seen(cluster, "internet->svc-cluster") == {
        "pod1": {"10.244.0.1", "172.18.0.3", "172.18.0.4"},
        "pod2": {"172.18.0.2", "10.244.1.1", "172.18.0.4"},
    }
    assert want(cluster, "internet->svc-cluster").every_source
    assert seen(cluster, "internet->svc-local") == {
        "pod1": {"203.0.113.10"},
        "pod2": {"203.0.113.10"},
    }


def test_a_proxy_is_the_client_that_pods_see() -> None:
    cluster = balanced("proxy")
    assert seen(cluster, "internet->svc-cluster")["pod1"] == {
        "10.244.0.1",
        "172.18.0.3",
        "172.18.0.4",
    }
    assert seen(cluster, "internet->svc-local") == {
        "pod1": {"203.0.113.2"},
        "pod2": {"203.0.113.2"},
    }


@pytest.mark.parametrize(
    ("mode", "outcomes"),
    [
        ("l2", {Outcome.TIMEOUT}),
        ("bgp", {Outcome.TIMEOUT}),
        ("proxy", {Outcome.OTHER}),
    ],
)
def test_source_ranges_keep_the_other_host_out(mode: str, outcomes: set[Outcome]) -> None:
    checks = found(balanced(mode))
    assert [name for name in checks if name.startswith("stranger")] == ["stranger->svc-ranges"]
    assert set(want(balanced(mode), "stranger->svc-ranges").outcomes) == outcomes
    assert "leaves out 203.0.113.66" in checks["stranger->svc-ranges"].expected


@pytest.mark.parametrize(
    ("mode", "outcome"),
    [("l2", Outcome.UNREACHABLE), ("bgp", Outcome.UNREACHABLE), ("proxy", Outcome.OTHER)],
)
def test_nobody_answers_for_a_service_without_endpoints(mode: str, outcome: Outcome) -> None:
    promised = want(balanced(mode, backends=0), "internet->svc-local")
    assert outcome in promised.outcomes
    assert Outcome.CONNECTED not in promised.outcomes


def test_addresses_behind_a_proxy_are_no_short_cut_for_pods() -> None:
    cluster = balanced("proxy")
    assert found(balanced("l2"), "pod-to-service") == {}
    assert seen(cluster, "pod3->svc-local", "pod-to-service") == {
        "pod1": {"203.0.113.2"},
        "pod2": {"203.0.113.2"},
    }
    # the proxy sees the pod's node, which the source ranges leave out
    assert want(cluster, "pod3->svc-ranges", "pod-to-service").outcomes == (Outcome.OTHER,)


def test_a_pod_without_masquerade_does_not_hear_the_proxys_answer() -> None:
    cluster = balanced("proxy")
    network = replace(cluster.network, egress=EgressOptions(masquerade=False))
    promised = want(replace(cluster, network=network), "pod3->svc-local", "pod-to-service")
    assert promised.outcomes == (Outcome.TIMEOUT, Outcome.UNREACHABLE)


def test_affinity_is_kept_by_each_node_for_itself() -> None:
    affinity = SessionAffinity.CLIENT_IP
    covers = {
        mode: want(balanced(mode, session_affinity=affinity), "internet->svc-cluster").cover
        for mode in ("l2", "bgp", "proxy")
    }
    assert covers == {"l2": Cover.ONE, "bgp": Cover.SUBSET, "proxy": Cover.ONE}


def test_shares_are_not_even_where_nodes_have_different_numbers_of_pods() -> None:
    cluster = balanced("bgp")
    third = replace(cluster.pods[2], node="node1")
    pods = (*cluster.pods[:2], third)
    cluster = replace(cluster, pods=pods)
    uneven = with_service(cluster, service(cluster, "svc-local"), pods)
    assert not want(uneven, "internet->svc-local").is_even
    assert want(cluster, "internet->svc-local").is_even


def reasons(cluster: Cluster) -> list[str]:
    return [s.reason for s in cluster_checks(cluster).skips if s.what.startswith("internet to")]


def test_an_address_that_nothing_routes_is_left_out_with_the_reason() -> None:
    cluster = balanced()
    plain = replace(cluster, network=replace(cluster.network, load_balancer=None))
    assert reasons(plain)[0] == "nothing outside routes 198.51.100.1 to a node"
    points = (LoadBalancerIngress(ip_address("192.0.2.1")),)
    changed = replace(service(cluster, "svc-local"), load_balancer_ingress=points)
    other = with_service(cluster, changed, cluster.pods)
    assert reasons(other) == ["nothing outside routes 192.0.2.1 to a node"]


def test_what_layer_2_cannot_do_is_left_out_with_the_reason() -> None:
    cluster = balanced()
    for strict in (False, True):
        options = replace(
            cluster.network.kube_proxy, mode=ProxyMode.IPVS, ipvs=IPVSOptions(strict_arp=strict)
        )
        ipvs = replace(cluster, network=replace(cluster.network, kube_proxy=options))
        assert any("strictARP" in reason for reason in reasons(ipvs)) is not strict


def test_a_wide_pool_is_not_walked_through() -> None:
    cluster = balanced()
    options = LoadBalancerOptions("l2", (ip_network("198.51.0.0/16"),))
    wide = replace(cluster, network=replace(cluster.network, load_balancer=options))
    assert len(found(wide)) == 4


# -- the verdict -----------------------------------------------------------------------------------


def answer(backend: str, address: str) -> Attempt:
    return Attempt(Outcome.CONNECTED, backend=backend, client_address_seen=ip_address(address))


def test_an_address_that_is_not_among_the_choice_fails() -> None:
    promised = Expectation(backends=("a",), seen=PAIRS)
    assert judge(promised, (answer("a", "1.1.1.1"), answer("a", "2.2.2.2"))).ok
    verdict = judge(promised, (answer("a", "3.3.3.3"),))
    assert (verdict.ok, verdict.actual) == (False, "a saw 3.3.3.3 instead of 1.1.1.1 or 2.2.2.2")


def test_a_way_in_that_nobody_took_fails_where_each_must_be_used() -> None:
    promised = Expectation(backends=("a",), seen=PAIRS, every_source=True)
    verdict = judge(promised, (answer("a", "1.1.1.1"),))
    assert (verdict.ok, verdict.actual) == (False, "a never saw 2.2.2.2: that way in is not used")


# -- egress ----------------------------------------------------------------------------------------


def egress(cluster: Cluster, options: EgressOptions) -> dict[str, Check]:
    changed = replace(cluster, network=replace(cluster.network, egress=options))
    return {
        check.id.removeprefix("pod-to-internet/egress/"): check
        for check in cluster_checks(changed).checks
        if check.path == "pod-to-internet"
    }


def test_a_pod_behind_a_gateway_arrives_with_the_gateways_address() -> None:
    everywhere = (ip_network("0.0.0.0/0"),)
    gateway = EgressGateway("node3", selector={"app": "a"}, destination_cidrs=everywhere)
    for masquerade in (True, False):
        checks = egress(balanced(), EgressOptions(masquerade, gateways=(gateway,)))
        for pod in ("pod1", "pod2", "pod3"):
            (step,) = checks[f"{pod}->internet"].steps
            assert step.expectation.seen == (("internet", ip_address("172.18.0.4")),)


def test_what_a_gateway_excludes_leaves_as_without_it() -> None:
    gateway = EgressGateway(
        "node3",
        destination_cidrs=(ip_network("203.0.113.0/24"),),
        excluded_cidrs=(ip_network("203.0.113.64/26"),),
    )
    checks = egress(balanced(), EgressOptions(gateways=(gateway,)))
    (step,) = checks["pod1->stranger"].steps
    assert step.expectation.seen == (("stranger", ip_address("172.18.0.2")),)


def test_non_masquerade_cidrs_let_a_pods_own_address_out() -> None:
    cidrs = (ip_network("10.244.0.0/16"), ip_network("203.0.113.64/26"))
    checks = egress(balanced(), EgressOptions(non_masquerade_cidrs=cidrs))
    assert checks["pod1->stranger"].expected.startswith("no answer: 10.244.0.2 leaves untranslated")
    assert checks["pod1->internet"].expected.startswith("answers, and sees 172.18.0.2")


def test_a_host_without_a_server_is_pinged() -> None:
    cluster = balanced()
    quiet = replace(cluster.internet[0], port=0)
    checks = egress(replace(cluster, internet=(quiet,)), EgressOptions())
    assert checks["pod1->internet"].expected == "answers ping to 172.18.0.2, node1's: masqueraded"
