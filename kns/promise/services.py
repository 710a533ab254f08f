"""What Kubernetes promises of cluster IPs, seen from pods, from nodes and from outside. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from kns.addresses import IPFamily
from kns.cluster.ingress import controller_service
from kns.cluster.model import Cluster, ProxyMode
from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort, SessionAffinity, TrafficPolicy
from kns.promise import sampling
from kns.promise.check import AffinityExpiry, Check, Expectations, Skip, Step
from kns.promise.endpoints import has_dns, internal, is_dns, promise
from kns.promise.location import Location, LocationKind, label
from kns.promise.pods import NO_WAY, of_node, of_pod, suffix
from kns.promise.service_steps import Door, Promised, Title, add, blocked, port_label, refused
from kns.promise.sources import node_of, node_to_cluster_ip, through_cluster_ip

#: a session affinity that lasts longer than this is not waited for
AFFINITY_PATIENCE = 10
#: what all rounds of waiting for an affinity may take, in seconds
EXPIRY_BUDGET = 40
#: the probability with which a sound lab may fail the affinity's expiry
MISS = 1e-6


def service_checks(cluster: Cluster) -> Expectations:
    """The checks of every cluster IP."""
    found = Expectations()
    for service, port, family in service_ports(cluster):
        if is_cluster_dns(cluster, service):  # it speaks DNS: name resolution proves it
            continue
        _from_pods(found, cluster, service, port, family)
        _from_nodes(found, cluster, service, port, family)
        _from_outside(found, cluster, service, port, family)
        _expiry(found, cluster, service, port, family)
    ports, tried = len(_every_port(cluster)), len(service_ports(cluster))
    if tried < ports:
        found.skips.append(Skip("service ports", f"{tried} of {ports} are tried", ports - tried))
    _wrong_port(found, cluster)
    if not has_dns(cluster):
        _headless(found, cluster)
    return found


def service_ports(cluster: Cluster) -> tuple[tuple[Service, ServicePort, IPFamily], ...]:
    """Every port of every service that has a cluster IP, once a family; of very many a sample."""
    return sampling.spread(_every_port(cluster), sampling.SAMPLED_PORTS)


def _every_port(cluster: Cluster) -> tuple[tuple[Service, ServicePort, IPFamily], ...]:
    # who answers there is the Ingresses' affair: kns.promise.ingress
    controller = controller_service(cluster)
    return tuple(
        (service, port, family)
        for family in cluster.network.families
        for service in cluster.services
        if service.cluster_ip(family) is not None and service is not controller
        for port in service.ports
    )


def is_cluster_dns(cluster: Cluster, service: Service) -> bool:
    """True for the service of the lab's DNS."""
    return any(address in cluster.network.dns.service_ips for address in service.cluster_ips) or (
        bool(service.selector)
        and any(
            is_dns(pod) and (service.selector or {}).items() <= dict(pod.labels).items()
            for pod in cluster.pods
            if pod.namespace == service.namespace
        )
    )


def backends_anywhere(
    cluster: Cluster, service: Service, port: ServicePort, family: IPFamily
) -> tuple[Pod, ...]:
    """The pods that are a backend for some node, in file order."""
    found = [
        backend.pod
        for node in cluster.nodes
        for backend in promise(cluster, service, port, node, family).cluster
    ]
    return tuple(pod for pod in cluster.pods if pod in found)


def _cluster_ip(service: Service, port: ServicePort, family: IPFamily, source: Location) -> Door:
    address = str(service.cluster_ip(family))
    return Door(service, port, family, source, address, port.port)


def _no_backends_reason(service: Service, node: Node, refuses: bool) -> str:  # noqa: FBT001
    if not refuses:
        return f"internalTrafficPolicy Local and no ready endpoint on {node.name}: dropped"
    return f"{label(service)} has no ready endpoint"


def _from_pods(
    found: Expectations, cluster: Cluster, service: Service, port: ServicePort, family: IPFamily
) -> None:
    backends = backends_anywhere(cluster, service, port, family)
    strangers = sampling.clients(cluster, backends)
    own = backends if sampling.is_small(cluster) else sampling.spread(backends, 1)
    for index, pod in enumerate((*strangers, *own)):
        if pod.address(family) is None:
            continue
        node = node_of(cluster, pod)
        usable, refuses = internal(cluster, service, port, node, family)
        is_thorough = sampling.is_small(cluster) or index == 0 or pod in own
        # only many requests make sure that the pod's own turn comes
        is_own = is_thorough and any(backend.pod is pod for backend in usable)
        kind = "hairpin" if is_own else "cluster-ip"
        what = Promised(
            usable,
            lambda backend, pod=pod: through_cluster_ip(cluster, pod, backend),  # type: ignore[misc]
            refuses=refuses,
            why=_no_backends_reason(service, node, refuses),
            is_thorough=is_thorough,
            note=_pod_note(cluster, service, is_own=is_own),
        )
        target = port_label(service, port)
        title = Title("pod-to-service", kind, label(pod), target, suffix(cluster, family))
        add(found, cluster, title, _cluster_ip(service, port, family, of_pod(pod)), what)


def _pod_note(cluster: Cluster, service: Service, *, is_own: bool) -> str:
    if cluster.network.kube_proxy.masquerade_all:
        return "masqueradeAll hides the client"
    is_local = service.internal_traffic_policy is TrafficPolicy.LOCAL
    if is_local and cluster.network.kube_proxy.mode is ProxyMode.IPVS:
        return "IPVS can't drop: without a local endpoint it uses what it has, or refuses"
    if is_local:
        return "internalTrafficPolicy Local: this node's endpoints only"
    return "itself by hairpin, masqueraded" if is_own else ""


