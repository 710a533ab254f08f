"""What a probe says when the outside and the cluster do not reach each other."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from kns.cluster.model import Cluster
from kns.kinds.networking import EgressGateway, EgressOptions
from kns.probe.addresses import owners
from kns.probe.diagnose import explain
from kns.probe.model import Attempt
from kns.probe.target import parse_target
from kns.promise.flow import Outcome
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from tests.balanced import balanced
from tests.probe.scenes import at_pod


def said(cluster: Cluster, target: str, outcome: Outcome, *, host: str = "internet") -> str:
    (item,) = (entry for entry in cluster.internet if entry.name == host)
    source = Location(item)
    return explain(
        Lookup(cluster), source, parse_target(cluster, source, target), (Attempt(outcome),)
    )


@pytest.mark.parametrize(
    ("mode", "outcome", "words"),
    [
        ("l2", Outcome.TIMEOUT, "dropped"),
        ("bgp", Outcome.TIMEOUT, "dropped"),
        ("proxy", Outcome.OTHER, "the proxy closes the connection"),
    ],
)
def test_source_ranges_are_named(mode: str, outcome: Outcome, words: str) -> None:
    text = said(balanced(mode), "svc-ranges", outcome, host="stranger")
    why = f"loadBalancerSourceRanges of svc-ranges leaves out 203.0.113.66: {words}"
    assert text == f"as it must be: {why}"


@pytest.mark.parametrize(
    ("mode", "outcome", "words"),
    [
        ("l2", Outcome.TIMEOUT, "the node that answers ARP for 198.51.100.1"),
        ("bgp", Outcome.UNREACHABLE, "no node announces it"),
        ("bgp", Outcome.TIMEOUT, "a node that announces it does not pass it on"),
        ("proxy", Outcome.OTHER, "no node that passes its health check (10256/healthz)"),
    ],
)
def test_each_mode_has_its_own_places_to_look_at(mode: str, outcome: Outcome, words: str) -> None:
    assert words in said(balanced(mode), "svc-cluster", outcome)


def test_a_service_without_endpoints_comes_first() -> None:
    text = said(balanced(backends=0), "svc-cluster", Outcome.TIMEOUT)
    assert text.startswith("as it must be: svc-cluster has no ready endpoint, so no node answers")
    assert text.endswith("(kns get endpoints)")


def test_a_cluster_ip_means_nothing_outside() -> None:
    assert "a cluster IP means nothing" in said(balanced(), "10.96.7.1:80", Outcome.UNREACHABLE)


def test_an_address_that_nothing_routes() -> None:
    cluster = balanced()
    plain = replace(cluster, network=replace(cluster.network, load_balancer=None))
    text = said(plain, "svc-cluster", Outcome.UNREACHABLE)
    assert text.startswith("as it must be: nothing outside routes 198.51.100.1 to a node")


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.UNREACHABLE])
def test_an_address_of_the_pool_that_no_service_has(outcome: Outcome) -> None:
    text = said(balanced(), "198.51.100.77:80", outcome)
    words = "198.51.100.77 is of the load balancer's pool, and no service has it"
    assert text.startswith(f"as it must be: {words}")


def test_addresses_of_the_router_and_the_proxy_have_names() -> None:
    known = owners(balanced("proxy"))
    names = [
        known[ip_address(a)] for a in ("172.18.0.1", "203.0.113.1", "203.0.113.2", "198.51.100.2")
    ]
    assert names == ["router", "router", "cloud-lb", "svc/svc-local"]
    assert ip_address("203.0.113.2") not in owners(balanced("l2"))


# -- leaving ---------------------------------------------------------------------------------------


def lost(options: EgressOptions) -> str:
    cluster = balanced()
    cluster = replace(cluster, network=replace(cluster.network, egress=options))
    source = at_pod(cluster, "pod1")
    target = parse_target(cluster, source, "internet")
    return explain(Lookup(cluster), source, target, (Attempt(Outcome.TIMEOUT),))


def test_a_pod_behind_a_gateway_is_told_of_it() -> None:
    gateway = EgressGateway("node3", destination_cidrs=(ip_network("0.0.0.0/0"),))
    text = lost(EgressOptions(gateways=(gateway,)))
    assert text.startswith("pod1 leaves by the egress gateway node3: is its eth0 up")


def test_destinations_that_are_not_masqueraded() -> None:
    cidrs = (ip_network("10.244.0.0/16"), ip_network("203.0.113.0/24"))
    text = lost(EgressOptions(non_masquerade_cidrs=cidrs))
    assert text.startswith("as it must be: 203.0.113.10 is among egress.nonMasqueradeCIDRs")
    assert lost(EgressOptions(masquerade=False)).startswith("as it must be: egress.masquerade is")
    assert lost(EgressOptions()).startswith("no answer from outside")
