"""Says in plain words what a failed connection means, and what to look at. Pure.

The kinds of failure tell causes apart: a refusal comes from somebody who is there, silence from a
drop or a lost way back, "unreachable" from a routing table. Which backends failed tells more: all
those of one node, the client itself, those beside it. Source: the table of failure modes that was
measured in real netns (hairpin off, bridge-nf-call-iptables=0, ip_forward=0, missing routes, …).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.kinds.networking import ProxyMode
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort, TrafficPolicy
from kns.probe.addresses import is_address
from kns.probe.ask.curl import CONNECTED_THEN_SILENT
from kns.probe.diagnose_outside import DRIFT, is_proxied, no_way_back, nobody_has, outside
from kns.probe.model import Attempt, overall
from kns.probe.policy import why_denied
from kns.probe.target import Target
from kns.promise.endpoints import UsableEndpoints, serves_http
from kns.promise.flow import Backend, Flow, Outcome
from kns.promise.location import Location, LocationKind, label
from kns.promise.lookup import Lookup


def explain(
    cluster: Cluster,
    source: Location,
    target: Target,
    attempts: Sequence[Attempt],
    *,
    is_echo: bool = False,
) -> str:
    """What the failure means and what to look at; empty if there is none."""
    if kept_out := _kept_out(cluster, source, target, attempts, is_echo=is_echo):
        return kept_out
    outcome = overall(tuple(attempt.outcome for attempt in attempts))
    match outcome:
        case Outcome.CONNECTED:
            return ""
        case Outcome.DNS:
            return _dns(source, target)
        case Outcome.OTHER:
            if target.service is not None and is_proxied(cluster, target):
                return _service(cluster, source, target, attempts)
            details = sorted({attempt.detail for attempt in attempts if attempt.detail})
            return "; ".join(details[:2]) or "curl failed in a way of its own"
        case Outcome.REFUSED | Outcome.TIMEOUT | Outcome.UNREACHABLE:
            return _failure(cluster, source, target, attempts)


def _kept_out(
    cluster: Cluster,
    source: Location,
    target: Target,
    attempts: Sequence[Attempt],
    *,
    is_echo: bool,
) -> str:
    """The network policy that silence is promised by; else nothing."""
    silent = any(attempt.outcome in (Outcome.TIMEOUT, Outcome.OTHER) for attempt in attempts)
    if not silent or not is_address(target.address):
        return ""
    port = None if is_echo else target.port
    flow = Flow(source, ip_address(target.address), port, target.protocol)
    return why_denied(cluster, flow)


def _failure(
    cluster: Cluster, source: Location, target: Target, attempts: Sequence[Attempt]
) -> str:
    if any(attempt.detail == CONNECTED_THEN_SILENT for attempt in attempts):
        return (
            "connected, then silence: small packets pass and big ones do not (an MTU larger than"
            " the way's), or the answers take another way than the questions"
        )
    if target.service is not None and target.service.cluster_ips:
        return _service(cluster, source, target, attempts)
    return _plain(cluster, source, target, overall(tuple(a.outcome for a in attempts)))


def _dns(source: Location, target: Target) -> str:
    name = target.hostname or target.text
    return (
        f"{name} does not resolve from {source.label}: kns dns {source.explicit} {name} shows every"
        " query and its answer"
    )


# -- straight to a pod, a node or the outside ------------------------------------------------------


def _plain(cluster: Cluster, source: Location, target: Target, outcome: Outcome) -> str:
    if nobody := nobody_has(cluster, target):
        return nobody
    if outcome is Outcome.REFUSED:
        return _nobody_listens(target)
    in_host = isinstance(target.item, Pod) and target.item.host_network
    if (
        source.kind is LocationKind.INTERNET
        and not in_host
        and target.kind
        in (
            LocationKind.POD,
            LocationKind.SERVICE,
        )
    ):
        what = "a pod's address" if target.kind is LocationKind.POD else "a cluster IP"
        return (
            f"as it must be: {what} means nothing outside the cluster; use a NodePort,"
            " a LoadBalancer or an Ingress"
        )
    if outcome is Outcome.UNREACHABLE:
        return (
            f"a routing table has no way to {target.host}: ip route get {target.host}"
            f" (kns exec {source.explicit} -- …), on the node too; {DRIFT}"
        )
    if target.kind is LocationKind.POD and isinstance(target.item, Pod):
        return _silent_pod(cluster, source, target.item)
    if target.kind is LocationKind.INTERNET and source.kind is LocationKind.POD:
        pod = source.item
        if isinstance(pod, Pod) and is_address(target.address):
            return no_way_back(cluster, pod, ip_address(target.address))
    return f"nothing came back from {target.host}: dropped on the way or on the way back; {DRIFT}"


def _nobody_listens(target: Target) -> str:
    if isinstance(target.item, Pod):
        ports = [
            f"{port.port}{f' ({port.name or container.name})'}"
            for container in target.item.containers
            for port in container.ports
            if port.protocol is target.protocol
        ]
        name = label(target.item)
        if any(port.split()[0] == str(target.port) for port in ports):
            return (
                f"{name} is there, but nothing listens on port {target.port}: does the lab's agent"
                " run? kns status tells, kns up starts it"
            )
        has = f"it listens on {', '.join(ports)}" if ports else "it listens on no port"
        return f"{name} is there, but nothing listens on port {target.port}; {has}"
    if target.kind is LocationKind.NODE:
        return (
            f"{target.label} is there, but nothing listens on port {target.port}, and no service"
            " has that node port"
        )
    return f"{target.label} is there, but nothing listens on port {target.port}"


def _silent_pod(cluster: Cluster, source: Location, pod: Pod) -> str:
    near = source.item.node if isinstance(source.item, Pod) else source.label
    if near == pod.node:
        return (
            f"silence between neighbours on {pod.node}: is a link of {label(pod)} or cni0 down, or"
            " does a rule drop it (bridged packets pass filter FORWARD too when"
            f" bridge-nf-call-iptables is 1)? {DRIFT}"
        )
    cidrs = ", ".join(map(str, Lookup(cluster).node_of(pod).pod_cidrs))
    return (
        f"silence on the way to {pod.node}: look for the route to {cidrs} on {near} and the one"
        f" back, ip_forward on both, filter FORWARD; {DRIFT}"
    )


# -- services --------------------------------------------------------------------------------------


def _service(
    cluster: Cluster, source: Location, target: Target, attempts: Sequence[Attempt]
) -> str:
    service = target.service
    node = _entry(cluster, source, target)
    port = _port(service, target) if service else None
    if service is None or node is None or port is None:
        return _no_such_port(cluster, target)
    family = IPFamily.IPV6 if ":" in target.address else IPFamily.IPV4
    found = Lookup(cluster).endpoints(service, port, family).at(node)
    outcome = overall(tuple(attempt.outcome for attempt in attempts))
    if found.is_empty:
        return _no_endpoints(cluster, service, node)
    if target.kind is LocationKind.SERVICE and (
        source.kind is LocationKind.INTERNET or is_proxied(cluster, target)
    ):
        return outside(cluster, source, target, service, attempts)
    if _wants_local(source, target, service) and not found.local:
        return _no_local(service, target, node, found)
    if outcome is Outcome.REFUSED:
        return _refused_service(service, port, node, found)
    if outcome is Outcome.UNREACHABLE:
        return (
            f"{_where(source)} has no route towards {target.address}: a node needs a default route,"
            " even for addresses that only exist in its rules"
        )
    return _silent_service(cluster, source, (service, node, found.cluster), attempts)


def _entry(cluster: Cluster, source: Location, target: Target) -> Node | None:
    """The node whose proxy decides: the one addressed, else the client's own."""
    if isinstance(target.item, Node):
        return target.item
    if isinstance(source.item, Node):
        return source.item
    if isinstance(source.item, Pod):
        return Lookup(cluster).node_of(source.item)
    return cluster.nodes[0] if cluster.nodes else None


