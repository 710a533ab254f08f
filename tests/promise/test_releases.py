"""What is promised by mode and release: rows of `facts`, each seen in a flow."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.experiment.migrate.world import with_bridge_addresses
from kns.kinds.internet import InternetHost
from kns.kinds.networking import DetectLocalMode, FeatureGates, ProxyMode
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.release import Release
from kns.kinds.service import TrafficPolicy
from kns.promise.facts import hint_use
from kns.promise.flow import DROPPED, NO_WAY, REFUSED, Flow
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise
from tests.probe.scenes import four_paths, pod, service, with_service
from tests.promise.test_expectations import changed, with_options

EVERY_RELEASE = pytest.mark.parametrize("release", list(Release), ids=str)
EXTERNAL = ip_address("198.51.100.9")


def scene(mode: ProxyMode, release: Release) -> Cluster:
    return with_options(four_paths(mode), version=release)


def outcomes(cluster: Cluster, source: str, address: str, port: int = 80) -> tuple[str, ...]:
    ends: tuple[Pod | Node | InternetHost, ...]
    ends = (*cluster.pods, *cluster.nodes, *cluster.internet)
    end = next(item for item in ends if item.name == source)
    found = promise(Lookup(cluster), Flow(Location(end), ip_address(address), port))
    return tuple(found.outcomes) if found.stop is not None else ("CONNECTED",)


@EVERY_RELEASE
def test_the_node_itself_is_served_at_an_external_ip_since_1_34(release: Release) -> None:
    """Policy Local and no endpoint on node1: nftables mode used to look before it translated."""
    for mode in (ProxyMode.IPTABLES, ProxyMode.NFTABLES):
        cluster = changed(
            scene(mode, release),
            "svc-a",
            external_ips=(EXTERNAL,),
            external_traffic_policy=TrafficPolicy.LOCAL,
        )
        cluster = with_service(cluster, service(cluster, "svc-a"), (pod(cluster, "pod2"),))
        dropped = mode is ProxyMode.NFTABLES and release < Release.V1_34
        expected = DROPPED if dropped else ("CONNECTED",)
        assert outcomes(cluster, "node1", str(EXTERNAL)) == expected


@EVERY_RELEASE
def test_unallocated_cluster_ips_are_dropped_in_nftables_mode_since_1_33(release: Release) -> None:
    for mode in ProxyMode:
        cluster = scene(mode, release)
        nobodys = str(cluster.network.service_cidrs[0].network_address + 4000)
        drops = mode is ProxyMode.NFTABLES and release >= Release.V1_33
        for source in ("pod1", "node1"):
            assert outcomes(cluster, source, nobodys) == (DROPPED if drops else NO_WAY)
        # from outside there is no way in at all
        assert outcomes(cluster, cluster.internet[0].name, nobodys) == NO_WAY


@EVERY_RELEASE
def test_node_ports_of_nftables_mode_are_on_the_primary_address(release: Release) -> None:
    for mode in (ProxyMode.IPTABLES, ProxyMode.NFTABLES):
        cluster = scene(mode, release)
        first, *others = cluster.nodes
        second = ip_address("192.0.2.7")
        nodes = (replace(first, host_addresses=(*first.host_addresses, second)), *others)
        cluster = replace(cluster, nodes=nodes)
        number = next(p.node_port for s in cluster.services for p in s.ports if p.node_port)
        primary = mode is ProxyMode.NFTABLES
        assert outcomes(cluster, "node1", str(first.addresses[0]), number) == ("CONNECTED",)
        served = outcomes(cluster, "node1", str(second), number)
        assert served == (REFUSED if primary else ("CONNECTED",))
        # CIDRs of the other family alone: every address, but up to 1.30 in nftables mode
        six = with_options(cluster, nodeport_addresses=(ip_network("fd00::/8"),))
        closed = primary and release < Release.V1_31
        served = outcomes(six, "node1", str(second), number)
        assert served == (REFUSED if closed else ("CONNECTED",))
        listed = with_options(cluster, nodeport_addresses=(ip_network("192.0.2.0/24"),))
        assert outcomes(listed, "node1", str(second), number) == ("CONNECTED",)
        assert outcomes(listed, "node1", str(first.addresses[0]), number) == REFUSED


@EVERY_RELEASE
def test_external_ips_are_nobodys_with_the_gate_off(release: Release) -> None:
    gates = FeatureGates(allow_service_external_ips=False)
    cluster = changed(scene(ProxyMode.NFTABLES, release), "svc-a", external_ips=(EXTERNAL,))
    assert outcomes(cluster, "pod1", str(EXTERNAL)) == ("CONNECTED",)
    closed = with_options(cluster, feature_gates=gates)
    expected = NO_WAY if release >= Release.V1_36 else ("CONNECTED",)
    assert outcomes(closed, "pod1", str(EXTERNAL)) == expected


@EVERY_RELEASE
@pytest.mark.parametrize(
    ("annotation", "zones_since"),
    [
        (None, Release.V1_31),
        ("", Release.V1_31),
        ("Disabled", Release.V1_31),
        ("Auto", Release.V1_30),
    ],
)
def test_hints_that_count(release: Release, annotation: str | None, zones_since: Release) -> None:
    cluster = scene(ProxyMode.IPTABLES, release)
    name = "service.kubernetes.io/topology-mode"
    item = replace(
        service(cluster, "svc-a"), annotations={} if annotation is None else {name: annotation}
    )
    use = hint_use(cluster, item)
    assert use.nodes is (release >= Release.V1_34)
    assert use.zones is (release >= zones_since)


@EVERY_RELEASE
def test_endpoints_near_a_node_are_chosen_as_the_release_reads_hints(release: Release) -> None:
    cluster = scene(ProxyMode.IPTABLES, release)
    hinted = tuple(
        replace(
            item,
            endpoints=tuple(replace(e, hint_nodes=(e.node_name,)) for e in item.endpoints),
        )
        for item in cluster.endpoint_slices
    )
    cluster = replace(cluster, endpoint_slices=hinted)
    item = service(cluster, "svc-a")
    found = Lookup(cluster).endpoints(item, item.ports[0], IPFamily.IPV4).at(cluster.nodes[0])
    nodes = {backend.node for backend in found.cluster}
    assert nodes == ({"node1"} if release >= Release.V1_34 else {"node1", "node2"})


@EVERY_RELEASE
def test_masquerade_all_of_the_modes_own_section_counts(release: Release) -> None:
    """In nftables mode its own section says so, and the flag of the others does not."""
    cluster = with_options(scene(ProxyMode.NFTABLES, release), masquerade_all=True)
    assert not cluster.network.kube_proxy.masquerades_all
    assert with_options(cluster, mode=ProxyMode.IPTABLES).network.kube_proxy.masquerades_all


@EVERY_RELEASE
def test_an_address_in_two_slices_is_that_of_the_living_pod(release: Release) -> None:
    """Before 1.36 that of either, by the order of a map of Go's: nothing can be promised."""
    for mode in ProxyMode:
        cluster = scene(mode, release)
        (mine,) = (s for s in cluster.endpoint_slices if s.service == "svc-a")
        gone = tuple(
            replace(item, ready=False, serving=False, terminating=True) for item in mine.endpoints
        )
        address = str(service(cluster, "svc-a").cluster_ips[0])
        other = replace(mine, endpoints=gone)
        for slices in ((mine, other), (other, mine)):
            both = replace(cluster, endpoint_slices=slices)
            expected = ("CONNECTED",) if release >= Release.V1_36 else ()
            assert outcomes(both, "pod1", address) == expected
        # slices that say the same are no question
        assert outcomes(replace(cluster, endpoint_slices=(mine, mine)), "pod1", address) == (
            "CONNECTED",
        )


