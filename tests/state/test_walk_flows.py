"""Flows through the rules of a compiled cluster: whom they reach, and who is masqueraded.

Each flow enters node1, in every mode and in each release that changed its rules. Where the promise
knows the same flow it must agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from ipaddress import ip_address

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.compile.lab import compile_host
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.internet import InternetHost
from kns.kinds.networking import ProxyMode
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.release import NEWEST, Release
from kns.kinds.service import (
    LoadBalancerIngress,
    Service,
    ServicePort,
    ServiceType,
    SessionAffinity,
    TrafficPolicy,
)
from kns.promise import flow as promised
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise
from kns.promise.translate import Masquerade, translate
from kns.state.model import Netns
from kns.state.packet import Packet, Verdict
from kns.state.walk import destinations, walk
from tests.clusters import SERVICE_CIDRS, make_cluster, make_network

FAMILIES = (IPFamily.IPV4, IPFamily.IPV6)
EXTERNAL_IP, BALANCER_IP = ip_address("198.51.100.7"), ip_address("198.51.100.8")
FAR_IP, BARRED_IP = ip_address("198.51.100.9"), ip_address("198.51.100.10")
#: pod1 and pod3 are on node1, where the packets enter, pod2 is on node2
ALL = frozenset({"pod1", "pod2", "pod3"})
HERE, ELSEWHERE = frozenset({"pod1", "pod3"}), frozenset({"pod2"})
NOBODY: frozenset[str] = frozenset()
IPVS, OTHERS = (ProxyMode.IPVS,), (ProxyMode.IPTABLES, ProxyMode.NFTABLES)
CLIENT, STRANGER, NODE = "203.0.113.10", "192.0.2.1", "172.18.0.2"
CLIENT6, NODE6 = "2001:db8:203::a", "fc00:172:18::2"
NFTABLES, IPTABLES = (ProxyMode.NFTABLES,), (ProxyMode.IPTABLES,)
FAR, BARRED, UNALLOCATED = str(FAR_IP), str(BARRED_IP), "10.96.200.1"
#: each mode in the releases that changed what its rules do, or how they do it
PROXIES = (
    (ProxyMode.IPTABLES, Release.V1_30),
    (ProxyMode.IPTABLES, Release.V1_37),
    (ProxyMode.IPVS, Release.V1_37),
    *((ProxyMode.NFTABLES, release) for release in Release if release != Release.V1_35),
)
UDP, LOCAL = Protocol.UDP, TrafficPolicy.LOCAL


def service(
    name: str, number: int, protocol: Protocol = Protocol.TCP, node_port: int = 0
) -> Service:
    return Service(
        namespace="default",
        name=name,
        type=ServiceType.NODE_PORT if node_port else ServiceType.CLUSTER_IP,
        cluster_ips=tuple(SERVICE_CIDRS[f].network_address + number for f in FAMILIES),
        ip_families=FAMILIES,
        selector={"app": name},
        ports=(ServicePort(80, protocol=protocol, target_port=8080, node_port=node_port),),
    )


#: each service with the pods behind it
SERVICES = (
    (service("web", 11), ALL),
    (service("remote", 12), ELSEWHERE),
    (service("datagrams", 13, UDP), ALL),
    (service("empty", 14), NOBODY),
    (replace(service("sticky", 15), session_affinity=SessionAffinity.CLIENT_IP), ALL),
    (replace(service("near", 16), internal_traffic_policy=LOCAL), ALL),
    (service("door", 17, node_port=30017), ALL),
    (replace(service("door-local", 18, node_port=30018), external_traffic_policy=LOCAL), ALL),
    (replace(service("door-far", 19, node_port=30019), external_traffic_policy=LOCAL), ELSEWHERE),
    (service("door-empty", 20, node_port=30020), NOBODY),
    (replace(service("external", 21), external_ips=(EXTERNAL_IP,)), ALL),
    (
        replace(
            service("balanced", 22, node_port=30022),
            type=ServiceType.LOAD_BALANCER,
            load_balancer_ingress=(LoadBalancerIngress(BALANCER_IP),),
            load_balancer_source_ranges=("203.0.113.0/24",),
        ),
        ALL,
    ),
    (
        replace(
            service("external-far", 23),
            external_ips=(FAR_IP,),
            external_traffic_policy=LOCAL,
        ),
        ELSEWHERE,
    ),
    (
        replace(
            service("barred", 24, node_port=30024),
            type=ServiceType.LOAD_BALANCER,
            load_balancer_ingress=(LoadBalancerIngress(BARRED_IP),),
            load_balancer_source_ranges=("203.0.113.0/24",),
        ),
        NOBODY,
    ),
)


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection that enters node1, or that node1 opens itself, and what must come of it.

    `destination` is an address, or a service's name for its cluster IP of the source's family.
    """

    name: str
    source: str
    destination: str
    port: int
    endpoints: frozenset[str]
    masqueraded: frozenset[str] = NOBODY
    protocol: Protocol = Protocol.TCP
    ends: Verdict = Verdict.ACCEPT
    modes: tuple[ProxyMode, ...] = tuple(ProxyMode)
    #: the releases of which this is true
    since: Release = Release.V1_30
    until: Release = NEWEST

    @property
    def proxies(self) -> tuple[tuple[ProxyMode, Release], ...]:
        """The proxies of which this is true."""
        return tuple(
            (mode, release)
            for mode, release in PROXIES
            if mode in self.modes and self.since <= release <= self.until
        )


