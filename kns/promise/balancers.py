"""What Kubernetes and a load balancer promise of a LoadBalancer Service's address. Pure.

    mode    enters the cluster at              the pod sees (Cluster / Local)
    l2      one node, elected as MetalLB does  that node's address / the client
    bgp     any eligible node, by flow         its address / the client
    proxy   any node that passes its check     the node's address / the proxy: a client of its own

Eligible: with policy Local the nodes that have an endpoint, with Cluster all of them; none if the
service has no endpoint at all, and then nobody answers for the address. Written from MetalLB's and
the Kubernetes documentation and apart from what kns runs, so that the two can disagree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster, InternetHost, ProxyMode
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint
from kns.kinds.node import Node
from kns.kinds.service import Service, ServicePort, TrafficPolicy
from kns.promise import sampling
from kns.promise.addresses import cloud_lb_addresses
from kns.promise.check import Expectations, Skip
from kns.promise.endpoints import Backend, Promise, promise
from kns.promise.external import balancer_mode, for_outsider, ranges_of
from kns.promise.flow import Outcome
from kns.promise.location import Location, LocationKind
from kns.promise.pods import NO_WAY, of_node, of_pod
from kns.promise.service_steps import Door, Promised, Title, add, addresses_seen, port_label
from kns.promise.services import is_cluster_dns, service_ports
from kns.promise.sources import leaving

KIND = "load-balancer"
#: a proxy has taken the connection before it can say no: it is closed without an answer
_CLOSED = (Outcome.OTHER,)


@dataclass(frozen=True, slots=True)
class _Front:
    """A LoadBalancer address as the world finds it."""

    service: Service
    port: ServicePort
    family: IPFamily
    address: IPAddress
    mode: str

    @property
    def target(self) -> str:
        """How a report names it."""
        return f"{self.address}:{self.port.port} ({port_label(self.service, self.port)})"

    @property
    def is_local(self) -> bool:
        """True for externalTrafficPolicy Local."""
        return self.service.external_traffic_policy is TrafficPolicy.LOCAL


def balancer_checks(cluster: Cluster) -> Expectations:
    """The checks of every address that the lab's load balancer gave out."""
    found = Expectations()
    for service, port, family in service_ports(cluster):
        if is_cluster_dns(cluster, service):
            continue
        for entry in service.load_balancer_ingress:
            if entry.ip is None or entry.ip.version != family.version:
                continue
            mode = balancer_mode(cluster, entry)
            front = _Front(service, port, family, entry.ip, mode)
            reason = _cannot_tell(cluster, front) if mode else ""
            if reason:
                found.skips.append(Skip(f"internet to {front.target}", reason))
            elif mode:
                _from_internet(found, cluster, front)
                if mode == "proxy":
                    _from_inside(found, cluster, front)
    return found


def _cannot_tell(cluster: Cluster, front: _Front) -> str:
    options = cluster.network.kube_proxy
    if front.mode == "l2" and options.mode is ProxyMode.IPVS and not options.ipvs.strict_arp:
        return "without strictARP every node answers ARP for it, as its kube-ipvs0 has it"
    return ""


def seen_by_backends(
    cluster: Cluster, service: Service, port: ServicePort, address: IPAddress, client: IPAddress
) -> tuple[str, ...]:
    """Every address under which a backend of a balanced service may see that client.

    Nothing where it can't be told, or where nobody answers.
    """
    entry = next((item for item in service.load_balancer_ingress if item.ip == address), None)
    mode = balancer_mode(cluster, entry) if entry is not None else ""
    front = _Front(service, port, IPFamily.of(address), address, mode)
    if not mode or _cannot_tell(cluster, front):
        return ()
    return addresses_seen(_for_client(cluster, front, client))


# -- who takes the packets -------------------------------------------------------------------------


def entries(cluster: Cluster, front: _Front) -> tuple[Node, ...]:
    """The nodes by which the address is entered."""
    nodes = tuple(node for node in cluster.nodes if node.address(front.family) is not None)
    if front.mode == "proxy":
        if not front.is_local:
            return nodes
        return tuple(n for n in nodes if _promise(cluster, front, n).local_ready)
    able = {
        endpoint.node_name
        for item in cluster.endpoint_slices
        if (item.namespace, item.service) == (front.service.namespace, front.service.name)
        for endpoint in item.endpoints
        if _can_serve(endpoint)
    }
    chosen = tuple(n for n in nodes if able and (not front.is_local or n.name in able))
    if front.mode == "bgp" or not chosen:
        return chosen
    return (min(chosen, key=lambda node: _rank(node, front.address)),)


def _can_serve(endpoint: Endpoint) -> bool:
    """MetalLB counts what is ready, and what ends and serves until then."""
    return endpoint.ready is not False or endpoint.serving is True


def _rank(node: Node, address: IPAddress) -> str:
    return hashlib.sha256(f"{node.name}#{address}".encode()).hexdigest()


def _promise(cluster: Cluster, front: _Front, node: Node) -> Promise:
    return promise(cluster, front.service, front.port, node, front.family)


# -- from outside ----------------------------------------------------------------------------------


def _from_internet(found: Expectations, cluster: Cluster, front: _Front) -> None:
    for host, client in _hosts(cluster, front):
        what = _for_client(cluster, front, client)
        _add(found, cluster, front, Location(LocationKind.INTERNET, host), what)


