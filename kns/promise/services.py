"""Flows to services that verify tries: by cluster IP, node port, outer and balanced address. Pure.

frontend        where                          clients
cluster IP      everywhere in the cluster      pods, nodes; not the internet
node port       every node's address           internet, pods, nodes, localhost
external IP     wherever it is routed          pods, nodes; the internet if it is a node's
load balancer   status.loadBalancer.ingress    pods, nodes (kube-proxy's short cut); internet
health check    healthCheckNodePort            internet
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort, TrafficPolicy
from kns.promise import sampling
from kns.promise.balancer import PROXY, balancer_mode, source_ranges
from kns.promise.check import Check, Expectation, Http, Skip, Step
from kns.promise.endpoints import has_dns, is_cluster_dns
from kns.promise.expiry import expiry
from kns.promise.facts import proxy_facts
from kns.promise.flow import Flow, FrontendKind, Stage, port_label, protocol_suffix
from kns.promise.location import Location, label
from kns.promise.lookup import Lookup, balancer_point
from kns.promise.promise import promise
from kns.promise.steps import Title, service_check, stopped_step, title_check

LOCALHOST = ip_address("127.0.0.1")
LOAD_BALANCER = "load-balancer"


@dataclass(frozen=True, slots=True)
class _Target:
    """A service port of one family, and how checks of it are named."""

    service: Service
    port: ServicePort
    family: IPFamily
    suffix: str

    @property
    def label(self) -> str:
        """The service port in words."""
        return port_label(self.service, self.port)

    def flow(self, item: Pod | Node | InternetHost, address: IPAddress, number: int) -> Flow:
        """A flow from there to that address and port."""
        return Flow(Location(item), address, number, self.port.protocol)

    def at(self, address: IPAddress) -> str:
        """How a report names an outer address."""
        return f"{address}:{self.port.port} ({self.label})"


def service_checks(lookup: Lookup) -> Iterator[Check | Skip]:
    """The checks of cluster IPs."""
    cluster = lookup.cluster
    every, targets = tuple(_every_target(lookup)), _targets(lookup)
    for target in targets:
        if is_cluster_dns(cluster, target.service):  # it speaks DNS: name resolution proves it
            continue
        yield from _from_pods(lookup, target)
        yield from _from_nodes(lookup, target)
        yield from _unroutable(lookup, target)
        yield from expiry(lookup, target.service, target.port, target.family)
    if len(targets) < len(every):
        left_out = len(every) - len(targets)
        yield Skip("service ports", f"{len(targets)} of {len(every)} are tried", left_out)
    yield from _wrong_port(lookup, targets)
    if not has_dns(cluster):
        for service in cluster.services:
            if not service.cluster_ips:
                reason = "it has no address: only DNS leads to its pods, and the lab has none"
                yield Skip(label(service), reason)


def external_checks(lookup: Lookup) -> Iterator[Check | Skip]:
    """The checks of node ports, external IPs, balancer addresses and health checks."""
    for target in _targets(lookup):
        if is_cluster_dns(lookup.cluster, target.service):
            continue
        if target.port.node_port:
            yield from _node_ports(lookup, target)
        for kind, address in _outer_addresses(target):
            yield from _outer_address(lookup, target, kind, address)
        if target.service.health_check_node_port and target.port is target.service.ports[0]:
            yield from _health(lookup, target)


def balancer_checks(lookup: Lookup) -> Iterator[Check | Skip]:
    """The checks of every address that the lab's load balancer gave out, from without."""
    for target in _targets(lookup):
        if is_cluster_dns(lookup.cluster, target.service):
            continue
        for point in target.service.load_balancer_ingress:
            if point.ip is not None and point.ip.version == target.family.version:
                mode = balancer_mode(lookup.cluster, point)
                if mode:
                    yield from _balanced(lookup, target, point.ip, mode)


def _targets(lookup: Lookup) -> tuple[_Target, ...]:
    """Every port of every service that has a cluster IP, once per family; of very many a sample."""
    return sampling.spread(tuple(_every_target(lookup)), sampling.SAMPLED_PORTS)


def _every_target(lookup: Lookup) -> Iterator[_Target]:
    # who answers at the Ingress controller is the Ingresses' affair: kns.promise.ingress
    for family in lookup.cluster.network.families:
        suffix = sampling.family_suffix(lookup.cluster, family)
        for service in lookup.cluster.services:
            if service.cluster_ip(family) is not None and service is not lookup.controller:
                for port in service.ports:
                    yield _Target(service, port, family, suffix)


# -- cluster IPs -----------------------------------------------------------------------------------


def backends_anywhere(
    lookup: Lookup, service: Service, port: ServicePort, family: IPFamily
) -> tuple[Pod, ...]:
    """The pods that are a backend for some node, in file order."""
    endpoints = lookup.endpoints(service, port, family)
    found = {
        backend.pod.full_name
        for node in lookup.cluster.nodes
        for backend in endpoints.at(node).cluster
        if backend.pod is not None
    }
    return tuple(pod for pod in lookup.cluster.pods if pod.full_name in found)