FLOWS = (
    Flow("to itself among others", "pod1", "web", 80, ALL, frozenset({"pod1"})),
    Flow("to another node's pod", "pod1", "remote", 80, ELSEWHERE),
    Flow("datagrams", "pod3", "datagrams", 80, ALL, frozenset({"pod3"}), UDP),
    Flow("nobody there", "pod1", "empty", 80, NOBODY, ends=Verdict.REJECT),
    Flow("affinity", "pod1", "sticky", 80, ALL, frozenset({"pod1"})),
    Flow("internal policy Local", "pod1", "near", 80, HERE, frozenset({"pod1"})),
    Flow("the node's own", NODE, "web", 80, ALL, ALL),
    Flow("the node's own, affinity", NODE, "sticky", 80, ALL, ALL),
    Flow("the node's own, IPv6", NODE6, "web", 80, ALL, ALL),
    Flow("IPv6", "pod1/6", "web", 80, ALL, frozenset({"pod1"})),
    Flow("nobody there, IPv6", "pod1/6", "empty", 80, NOBODY, ends=Verdict.REJECT),
    Flow("node port", CLIENT, NODE, 30017, ALL, ALL),
    Flow("node port, IPv6", CLIENT6, NODE6, 30017, ALL, ALL),
    Flow("node port Local", CLIENT, NODE, 30018, HERE),
    Flow("none local", CLIENT, NODE, 30019, NOBODY, ends=Verdict.DROP, modes=OTHERS),
    Flow("none local, IPVS", CLIENT, NODE, 30019, ELSEWHERE, ELSEWHERE, modes=IPVS),
    Flow("node port, nobody there", CLIENT, NODE, 30020, NOBODY, ends=Verdict.REJECT),
    Flow("external IP", CLIENT, "198.51.100.7", 80, ALL, ALL),
    Flow("external IP from a pod", "pod1", "198.51.100.7", 80, ALL, ALL),
    Flow("in the source ranges", CLIENT, "198.51.100.8", 80, ALL, ALL),
    Flow("not in the source ranges", STRANGER, "198.51.100.8", 80, NOBODY, ends=Verdict.DROP),
    Flow("own node port, none local", NODE, NODE, 30019, ELSEWHERE, ELSEWHERE, modes=OTHERS),
    Flow("own to external IP, none local", NODE, FAR, 80, ELSEWHERE, ELSEWHERE, modes=IPTABLES),
    Flow(
        "own to external IP, none local, checked before the DNAT",
        NODE, FAR, 80, NOBODY, ends=Verdict.DROP, modes=NFTABLES, until=Release.V1_33,
    ),
    Flow(
        "own to external IP, none local, checked after the DNAT",
        NODE, FAR, 80, ELSEWHERE, ELSEWHERE, modes=NFTABLES, since=Release.V1_34,
    ),
    Flow("external IP from a pod, none local", "pod1", FAR, 80, ELSEWHERE, modes=OTHERS),
    Flow("unknown port", "pod1", "web", 81, NOBODY, ends=Verdict.REJECT, modes=NFTABLES),
    Flow("unknown port, own", NODE, "web", 81, NOBODY, ends=Verdict.REJECT, modes=NFTABLES),
    Flow(
        "unallocated cluster IP",
        "pod1", UNALLOCATED, 80, NOBODY, ends=Verdict.DROP, modes=NFTABLES, since=Release.V1_33,
    ),
    Flow(
        "unallocated cluster IP, own",
        NODE, UNALLOCATED, 80, NOBODY, ends=Verdict.DROP, modes=NFTABLES, since=Release.V1_33,
    ),
    Flow("barred, nobody there", "pod1", BARRED, 80, NOBODY, ends=Verdict.DROP, modes=NFTABLES),
    Flow("barred, nobody there", "pod1", BARRED, 80, NOBODY, ends=Verdict.REJECT, modes=IPTABLES),
    Flow(
        "own, barred, nobody there: endpoints first",
        NODE, BARRED, 80, NOBODY, ends=Verdict.REJECT, modes=NFTABLES, until=Release.V1_33,
    ),
    Flow(
        "own, barred, nobody there: sources first",
        NODE, BARRED, 80, NOBODY, ends=Verdict.DROP, modes=NFTABLES, since=Release.V1_34,
    ),
)  # fmt: skip


