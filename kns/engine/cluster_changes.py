"""What of a network differs between two states of a cluster: pods, endpoints, rules. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.compile.lab import recompile_host
from kns.compile.names import netns_of_node
from kns.kinds.networking import ProxyMode
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from kns.state.model import HostState, Netns


@dataclass(frozen=True, slots=True)
class PodChange:
    """A pod that came or went; one with another address did both."""

    pod: Pod
    is_new: bool


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """A Service that came or went; one with another cluster IP did both."""

    service: Service
    is_new: bool


@dataclass(frozen=True, slots=True)
class EndpointChange:
    """An address that a Service leads to now, or no longer."""

    service: str
    address: IPAddress
    ports: tuple[int, ...]
    #: the pod's full name; empty for a written endpoint
    pod: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class RuleChange:
    """How many rules, set elements and real servers a node has more, and has no longer."""

    node: str
    new: int
    gone: int


@dataclass(frozen=True, slots=True)
class ClusterChanges:
    """What came and what went, the new ones first."""

    mode: ProxyMode
    pods: tuple[PodChange, ...] = ()
    services: tuple[ServiceChange, ...] = ()
    endpoints: tuple[EndpointChange, ...] = ()
    rules: tuple[RuleChange, ...] = ()


def cluster_changes(before: Cluster, after: Cluster) -> ClusterChanges:
    """What differs of the network."""
    mode = after.network.kube_proxy.mode
    if before == after:
        return ClusterChanges(mode)
    return ClusterChanges(
        mode,
        tuple(_pods(before, after)),
        tuple(_services(before, after)),
        tuple(_endpoints(before, after)),
        tuple(_rules(before, after)),
    )


def _pods(before: Cluster, after: Cluster) -> Iterator[PodChange]:
    old = {_pod_key(pod): pod for pod in before.pods}
    new = {_pod_key(pod): pod for pod in after.pods}
    yield from (PodChange(pod, is_new=True) for key, pod in new.items() if key not in old)
    yield from (PodChange(pod, is_new=False) for key, pod in old.items() if key not in new)


def _pod_key(pod: Pod) -> object:
    return (pod.full_name, pod.node, pod.addresses)


def _services(before: Cluster, after: Cluster) -> Iterator[ServiceChange]:
    old = {_service_key(service): service for service in before.services}
    new = {_service_key(service): service for service in after.services}
    yield from (ServiceChange(item, is_new=True) for key, item in new.items() if key not in old)
    yield from (ServiceChange(item, is_new=False) for key, item in old.items() if key not in new)


def _service_key(service: Service) -> object:
    return (service.full_name, service.cluster_ips)


def _endpoints(before: Cluster, after: Cluster) -> Iterator[EndpointChange]:
    old, new = _ready(before), _ready(after)
    for one, other, is_new in ((new, old, True), (old, new, False)):
        for (service, address), (ports, pod) in one.items():
            if other.get((service, address)) != (ports, pod):
                yield EndpointChange(service, address, ports, pod, is_new)


def _ready(cluster: Cluster) -> Mapping[tuple[str, IPAddress], tuple[tuple[int, ...], str]]:
    """By Service and address, the ports and the pod of each endpoint that is ready."""
    found: dict[tuple[str, IPAddress], tuple[tuple[int, ...], str]] = {}
    for service in cluster.services:
        for item in cluster.slices_of(service):
            numbers = {port.port for port in item.ports if port.port is not None}
            for endpoint in item.endpoints:
                for address in endpoint.addresses if endpoint.ready is not False else ():
                    key = (service.full_name, address)
                    ports = numbers | set(found[key][0] if key in found else ())
                    found[key] = tuple(sorted(ports)), endpoint.pod
    return found


# -- rules -----------------------------------------------------------------------------------------


def _rules(before: Cluster, after: Cluster) -> Iterator[RuleChange]:
    was = recompile_host(before, None)
    old, new = _by_name(was.host), _by_name(recompile_host(after, was).host)
    for node in after.nodes:
        name = netns_of_node(after.name, node.name)
        if name in old and old[name] != new[name]:
            gone, come = Counter(_lines(old[name])), Counter(_lines(new[name]))
            change = RuleChange(node.name, (come - gone).total(), (gone - come).total())
            if change.new or change.gone:
                yield change


def _by_name(host: HostState) -> Mapping[str, Netns]:
    return {space.name: space for space in host.netns}


def _lines(space: Netns) -> Iterator[object]:
    """All that decides on a packet, each rule with its chain."""
    for table in space.iptables:
        for chain in table.chains:
            yield from ((table.family, table.name, chain.name, rule) for rule in chain.rules)
    for nft in space.nftables:
        for hook in nft.chains:
            yield from ((nft.family, nft.name, hook.name, rule) for rule in hook.rules)
        for nft_set in nft.sets:
            yield from ((nft.family, nft.name, nft_set.name, one) for one in nft_set.elements)
    for ipset in space.ipsets:
        yield from ((ipset.name, entry) for entry in ipset.entries)
    for server in space.virtual_servers:
        key = (server.protocol, server.address, server.port)
        yield key
        yield from ((*key, real.address, real.port) for real in server.real_servers)