def _cluster_ip(target: _Target, item: Pod | Node | InternetHost) -> Flow:
    address = target.service.cluster_ip(target.family)
    assert address is not None  # noqa: S101 - others are no targets
    return target.flow(item, address, target.port.port)


def _from_pods(lookup: Lookup, target: _Target) -> Iterator[Check | Skip]:
    cluster = lookup.cluster
    is_small = sampling.is_small(cluster)
    backends = backends_anywhere(lookup, target.service, target.port, target.family)
    strangers = sampling.clients(cluster, backends)
    own = backends if is_small else sampling.spread(backends, 1)
    for index, pod in enumerate((*strangers, *own)):
        if pod.address(target.family) is None:
            continue
        found = promise(lookup, _cluster_ip(target, pod))
        is_thorough = is_small or index == 0 or pod in own
        # only many requests make sure that the pod's own turn comes
        is_own = is_thorough and any(answer.backend.pod is pod for answer in found.answers)
        title = Title(
            "pod-to-service",
            "hairpin" if is_own else "cluster-ip",
            target.label,
            target.suffix,
            is_thorough,
            "itself by hairpin, masqueraded" if is_own else "",
        )
        yield service_check(cluster, title, found)


def _from_nodes(lookup: Lookup, target: _Target) -> Iterator[Check | Skip]:
    cluster = lookup.cluster
    for node in sampling.nodes_with(cluster, target.family):
        title = Title(
            "node-to-service",
            "cluster-ip",
            target.label,
            target.suffix,
            sampling.is_small(cluster),
        )
        yield service_check(cluster, title, promise(lookup, _cluster_ip(target, node)))


def _unroutable(lookup: Lookup, target: _Target) -> Iterator[Check]:
    cluster = lookup.cluster
    if target.port.protocol is not Protocol.TCP or target.port is not target.service.ports[0]:
        return
    if not sampling.is_small(cluster) and target.service is not cluster.services[0]:
        return
    for host in sampling.hosts_with(cluster, target.family)[:1]:
        title = Title("internet-to-service", "unroutable", target.label, target.suffix)
        found = promise(lookup, _cluster_ip(target, host))
        if found.stop is not None:
            step = stopped_step(found.flow, found.stop)
            yield title_check(title, found.flow, found.stop.reason, step)


def _wrong_port(lookup: Lookup, targets: tuple[_Target, ...]) -> Iterator[Check | Skip]:
    """One port that the first service doesn't have: the modes differ in what they do with it."""
    pods = sampling.one_per_node(lookup.cluster)
    target = next((t for t in targets if t.port.protocol is Protocol.TCP), None)
    if not pods or target is None:
        return
    taken = {port.port for port in target.service.ports}
    number = next(n for n in range(target.port.port + 1, 65_536) if n not in taken)
    flow = replace(_cluster_ip(target, pods[0]), port=number)
    title = Title("pod-to-service", "wrong-port", f"{label(target.service)}:{number}")
    yield service_check(lookup.cluster, title, promise(lookup, flow))


# -- node ports ------------------------------------------------------------------------------------


def _node_ports(lookup: Lookup, target: _Target) -> Iterator[Check | Skip]:
    cluster = lookup.cluster
    nodes = sampling.nodes_with(cluster, target.family)
    for host in sampling.hosts_with(cluster, target.family)[:1]:
        for node in nodes:
            # in a big lab one node's node port is tried until every backend has answered
            is_thorough = sampling.is_small(cluster) or node is cluster.nodes[0]
            yield from _at_node(lookup, target, host, node, is_thorough=is_thorough)
    is_small = sampling.is_small(cluster)
    for pod in sampling.spread(sampling.one_per_node(cluster), sampling.PER_SERVICE):
        yield from _at_node(lookup, target, pod, lookup.node_of(pod), is_thorough=is_small)
    is_local = target.service.external_traffic_policy is TrafficPolicy.LOCAL
    if not is_local or not proxy_facts(cluster).binds_service_addresses:
        for node in nodes:
            yield from _at_node(lookup, target, node, node, is_thorough=is_small)
    if target.family is IPFamily.IPV4 and target.port.protocol is Protocol.TCP and nodes:
        name = f"localhost:{target.port.node_port}"
        title = Title("node-to-service", "localhost", name, is_thorough=is_small)
        flow = target.flow(nodes[0], LOCALHOST, target.port.node_port)
        yield service_check(cluster, title, promise(lookup, flow))


def _at_node(
    lookup: Lookup,
    target: _Target,
    item: Pod | Node | InternetHost,
    node: Node,
    *,
    is_thorough: bool,
) -> Iterator[Check | Skip]:
    address = node.address(target.family)
    if address is None:
        return
    flow = target.flow(item, address, target.port.node_port)
    name = f"{node.name}:{target.port.node_port}{protocol_suffix(target.port.protocol)}"
    path = f"{flow.source.kind}-to-service"
    title = Title(path, "node-port", name, target.suffix, is_thorough)
    yield service_check(lookup.cluster, title, promise(lookup, flow))