@cache
def cluster_in(mode: ProxyMode, release: Release) -> Cluster:
    network = make_network(FAMILIES, mode=mode)
    options = replace(network.kube_proxy, version=release)
    base = make_cluster(network=replace(network, kube_proxy=options))
    slices = tuple(
        EndpointSlice(
            namespace=item.namespace,
            name=f"{item.name}-{family.value.lower()}",
            service=item.name,
            address_type=family,
            ports=(EndpointPort(8080, protocol=item.ports[0].protocol),),
            endpoints=tuple(
                Endpoint((address,), ready=True, node_name=pod.node, pod=pod.full_name)
                for pod in base.pods
                if pod.name in behind and (address := pod.address(family)) is not None
            ),
        )
        for item, behind in SERVICES
        for family in FAMILIES
    )
    return replace(base, services=tuple(item for item, _ in SERVICES), endpoint_slices=slices)


@cache
def node1_in(mode: ProxyMode, release: Release) -> Netns:
    spaces = compile_host(cluster_in(mode, release)).netns
    return next(item for item in spaces if item.name == "kns.test.node1")


def packet_of(flow: Flow, cluster: Cluster) -> Packet:
    pods = {pod.name: pod for pod in cluster.pods}
    name, _, six = flow.source.partition("/")
    family = IPFamily.IPV6 if six or ":" in name else IPFamily.IPV4
    source = pods[name].address(family) if name in pods else ip_address(name)
    services = {item.name: item for item in cluster.services}
    wanted = flow.destination
    to = services[wanted].cluster_ip(family) if wanted in services else ip_address(wanted)
    assert source is not None
    assert to is not None
    link = "cni0" if name in pods else "" if name in (NODE, NODE6) else "eth0"
    return Packet(source, to, flow.protocol.lower(), flow.port, in_interface=link)