def _port(service: Service, target: Target) -> ServicePort | None:
    for port in service.ports:
        number = port.node_port if target.kind is LocationKind.NODE else port.port
        if number == target.port and port.protocol is target.protocol:
            return port
    return None


def _no_such_port(cluster: Cluster, target: Target) -> str:
    mode = cluster.network.kube_proxy.mode
    ports = ", ".join(
        f"{port.port}/{port.protocol}" for port in (target.service.ports if target.service else ())
    )
    what = (
        "in iptables mode no rule matches and the packet leaves by the default route"
        if mode is ProxyMode.IPTABLES
        else f"{mode} mode rejects it"
    )
    return f"{target.label} has no port {target.port}/{target.protocol} ({ports}): {what}"


def _no_endpoints(cluster: Cluster, service: Service, node: Node) -> str:
    name = label(service)
    selected = [
        pod
        for pod in cluster.pods
        if service.selector
        and pod.namespace == service.namespace
        and service.selector.items() <= dict(pod.labels).items()
    ]
    if service.selector is None:
        why = "it has no selector, and no EndpointSlice names a ready endpoint"
    elif not selected:
        text = ",".join(f"{key}={value}" for key, value in service.selector.items())
        why = f"its selector {text} matches no pod in namespace {service.namespace}"
    elif not any(pod.ready for pod in selected):
        why = f"{', '.join(label(pod) for pod in selected[:3])} match but are not ready"
    else:
        why = "its targetPort fits no port of the pods it selects"
    verb = {
        ProxyMode.IPTABLES: "kube-proxy rejects",
        ProxyMode.NFTABLES: "kube-proxy rejects",
        ProxyMode.IPVS: "its virtual server has no real server",
    }[cluster.network.kube_proxy.mode]
    return f"{name} has no ready endpoints, so {verb} on {node.name}: {why} (kns get endpoints)"