# -- external IPs and balancer addresses -----------------------------------------------------------


def _outer_addresses(target: _Target) -> Iterator[tuple[FrontendKind, IPAddress]]:
    for address in target.service.external_ips:
        if address.version == target.family.version:
            yield FrontendKind.EXTERNAL_IP, address
    for entry in target.service.load_balancer_ingress:
        # ipMode Proxy: the balancer wants to see the traffic itself, so there is no short cut
        is_ours = entry.ip is not None and entry.ip.version == target.family.version
        if entry.ip is not None and is_ours and entry.ip_mode == "VIP":
            yield FrontendKind.LOAD_BALANCER_IP, entry.ip


def _outer_address(
    lookup: Lookup, target: _Target, kind: FrontendKind, address: IPAddress
) -> Iterator[Check | Skip]:
    cluster = lookup.cluster
    clients: list[Pod | Node] = [
        pod
        for pod in sampling.spread(sampling.one_per_node(cluster), sampling.PER_SERVICE)
        if pod.address(target.family) is not None
    ]
    if not proxy_facts(cluster).binds_service_addresses:
        clients += sampling.nodes_with(cluster, target.family)
    for item in clients:
        yield _to_outer(lookup, target, kind, target.flow(item, address, target.port.port))
    if balancer_mode(cluster, balancer_point(target.service, address)):
        return  # `balancer_checks` has more to say
    for host in sampling.hosts_with(cluster, target.family)[:1]:
        flow = target.flow(host, address, target.port.port)
        found = promise(lookup, flow)
        if found.stop is not None and found.stop.stage is Stage.ROUTE:
            yield Skip(f"internet to {target.at(address)}", found.stop.reason)
        else:
            title = Title(f"{flow.source.kind}-to-service", kind, target.at(address))
            yield service_check(cluster, title, found)


def _to_outer(lookup: Lookup, target: _Target, kind: str, flow: Flow) -> Check | Skip:
    is_small = sampling.is_small(lookup.cluster)
    path = f"{flow.source.kind}-to-service"
    title = Title(path, kind, target.at(flow.destination), is_thorough=is_small)
    return service_check(lookup.cluster, title, promise(lookup, flow))


def _balanced(
    lookup: Lookup, target: _Target, address: IPAddress, mode: str
) -> Iterator[Check | Skip]:
    clients: list[Pod | Node | InternetHost] = list(_both_sides(lookup.cluster, target))
    if mode == PROXY:
        pods = sampling.spread(sampling.one_per_node(lookup.cluster), sampling.PER_SERVICE)
        clients += [pod for pod in pods if pod.address(target.family) is not None]
        clients += sampling.nodes_with(lookup.cluster, target.family)
    for item in clients:
        flow = target.flow(item, address, target.port.port)
        check = _to_outer(lookup, target, LOAD_BALANCER, flow)
        yield check
        if isinstance(check, Skip) and check.what.startswith("internet to "):
            return  # one reason for all clients


def _both_sides(cluster: Cluster, target: _Target) -> Iterator[InternetHost]:
    """The first host; where source ranges tell hosts apart, one of each side."""
    ranges = source_ranges(target.service, target.family)
    sides: set[bool] = set()
    for host in sampling.hosts_with(cluster, target.family):
        client = sampling.address_of(host, target.family)
        side = not ranges or any(client in cidr for cidr in ranges)
        if side not in sides:
            sides.add(side)
            yield host


# -- health checks ---------------------------------------------------------------------------------


def _health(lookup: Lookup, target: _Target) -> Iterator[Check | Skip]:
    cluster, number = lookup.cluster, target.service.health_check_node_port
    endpoints = lookup.endpoints(target.service, target.port, target.family)
    for host in sampling.hosts_with(cluster, target.family)[:1]:
        for node in sampling.nodes_with(cluster, target.family):
            address = node.address(target.family)
            assert address is not None  # noqa: S101 - others are left out
            local = endpoints.at(node).local_ready
            status = 200 if local else 503
            name = f"{node.name}:{number}"
            title = Title("internet-to-node", "health-check", name, target.suffix)
            stop = promise(lookup, Flow(Location(host), address, number)).stop
            if stop is not None and stop.stage is Stage.FAULT and not stop.outcomes:
                yield Skip(f"internet to {name}", stop.reason)
                continue
            if stop is not None and stop.stage is Stage.FAULT:
                step = stopped_step(Flow(Location(host), address, number), stop)
                flow = Flow(Location(host), address, number)
                yield title_check(title, flow, f"no answer: {stop.reason}", step)
                continue
            ask = Http(address, number, path="/healthz")
            step = Step(ask, Expectation(status=status, local_endpoints=local))
            flow = Flow(Location(host), address, number)
            expected = f"{status}: {local} local endpoints of {target.label}"
            yield title_check(title, flow, expected, step)