@EVERY_RELEASE
def test_endpoint_that_another_node_leads_back_to_itself(release: Release) -> None:
    """By a node port with policy Local, where pods are not masqueraded towards nodes.

    Since 1.36 nftables mode knows the hairpins of the node's own endpoints alone. Other nodes'
    endpoints answer the client directly, so that nothing comes of it in any mode.
    """
    for mode in ProxyMode:
        cluster = changed(
            scene(mode, release), "svc-web", external_traffic_policy=TrafficPolicy.LOCAL
        )
        egress = replace(cluster.network.egress, masquerade=False)
        cluster = replace(cluster, network=replace(cluster.network, egress=egress))
        client = next(item for item in cluster.pods if item.name == "pod2")
        node1 = cluster.nodes[0]
        found = promise(Lookup(cluster), Flow(Location(client), node1.addresses[0], 30080))
        here = {item.name for item in cluster.pods if item.node == "node1"}
        masqueraded = mode is ProxyMode.IPTABLES or (
            mode is ProxyMode.NFTABLES and release < Release.V1_36
        )
        assert set(found.names) - here == ({"pod2"} if masqueraded else set())
        assert set(found.names) & here
        lost = {item.backend.name for item in found.denied}
        led_to = {"pod2", "pod4"} if mode is not ProxyMode.IPVS else set()
        assert lost == led_to - set(found.names)
        own = [a.sources for a in found.answers if a.backend.pod is client]
        assert own == ([(node1.addresses[0],)] if masqueraded else [])


@EVERY_RELEASE
def test_prefix_of_an_interface_leaves_nftables_mode_without_rules(release: Release) -> None:
    for mode in ProxyMode:
        cluster = with_options(
            scene(mode, release),
            detect_local_mode=DetectLocalMode.INTERFACE_NAME_PREFIX,
            pod_interface_name_prefix="cni",
        )
        address = str(service(cluster, "svc-a").cluster_ips[0])
        refused = mode is ProxyMode.NFTABLES and release < Release.V1_33
        assert outcomes(cluster, "pod1", address) == (NO_WAY if refused else ("CONNECTED",))


@pytest.mark.parametrize("mode", [ProxyMode.IPTABLES, ProxyMode.NFTABLES])
@pytest.mark.parametrize("policy", list(TrafficPolicy))
def test_a_node_that_asks_by_its_cni0_is_taken_for_a_pod(
    mode: ProxyMode, policy: TrafficPolicy
) -> None:
    """It asks itself under that address, which the short cut of policy Local takes for a pod's."""
    cluster = with_options(
        four_paths(mode), nodeport_addresses=(ip_network("0.0.0.0/0"), ip_network("::/0"))
    )
    cluster = with_bridge_addresses(changed(cluster, "svc-web", external_traffic_policy=policy))
    # from node1 Local counts as Cluster
    far = next(item for item in cluster.pods if item.node == "node2")
    node1 = cluster.nodes[0]
    bridge, own = node1.host_addresses[-1], node1.addresses[0]
    assert bridge in node1.pod_cidrs[0]
    for asked in (bridge, own):
        found = promise(Lookup(cluster), Flow(Location(node1), asked, 30080))
        keeps = policy is TrafficPolicy.LOCAL and asked == bridge
        (seen,) = (item.sources for item in found.answers if item.backend.pod is far)
        assert seen == (bridge if keeps else own,)