def cases() -> list[object]:
    return [
        pytest.param(flow, proxy, id=f"{flow.name}-{'-'.join(proxy)}")
        for flow in FLOWS
        for proxy in flow.proxies
    ]


@pytest.mark.parametrize(("flow", "proxy"), cases())
def test_flow_reaches_its_endpoints_and_is_masqueraded_to_some(
    flow: Flow, proxy: tuple[ProxyMode, Release]
) -> None:
    cluster = cluster_in(*proxy)
    packet = packet_of(flow, cluster)
    passages = walk(node1_in(*proxy), packet)
    names = {address: pod.name for pod in cluster.pods for address in pod.addresses}
    assert {item.verdict for item in passages} == {flow.ends}
    if flow.ends is not Verdict.ACCEPT:
        assert all(item.decided_by is not None for item in passages)
        return
    found = destinations(passages)
    assert {names[address] for address, _ in found} == flow.endpoints
    assert {port for _, port in found} == {8080}
    masqueraded = {item.packet.destination for item in passages if item.source_translated}
    assert {names[address] for address in masqueraded} == flow.masqueraded
    plain = {item.packet.destination for item in passages if not item.source_translated}
    assert not masqueraded & plain


#: the addresses that nobody announces here: from outside no way leads to them
OUTER = (str(EXTERNAL_IP), str(BALANCER_IP))
ANNOUNCED_BY_NOBODY = [f for f in FLOWS if f.source == CLIENT and f.destination in OUTER]
#: a stranger is nobody of the cluster's, so nothing is promised to it
PROMISED = [f for f in FLOWS if f.source != STRANGER and f not in ANNOUNCED_BY_NOBODY]


@pytest.mark.parametrize("proxy", PROXIES, ids="-".join)
@pytest.mark.parametrize("flow", ANNOUNCED_BY_NOBODY, ids=lambda flow: flow.name)
def test_promise_says_the_same_once_the_node_has_the_packet(
    flow: Flow, proxy: tuple[ProxyMode, Release]
) -> None:
    cluster = cluster_in(*proxy)
    packet, lookup = packet_of(flow, cluster), Lookup(cluster)
    frontend = lookup.frontend(packet.destination, flow.port, flow.protocol)
    assert frontend is not None
    asked = promised.Flow(
        Location(cluster.internet[0]), packet.destination, flow.port, flow.protocol
    )
    entry = promised.ProxyEntry(cluster.nodes[0], promised.Origin.OUTSIDE, packet.source)
    found = translate(lookup, asked, frontend, entry)
    names = {backend.name for backend in found.backends}
    assert names == flow.endpoints
    assert (names if found.masquerade is Masquerade.ALL else NOBODY) == flow.masqueraded


@pytest.mark.parametrize(
    ("flow", "proxy"),
    [(flow, proxy) for flow in PROMISED for proxy in flow.proxies],
    ids=lambda item: item.name if isinstance(item, Flow) else "-".join(item),
)
def test_promise_says_the_same(flow: Flow, proxy: tuple[ProxyMode, Release]) -> None:
    cluster = cluster_in(*proxy)
    packet = packet_of(flow, cluster)
    ends: tuple[Pod | Node | InternetHost, ...] = (
        *cluster.pods,
        *cluster.nodes,
        *cluster.internet,
    )
    item = next(entry for entry in ends if packet.source in entry.addresses)
    asked = promised.Flow(Location(item), packet.destination, flow.port, flow.protocol)
    found = promise(Lookup(cluster), asked)
    assert {answer.backend.name for answer in found.answers} == flow.endpoints
    hidden = {
        answer.backend.name for answer in found.answers if packet.source not in answer.sources
    }
    # a node that opens the connection itself keeps an address of its own: masqueraded or not
    if flow.source not in (NODE, NODE6):
        assert hidden == flow.masqueraded
    if not flow.endpoints:
        expected = promised.REFUSED if flow.ends is Verdict.REJECT else promised.DROPPED
        assert found.outcomes == expected