def _wants_local(source: Location, target: Target, service: Service) -> bool:
    if target.kind is LocationKind.SERVICE:
        return service.internal_traffic_policy is TrafficPolicy.LOCAL
    is_outside = source.kind is LocationKind.INTERNET
    return is_outside and service.external_traffic_policy is TrafficPolicy.LOCAL


def _no_local(service: Service, target: Target, node: Node, found: UsableEndpoints) -> str:
    word = "internal" if target.kind is LocationKind.SERVICE else "external"
    nodes = sorted({backend.node for backend in found.cluster if backend.node})
    have = f"; {', '.join(nodes)} {'has' if len(nodes) == 1 else 'have'} some" if nodes else ""
    return (
        f"{word}TrafficPolicy of {label(service)} is Local and {node.name} has no ready endpoint:"
        f" dropped on purpose{have}"
    )


def _refused_service(
    service: Service, port: ServicePort, node: Node, found: UsableEndpoints
) -> str:
    ports = sorted({f"{backend.name}:{backend.port}" for backend in found.cluster})
    deaf = [
        f"{backend.name}:{backend.port}"
        for backend in found.cluster
        if backend.pod is not None
        and backend.port is not None
        and serves_http(backend.pod, backend.port, port.protocol) is False
    ]
    if deaf:
        return (
            f"{label(service)} leads to {', '.join(deaf[:4])}, where no container listens: is its"
            " targetPort right? Kubernetes doesn't check it"
        )
    return (
        f"{label(service)} has endpoints ({', '.join(ports[:4])}), yet somebody refused: nothing"
        f" listens there, or {node.name}'s rules are gone (a node port nobody catches is refused);"
        f" kns rules {node.name} {service.name}"
    )


def _where(source: Location) -> str:
    return source.label if source.kind is not LocationKind.POD else f"{source.label}'s node"


def _silent_service(
    cluster: Cluster,
    source: Location,
    where: tuple[Service, Node, tuple[Backend, ...]],
    attempts: Sequence[Attempt],
) -> str:
    """Which backends never answered tells the causes apart, when some did."""
    service, node, backends = where
    answered = {attempt.backend for attempt in attempts if attempt.backend}
    silent = [backend for backend in backends if backend.name not in answered]
    names = ", ".join(backend.name for backend in silent[:4])
    if silent and all(backend.pod is source.item for backend in silent):
        return (
            f"only {names} itself never answers: hairpin. Its bridge port must have hairpin on, and"
            " the rules must masquerade a pod that reaches itself"
        )
    if not answered:
        return (
            f"{label(service)} has endpoints, but nothing came back: are {node.name}'s rules there"
            f" (kns rules {node.name} {service.name}), ip_forward and the routes to the endpoints'"
            f" nodes? {DRIFT}"
        )
    if silent and source.kind is LocationKind.POD and all(b.node == node.name for b in silent):
        return (
            f"the backends on the client's own node ({names}) never answer: with"
            f" bridge-nf-call-iptables=0 on {node.name} their answers cross the bridge without"
            " being translated back"
        )
    nodes = sorted({backend.node for backend in silent})
    if len(nodes) == 1:
        cidrs = next(n.pod_cidrs for n in cluster.nodes if n.name == nodes[0])
        return (
            f"the backends on {nodes[0]} ({names}) never answer: look for the route to"
            f" {', '.join(map(str, cidrs))} on {node.name}, and the one back"
        )
    return f"some connections are lost ({names or 'of every backend'}): {DRIFT}"