def _from_nodes(
    found: Expectations, cluster: Cluster, service: Service, port: ServicePort, family: IPFamily
) -> None:
    nodes = tuple(node for node in cluster.nodes if node.address(family) is not None)
    for node in sampling.spread(nodes, sampling.PER_SERVICE):
        usable, refuses = internal(cluster, service, port, node, family)
        what = Promised(
            usable,
            lambda backend, node=node: node_to_cluster_ip(cluster, node, backend),  # type: ignore[misc]
            refuses=refuses,
            why=_no_backends_reason(service, node, refuses),
            is_thorough=sampling.is_small(cluster),
        )
        target = port_label(service, port)
        title = Title("node-to-service", "cluster-ip", node.name, target, suffix(cluster, family))
        add(found, cluster, title, _cluster_ip(service, port, family, of_node(node)), what)


def _from_outside(
    found: Expectations, cluster: Cluster, service: Service, port: ServicePort, family: IPFamily
) -> None:
    for host in cluster.internet[:1]:
        if port.protocol is not Protocol.TCP or port is not service.ports[0]:
            continue
        if not any(address.version == family.version for address in host.addresses):
            continue
        if not sampling.is_small(cluster) and service is not cluster.services[0]:
            continue
        source = Location(LocationKind.INTERNET, host)
        target = port_label(service, port)
        title = Title(
            "internet-to-service", "unroutable", host.name, target, suffix(cluster, family)
        )
        step = blocked(_cluster_ip(service, port, family, source), NO_WAY)
        expected = f"no way in to {service.cluster_ip(family)}"
        found.checks.append(Check(title.id, title.path, source, target, expected, (step,)))


def _wrong_port(found: Expectations, cluster: Cluster) -> None:
    """One port that the first service doesn't have: the modes differ in what they do with it."""
    pods = sampling.one_per_node(cluster)
    candidates = [entry for entry in service_ports(cluster) if entry[1].protocol is Protocol.TCP]
    if not pods or not candidates:
        return
    service, port, family = candidates[0]
    taken = {p.port for p in service.ports}
    number = next(n for n in range(port.port + 1, 65_536) if n not in taken)
    door = replace(_cluster_ip(service, port, family, of_pod(pods[0])), number=number)
    if cluster.network.kube_proxy.mode is ProxyMode.IPTABLES:
        step = blocked(door, NO_WAY)
        expected = "no answer: in iptables mode no rule matches, and it leaves by the default route"
    else:
        step = refused(door)
        mode = cluster.network.kube_proxy.mode
        expected = f"refused: {mode} mode rejects ports of a cluster IP that no service has"
    target = f"{label(service)}:{number}"
    title = Title("pod-to-service", "wrong-port", label(pods[0]), target)
    found.checks.append(Check(title.id, title.path, door.source, target, expected, (step,)))


def _headless(found: Expectations, cluster: Cluster) -> None:
    for service in cluster.services:
        if not service.cluster_ips:
            reason = "it has no address: only DNS leads to its pods, and the lab has none"
            found.skips.append(Skip(label(service), reason))


def _expiry(
    found: Expectations, cluster: Cluster, service: Service, port: ServicePort, family: IPFamily
) -> None:
    """Affinity ends after its timeout: the choice is made anew. Needs waiting, so a short one."""
    if service.session_affinity is not SessionAffinity.CLIENT_IP:
        return
    what = f"{port_label(service, port)}: end of the session affinity"
    backends = backends_anywhere(cluster, service, port, family)
    clients = sampling.spread(
        [pod for pod in sampling.workloads(cluster) if pod.address(family)], sampling.FULL_MESH
    )
    reason = _cannot_expire(cluster, service, port, len(backends), clients)
    if reason:
        found.skips.append(Skip(what, reason))
        return
    seconds = service.session_affinity_timeout
    rounds = math.ceil(math.log(MISS) / (-len(clients) * math.log(len(backends))))
    if rounds * (seconds + 1) > EXPIRY_BUDGET:
        found.skips.append(Skip(what, f"{rounds} waits of {seconds} s would take too long"))
        return
    first, *others = (of_pod(pod) for pod in clients)
    asked = AffinityExpiry(
        str(service.cluster_ip(family)), port.port, seconds, rounds, tuple(others)
    )
    target = port_label(service, port)
    title = Title(
        "pod-to-service", "affinity-expires", first.label, target, suffix(cluster, family)
    )
    expected = (
        f"after {seconds} s of silence the backend is chosen anew:"
        f" {len(clients)} clients, up to {rounds} rounds, one of them must move"
    )
    found.checks.append(Check(title.id, title.path, first, target, expected, (Step(asked),)))


def _cannot_expire(
    cluster: Cluster, service: Service, port: ServicePort, backends: int, clients: tuple[Pod, ...]
) -> str:
    if port.protocol is not Protocol.TCP:
        return "tried over TCP only"
    if backends < 2 or not clients or service.internal_traffic_policy is TrafficPolicy.LOCAL:
        return "it takes two backends to see a change"
    if cluster.network.kube_proxy.mode is ProxyMode.IPVS:
        return "IPVS keeps a session while one of its connections is in TIME_WAIT (120 s)"
    if service.session_affinity_timeout > AFFINITY_PATIENCE:
        return f"it ends after {service.session_affinity_timeout} s: not waited for"
    return ""
