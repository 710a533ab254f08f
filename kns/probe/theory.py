"""What may be the reason of a failure that nothing explains: no promise and no drift. Pure.

The kinds of failure tell causes apart: a refusal comes from somebody who is there, silence from a
drop or a lost way back, "unreachable" from a routing table. Which backends failed tells more: all
those of one node, the client itself, those beside it. Source: the table of failure modes that was
measured in real netns (hairpin off, bridge-nf-call-iptables=0, ip_forward=0, missing routes, …).
"""

from __future__ import annotations

from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from kns.probe.ask.curl import CONNECTED_THEN_SILENT
from kns.probe.failed_probe import FailedProbe
from kns.promise.balancer import balancer_of
from kns.promise.endpoints import is_dns
from kns.promise.flow import Backend, Flow, Outcome, Promise, Stage
from kns.promise.location import LocationKind, label
from kns.promise.masquerade import gateway_for


def theory(found: FailedProbe) -> str:
    """What fits the outcome; never empty."""
    source, target, promised = found.source, found.target, found.promised
    details = sorted({attempt.detail for attempt in found.attempts if attempt.detail})
    if promised is None or found.outcome is Outcome.DNS:
        name = target.hostname or target.text
        return (
            f"{name} does not resolve from {source.label}: kns dns {source.explicit} {name} shows"
            " every query and its answer"
        )
    stop = promised.stop
    if stop is not None and stop.outcomes:
        wanted = " or ".join(stop.outcomes)
        return f"{wanted} was promised ({stop.reason}), and {found.outcome} came"
    at_end = stop is not None and stop.stage is Stage.DELIVER
    if at_end and (own := _own_program(found, promised)):
        return own
    if CONNECTED_THEN_SILENT in details:
        return (
            "connected, then silence: small packets pass and big ones do not (an MTU larger than"
            " the way's), or the answers take another way than the questions"
        )
    if balanced := _balanced(found, promised):
        return balanced
    if found.outcome is Outcome.OTHER:
        return "; ".join(details[:2]) or "curl failed in a way of its own"
    if promised.frontend is not None and found.node is not None:
        return _service(found, promised.frontend.service, found.node)
    return _straight(found, promised.flow)


def _own_program(found: FailedProbe, promised: Promise) -> str:
    """What a program may do that kns knows nothing of but its command."""
    pods = [answer.backend.pod for answer in promised.answers if answer.backend.pod is not None]
    names = ", ".join(label(pod) for pod in pods[:3])
    if not pods:
        return ""
    if all(map(is_dns, pods)):
        name = f"kube-dns.kube-system.svc.{found.lookup.cluster.network.dns.domain}"
        return (
            f"a DNS server ({names}) was asked something else than DNS: kns dns"
            f" {found.source.explicit} {name} asks for a name"
        )
    if found.outcome is Outcome.REFUSED:
        ports = {answer.backend.port for answer in promised.answers}
        number = ", ".join(map(str, sorted(port for port in ports if port is not None)))
        return f"{names} runs a program of its own, and nothing there listens on port {number}"
    is_connected = any(a.detail == CONNECTED_THEN_SILENT for a in found.attempts)
    if is_connected or found.outcome is Outcome.OTHER:
        return f"{names} took the connection, and its own program did not answer HTTP"
    if found.target.protocol is Protocol.UDP and found.outcome is Outcome.TIMEOUT:
        return f"{names} runs a program of its own, and nothing answered the datagram"
    return ""


# -- by a load balancer ----------------------------------------------------------------------------


def _balanced(found: FailedProbe, promised: Promise) -> str:
    """Why the way by the lab's load balancer may fail; empty: it was not taken."""
    cluster, flow = found.lookup.cluster, promised.flow
    balancer = balancer_of(cluster, flow, promised.frontend)
    is_outside = found.source.kind is LocationKind.INTERNET
    if balancer is None or not (is_outside or balancer.mode == "proxy"):
        return ""
    address, service = flow.destination, balancer.frontend.service
    lost = "some connections are lost: " if any(a.backend for a in found.attempts) else ""
    status = f"kns status says who takes {address} now"
    fabric = f"ip netns exec kns.{cluster.name}.fabric"
    match balancer.mode:
        case "l2":
            return (
                f"{lost}the node that answers {balancer.asking} for {address} does not pass it on,"
                f" or nobody answers: {status}; {fabric} ip neigh show {address} is what the router"
                " believes"
            )
        case "bgp":
            unreachable = found.outcome is Outcome.UNREACHABLE
            why = "no node announces it" if unreachable else "a node that announces it"
            rest = "" if unreachable else " does not pass it on"
            return f"{lost}{why}{rest}: {status}; {fabric} ip route show {address} is the router's"
        case _:
            checked = "healthCheckNodePort" if service.health_check_node_port else "10256/healthz"
            return (
                f"{lost}the proxy on cloud-lb found no node that passes its health check"
                f" ({checked}), or none that answers at its node port: {status}"
            )


