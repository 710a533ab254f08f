"""Names that nft refuses as comments: where it happens, and what becomes of every flow."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.compile.proxy.nftables import nft_tables
from kns.kinds.networking import ProxyMode
from kns.kinds.release import Release
from kns.kinds.service import LoadBalancerIngress, Service, ServiceType, TrafficPolicy
from kns.promise.checks import cluster_checks
from kns.promise.flow import NO_WAY, REFUSED, Flow, Stage
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise
from kns.promise.refused_rules import refused_comment
from tests.probe.scenes import four_paths, pod, service, with_service
from tests.promise.test_expectations import with_options

EVERY_RELEASE = pytest.mark.parametrize("release", list(Release), ids=str)
OUTER = ip_address("198.51.100.9")
LOCAL = TrafficPolicy.LOCAL
#: fields of a Service that has one endpoint, on node2
SITUATIONS: dict[str, dict[str, object]] = {
    "served": {},
    "inside, Local": {"internal_traffic_policy": LOCAL},
    "outside, Local": {"external_ips": (OUTER,), "external_traffic_policy": LOCAL},
    "Local, but nothing outside": {"external_traffic_policy": LOCAL},
    "source ranges": {
        "type": ServiceType.LOAD_BALANCER,
        "load_balancer_ingress": (LoadBalancerIngress(OUTER),),
        "load_balancer_source_ranges": ("203.0.113.0/24",),
    },
    "source ranges and a proxy": {
        "type": ServiceType.LOAD_BALANCER,
        "load_balancer_ingress": (LoadBalancerIngress(OUTER, ip_mode="Proxy"),),
        "load_balancer_source_ranges": ("203.0.113.0/24",),
    },
}


def long_named(item: Service, **fields: object) -> Service:
    ports = tuple(replace(port, name="http") for port in item.ports)
    return replace(item, namespace="n" * 63, name="s" * 63, ports=ports, **fields)  # type: ignore[arg-type]


def scene(release: Release, fields: dict[str, object]) -> Cluster:
    """The four paths, and a Service of a long name whose one endpoint is on node2."""
    cluster = with_options(four_paths(ProxyMode.NFTABLES), version=release)
    item = long_named(service(cluster, "svc-empty"), **fields)
    return with_service(cluster, item, (pod(cluster, "pod2"),))


def empty(release: Release, mode: ProxyMode = ProxyMode.NFTABLES) -> Cluster:
    cluster = with_options(four_paths(mode), version=release)
    others = tuple(item for item in cluster.services if item.name != "svc-empty")
    return replace(cluster, services=(*others, long_named(service(cluster, "svc-empty"))))


@EVERY_RELEASE
@pytest.mark.parametrize("fields", SITUATIONS.values(), ids=SITUATIONS)
def test_it_is_told_where_no_table_is_written(release: Release, fields: dict[str, object]) -> None:
    for cluster in (scene(release, fields), empty(release)):
        lookup = Lookup(cluster)
        for node in cluster.nodes:
            for family in cluster.network.families:
                tables = nft_tables(
                    cluster.services,
                    cluster.endpoint_slices,
                    node,
                    cluster.network.kube_proxy,
                    family,
                )
                assert bool(refused_comment(lookup, node, family)) is (not tables)


def test_situations_differ_by_node_and_release() -> None:
    def told(release: Release, name: str) -> list[bool]:
        cluster = scene(release, SITUATIONS[name])
        lookup = Lookup(cluster)
        return [bool(refused_comment(lookup, n, IPFamily.IPV4)) for n in cluster.nodes]

    assert told(Release.V1_36, "served") == [False, False]
    assert told(Release.V1_36, "inside, Local") == [True, False]
    assert told(Release.V1_37, "inside, Local") == [False, False]
    assert told(Release.V1_30, "source ranges") == [True, True]
    assert told(Release.V1_31, "source ranges") == [False, False]


def test_no_flow_to_any_service_is_translated() -> None:
    cluster = empty(Release.V1_36)
    lookup, client, node = Lookup(cluster), pod(cluster, "pod1"), cluster.nodes[0]
    served = service(cluster, "svc-a").cluster_ips[0]
    for port in (80, 81, None):
        stop = promise(lookup, Flow(Location(client), served, port)).stop
        assert stop is not None
        assert (stop.stage, stop.outcomes) == (Stage.RULES, NO_WAY)
        assert "nft refuses every rule of kube-proxy 1.36" in stop.reason
    number = next(p.node_port for s in cluster.services for p in s.ports if p.node_port)
    sources = (Location(client), Location(node), Location(cluster.internet[0]))
    for source in sources:
        stop = promise(lookup, Flow(source, node.addresses[0], number)).stop
        assert stop is not None
        # it arrives at the node, where nothing listens
        assert (stop.stage, stop.outcomes) == (Stage.RULES, REFUSED)
    direct = promise(lookup, Flow(Location(client), pod(cluster, "pod2").addresses[0], 8080))
    assert direct.stop is None


def test_other_modes_and_releases_write_their_rules() -> None:
    for cluster in (empty(Release.V1_37), empty(Release.V1_30, ProxyMode.IPTABLES)):
        served = service(cluster, "svc-a").cluster_ips[0]
        found = promise(Lookup(cluster), Flow(Location(pod(cluster, "pod1")), served, 80))
        assert found.stop is None


def test_checks_expect_no_answer_and_say_why() -> None:
    found = cluster_checks(empty(Release.V1_36)).checks
    told = [check.expected for check in found if check.kind == "cluster-ip"]
    assert told
    assert all(text.startswith("no answer: nft refuses every rule") for text in told)