def _hosts(cluster: Cluster, front: _Front) -> Iterator[tuple[InternetHost, IPAddress]]:
    """The first host; where source ranges tell hosts apart, one of each side."""
    ranges = ranges_of(front.service, front.family)
    sides: set[bool] = set()
    for host in cluster.internet:
        client = next((a for a in host.addresses if a.version == front.family.version), None)
        if client is None:
            continue
        side = not ranges or any(client in cidr for cidr in ranges)
        if side not in sides:
            sides.add(side)
            yield host, client


def _from_inside(found: Expectations, cluster: Cluster, front: _Front) -> None:
    """A proxy's address is no short cut: pods and nodes leave the cluster and come in again."""
    for pod in sampling.spread(sampling.one_per_node(cluster), sampling.PER_SERVICE):
        own = pod.address(front.family)
        client = ip_address(leaving(cluster, pod, front.address))
        if own is None:
            continue
        what = _for_client(cluster, front, client)
        if client == own:
            why = f"{own} leaves untranslated, and the proxy's answer finds no way back"
            what = Promised((), what.seen, refuses=False, silence=NO_WAY, why=why)
        _add(found, cluster, front, of_pod(pod), what)
    for node in sampling.spread(cluster.nodes, sampling.PER_SERVICE):
        address = node.address(front.family)
        if address is not None:
            _add(found, cluster, front, of_node(node), _for_client(cluster, front, address))


def _add(
    found: Expectations, cluster: Cluster, front: _Front, source: Location, what: Promised
) -> None:
    path = f"{source.kind}-to-service"
    title = Title(path, KIND, source.label, front.target)
    place = str(front.address)
    door = Door(front.service, front.port, front.family, source, place, front.port.port)
    add(found, cluster, title, door, what)


# -- what a client is promised ---------------------------------------------------------------------


def _for_client(cluster: Cluster, front: _Front, client: IPAddress) -> Promised:
    """The promise to a client that reaches the balancer under the address `client`."""
    if front.mode == "proxy" and not _has_listener(front):
        why = "the proxy forwards TCP to node ports"
        return Promised((), _nobody, why=why)
    chosen = entries(cluster, front)
    ranges = ranges_of(front.service, front.family)
    if ranges and not any(client in cidr for cidr in ranges) and chosen:
        return _kept_out(front, client)
    outer = proxy_address(cluster, front.family) if front.mode == "proxy" else client
    door = (front.service, front.port, front.family)
    ways = {node.name: for_outsider(cluster, door, node, str(outer)) for node in chosen}
    # by address and port: a pod's labels can't be hashed
    by_place = {(b.address, b.port): b for way in ways.values() for b in way.backends}
    backends = tuple(by_place.values())
    if not backends:
        return _unanswered(front)

    def seen(backend: Backend) -> tuple[str, ...]:
        found = (_one(way, backend) for way in ways.values() if backend in way.backends)
        return tuple(dict.fromkeys(found))

    shares = [
        sum(1 / len(w.backends) for w in ways.values() if backend in w.backends)
        for backend in backends
    ]
    return Promised(
        backends,
        seen,
        is_thorough=sampling.is_small(cluster),
        is_uneven=max(shares) - min(shares) > 1e-9,
        # each node keeps its own account of who sticks to what, and flows are spread over nodes
        sticks=front.mode != "bgp" or len(chosen) < 2,
        note=_note(front, chosen),
    )


def proxy_address(cluster: Cluster, family: IPFamily) -> IPAddress:
    """The address under which the proxy on cloud-lb connects to nodes."""
    return next(a for a in cloud_lb_addresses(cluster) if a.version == family.version)


def _has_listener(front: _Front) -> bool:
    return front.port.protocol is Protocol.TCP and bool(front.port.node_port)


def _nobody(_: Backend) -> str:
    return ""


def _one(way: Promised, backend: Backend) -> str:
    seen = way.seen(backend)
    return seen if isinstance(seen, str) else seen[0]


def _kept_out(front: _Front, client: IPAddress) -> Promised:
    if front.mode == "proxy":
        why = f"loadBalancerSourceRanges leaves out {client}: the proxy closes the connection"
        return Promised((), _nobody, refuses=False, silence=_CLOSED, why=why)
    why = f"loadBalancerSourceRanges leaves out {client}: dropped"
    return Promised((), _nobody, refuses=False, why=why)


def _unanswered(front: _Front) -> Promised:
    name = port_label(front.service, front.port)
    match front.mode:
        case "proxy":
            why = f"{name} has no ready endpoint: the proxy closes the connection"
            return Promised((), _nobody, refuses=False, silence=_CLOSED, why=why)
        case "bgp":
            why = f"{name} has no ready endpoint, so no node announces {front.address}"
            return Promised((), _nobody, refuses=False, silence=NO_WAY, why=why)
        case _:
            asks = _asking(front)
            # a router that remembers who answered last still finds kube-proxy's REJECT there
            why = f"{name} has no ready endpoint, so no node answers {asks} for {front.address}"
            silence = (*NO_WAY, Outcome.REFUSED)
            return Promised((), _nobody, refuses=False, silence=silence, why=why)


def _note(front: _Front, chosen: Sequence[Node]) -> str:
    names = ", ".join(node.name for node in chosen)
    match front.mode:
        case "proxy":
            return f"by the proxy to {names}: it is the client that pods see"
        case "bgp":
            policy = "Local keeps the client" if front.is_local else "Cluster hides the client"
            return f"announced by {names}; {policy}"
        case _:
            policy = "Local keeps the client" if front.is_local else "Cluster hides the client"
            return f"{names} answers {_asking(front)}; {policy}"


def _asking(front: _Front) -> str:
    return "ARP" if front.family is IPFamily.IPV4 else "NDP"