# -- by a service's rules --------------------------------------------------------------------------


def _service(found: FailedProbe, service: Service, node: Node) -> str:
    assert found.promised is not None  # noqa: S101 - it has a frontend
    name, rules = label(service), f"kns rules {node.name} {service.name}"
    backends = tuple(answer.backend for answer in found.promised.answers)
    places = sorted({f"{backend.name}:{backend.port}" for backend in backends})
    if found.outcome is Outcome.REFUSED:
        return (
            f"{name} has endpoints ({', '.join(places[:4])}), yet somebody refused: nothing listens"
            f" there, or no rule of {node.name} catches it ({rules})"
        )
    if found.outcome is Outcome.UNREACHABLE:
        where = found.source.label + ("'s node" if isinstance(found.source.item, Pod) else "")
        return (
            f"{where} has no route towards {found.target.host}: a node needs a default route, even"
            " for addresses that only exist in its rules"
        )
    return _silent_service(found, name, node, backends, rules)


def _silent_service(
    found: FailedProbe, name: str, node: Node, backends: tuple[Backend, ...], rules: str
) -> str:
    """Which backends never answered tells the causes apart, when some did."""
    answered = {attempt.backend for attempt in found.attempts if attempt.backend}
    silent = [backend for backend in backends if backend.name not in answered]
    names = ", ".join(backend.name for backend in silent[:4])
    if silent and all(backend.pod is found.source.item for backend in silent):
        return (
            f"only {names} itself never answers: hairpin. Its bridge port must have hairpin on, and"
            " the rules must masquerade a pod that reaches itself"
        )
    if not answered:
        return (
            f"{name} has endpoints, but nothing came back: do {node.name}'s rules catch it"
            f" ({rules}), does another rule drop it, is there a way to the endpoints and back?"
        )
    is_pod = isinstance(found.source.item, Pod)
    if silent and is_pod and all(backend.node == node.name for backend in silent):
        return (
            f"the backends on the client's own node ({names}) never answer: with"
            f" bridge-nf-call-iptables=0 on {node.name} their answers cross the bridge without"
            " being translated back"
        )
    nodes = sorted({backend.node for backend in silent})
    if len(nodes) == 1 and nodes[0] in found.lookup.nodes:
        cidrs = ", ".join(map(str, found.lookup.nodes[nodes[0]].pod_cidrs))
        return (
            f"the backends on {nodes[0]} ({names}) never answer: look for the route to {cidrs} on"
            f" {node.name}, and the one back"
        )
    return f"some connections are lost ({names or 'of every backend'})"


# -- straight to a pod, a node or the outside ------------------------------------------------------


def _straight(found: FailedProbe, flow: Flow) -> str:
    source, target, address = found.source, found.target, flow.destination
    if found.outcome is Outcome.REFUSED:
        there = f"{target.label} is there, but nothing listens on port {target.port}"
        if isinstance(target.item, Pod):
            return f"{there}: does the lab's agent run? kns status tells, kns up starts it"
        return there
    if found.outcome is Outcome.UNREACHABLE:
        return (
            f"a routing table has no way to {address}: ip route get {address}"
            f" (kns exec {source.explicit} -- …), on the node too"
        )
    if isinstance(target.item, Pod):
        return _silent_pod(found, target.item)
    if target.kind is LocationKind.INTERNET and isinstance(source.item, Pod):
        return _no_way_back(found, source.item, flow)
    return f"nothing came back from {address}: dropped on the way or on the way back"


def _silent_pod(found: FailedProbe, pod: Pod) -> str:
    near = found.home.name if found.home is not None else found.source.label
    if near == pod.node:
        return (
            f"silence between neighbours on {pod.node}: is a link of {label(pod)} or cni0 down, or"
            " does a rule drop it (bridged packets pass filter FORWARD too when"
            " bridge-nf-call-iptables is 1)?"
        )
    cidrs = ", ".join(map(str, found.lookup.node_of(pod).pod_cidrs))
    return (
        f"silence on the way to {pod.node}: look for the route to {cidrs} on {near} and the one"
        " back, ip_forward on both, filter FORWARD"
    )


def _no_way_back(found: FailedProbe, pod: Pod, flow: Flow) -> str:
    gateway = gateway_for(found.lookup, pod, flow.destination)
    if gateway is not None:
        return (
            f"{label(pod)} leaves by the egress gateway {gateway.name}: is its eth0 up, has"
            f" {pod.node} its rules and routes (ip rule, ip route show table all), and does"
            f" {gateway.name} masquerade (nat EGRESS-GATEWAY)?"
        )
    return (
        "no answer from outside: without masquerading (nat POSTROUTING on the pod's node) nobody"
        " knows the way back to a pod; is ip_forward on?"
    )
