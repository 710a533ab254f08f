"""What Kubernetes promises of a service's doors to the outside. Pure.

    door            where                          clients
    node port       every node's address           internet, pods, nodes, localhost
    external IP     wherever it is routed          pods, nodes; the internet if it is a node's
    load balancer   status.loadBalancer.ingress    pods, nodes (kube-proxy's short cut)
    health check    healthCheckNodePort            internet

externalTrafficPolicy Cluster: every endpoint, the client hidden by masquerading. Local: this
node's endpoints, the client's address kept; none here: dropped, so that a load balancer in front
learns by its health check and not by refusals. The node itself and its pods are inside already:
for them Local counts as Cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.cluster.model import Cluster, InternetHost, ProxyMode
from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import LoadBalancerIngress, Service, ServicePort, TrafficPolicy
from kns.promise import sampling
from kns.promise.check import Check, Expectations, Http, Skip, Step, Want
from kns.promise.endpoints import Backend, promise
from kns.promise.location import Location, LocationKind
from kns.promise.pods import NO_WAY, of_node, of_pod, suffix
from kns.promise.service_steps import Door, Promised, Title, add, port_label
from kns.promise.services import is_cluster_dns, service_ports
from kns.promise.sources import from_node, from_pod, is_local_traffic, node_of

LOCALHOST = ip_address("127.0.0.1")


def external_checks(cluster: Cluster) -> Expectations:
    """The checks of node ports, external IPs, balancer addresses and health checks."""
    found = Expectations()
    for service, port, family in service_ports(cluster):
        if is_cluster_dns(cluster, service):
            continue
        if port.node_port:
            _node_ports(found, cluster, service, port, family)
        for kind, address in _outer_addresses(service, family):
            _outer_address(found, cluster, service, port, (kind, address))
        if service.health_check_node_port and port is service.ports[0]:
            _health(found, cluster, service, port, family)
    return found


# -- what a client is promised ---------------------------------------------------------------------


def for_outsider(
    cluster: Cluster, door: tuple[Service, ServicePort, IPFamily], node: Node, client: str
) -> Promised:
    """The promise to a client that enters at `node` from outside under the address `client`."""
    service, port, family = door
    found = promise(cluster, service, port, node, family)
    if service.external_traffic_policy is TrafficPolicy.CLUSTER:
        return Promised(
            found.cluster,
            lambda backend: from_node(cluster, node, backend),
            note="Cluster hides the client",
        )
    if found.local or found.is_empty:
        return Promised(found.local, lambda _: client, note="Local keeps the client")
    why = f"externalTrafficPolicy Local and no ready endpoint on {node.name}: dropped"
    if cluster.network.kube_proxy.mode is ProxyMode.IPVS:
        if cluster.network.egress.masquerade:
            # kube-proxy masquerades nothing here, but flannel what comes to a pod from outside
            return Promised(
                found.cluster,
                lambda backend: from_node(cluster, node, backend),
                note="IPVS falls back to the other nodes' endpoints, flannel hides the client",
            )
        why = (
            f"externalTrafficPolicy Local and no ready endpoint on {node.name}: IPVS sends it to"
            " another node untranslated, and the answer comes from an address nobody asked"
        )
    return Promised((), lambda _: client, refuses=False, why=why)


def for_pod(cluster: Cluster, door: tuple[Service, ServicePort, IPFamily], pod: Pod) -> Promised:
    """The promise to a pod that uses an outer address of the service at its own node."""
    service, port, family = door
    node = node_of(cluster, pod)
    own = from_pod(pod, family)
    found = promise(cluster, service, port, node, family)
    if service.external_traffic_policy is TrafficPolicy.CLUSTER:
        return for_outsider(cluster, door, node, own)
    mode = cluster.network.kube_proxy.mode

    def seen(backend: Backend) -> str:
        return from_node(cluster, node, backend) if backend.pod is pod else own

    if mode is ProxyMode.IPVS:
        return Promised(found.local or found.cluster, seen)
    if not is_local_traffic(cluster, pod, family):
        outside = for_outsider(cluster, door, node, own)
        return Promised(outside.backends, seen, refuses=outside.refuses, why=outside.why)
    return Promised(found.cluster, seen, note="from inside, Local counts as Cluster")


def for_node(cluster: Cluster, door: tuple[Service, ServicePort, IPFamily], node: Node) -> Promised:
    """The promise to the node itself."""
    service, port, family = door
    found = promise(cluster, service, port, node, family)
    is_local = service.external_traffic_policy is TrafficPolicy.LOCAL
    return Promised(
        found.cluster,
        lambda backend: from_node(cluster, node, backend),
        note="from the node itself, Local counts as Cluster" if is_local else "",
    )


def _for_node_outside(
    cluster: Cluster, door: tuple[Service, ServicePort, IPFamily], node: Node
) -> Promised:
    """The promise to the node itself at an address that isn't its own: the modes differ."""
    service, port, family = door
    what = for_node(cluster, door, node)
    mode = cluster.network.kube_proxy.mode
    if not what.backends and mode is ProxyMode.IPTABLES:
        why = "iptables mode rejects what comes in or passes through, not what the node sends"
        return Promised((), what.seen, refuses=False, silence=NO_WAY, why=why)
    is_local = service.external_traffic_policy is TrafficPolicy.LOCAL
    found = promise(cluster, service, port, node, family)
    if is_local and not found.local and not found.is_empty and mode is ProxyMode.NFTABLES:
        why = f"nftables mode checks for endpoints on {node.name} before it translates: dropped"
        return Promised((), what.seen, refuses=False, why=why)
    return what


# -- node ports ------------------------------------------------------------------------------------


def _node_ports(
    found: Expectations, cluster: Cluster, service: Service, port: ServicePort, family: IPFamily
) -> None:
    door = (service, port, family)
    nodes = [node for node in cluster.nodes if node.address(family) is not None]
    tail = suffix(cluster, family)
    for host, client in _clients_outside(cluster, family):
        for node in sampling.spread(nodes, sampling.PER_SERVICE):
            title = Title("internet-to-service", "node-port", host.name, _door(node, port), tail)
            what = for_outsider(cluster, door, node, client)
            _at_node(
                found, cluster, title, (door, Location(LocationKind.INTERNET, host), node), what
            )
    for pod in sampling.spread(sampling.one_per_node(cluster), sampling.PER_SERVICE):
        node = node_of(cluster, pod)
        source = of_pod(pod)
        title = Title("pod-to-service", "node-port", source.label, _door(node, port), tail)
        _at_node(found, cluster, title, (door, source, node), for_pod(cluster, door, pod))
    if service.external_traffic_policy is TrafficPolicy.CLUSTER or not _is_ipvs(cluster):
        for node in sampling.spread(nodes, sampling.PER_SERVICE):
            title = Title("node-to-service", "node-port", node.name, _door(node, port), tail)
            what = for_node(cluster, door, node)
            _at_node(found, cluster, title, (door, of_node(node), node), what)
    if family is IPFamily.IPV4 and port.protocol is Protocol.TCP:
        _localhost(found, cluster, door, nodes[0])


def _door(node: Node, port: ServicePort) -> str:
    suffix_ = "" if port.protocol is Protocol.TCP else f"/{port.protocol.lower()}"
    return f"{node.name}:{port.node_port}{suffix_}"


def _at_node(
    found: Expectations,
    cluster: Cluster,
    title: Title,
    where: tuple[tuple[Service, ServicePort, IPFamily], Location, Node],
    what: Promised,
) -> None:
    (service, port, family), source, node = where
    address = node.address(family)
    if address is None:
        return
    what = replace(what, is_thorough=sampling.is_small(cluster) or _is_first(title, node, cluster))
    if not _serves_node_ports(cluster, address):
        what = Promised((), what.seen, why=f"nodePortAddresses leaves out {address}")
    door = Door(service, port, family, source, str(address), port.node_port)
    add(found, cluster, title, door, what)


def _is_first(title: Title, node: Node, cluster: Cluster) -> bool:
    """In a big lab one node's node port is tried until every backend has answered."""
    return title.path == "internet-to-service" and node is cluster.nodes[0]


def _serves_node_ports(cluster: Cluster, address: IPAddress) -> bool:
    chosen = cluster.network.kube_proxy.nodeport_addresses
    if not chosen:
        return True
    return any(address.version == cidr.version and address in cidr for cidr in chosen)


def _localhost(
    found: Expectations,
    cluster: Cluster,
    door: tuple[Service, ServicePort, IPFamily],
    node: Node,
) -> None:
    service, port, family = door
    options = cluster.network.kube_proxy
    source = of_node(node)
    target = f"localhost:{port.node_port}"
    title = Title("node-to-service", "localhost", node.name, target)
    what = for_node(cluster, door, node)
    reason = ""
    if options.mode is not ProxyMode.IPTABLES:
        reason = f"{options.mode} mode has no node ports on localhost"
    elif not options.localhost_nodeports:
        reason = "localhostNodePorts is off"
    elif not _serves_node_ports(cluster, LOCALHOST):
        reason = "nodePortAddresses leaves out 127.0.0.1"
    what = replace(what, is_thorough=sampling.is_small(cluster))
    if reason:
        what = Promised((), what.seen, why=reason)
    add(
        found,
        cluster,
        title,
        Door(service, port, family, source, str(LOCALHOST), port.node_port),
        what,
    )


def _clients_outside(cluster: Cluster, family: IPFamily) -> Iterator[tuple[InternetHost, str]]:
    for host in cluster.internet[:1]:
        for address in host.addresses:
            if address.version == family.version:
                yield host, str(address)
                break


def _is_ipvs(cluster: Cluster) -> bool:
    return cluster.network.kube_proxy.mode is ProxyMode.IPVS


# -- external IPs and balancer addresses -----------------------------------------------------------


def _outer_addresses(service: Service, family: IPFamily) -> Iterator[tuple[str, IPAddress]]:
    for address in service.external_ips:
        if address.version == family.version:
            yield "external-ip", address
    for entry in service.load_balancer_ingress:
        # ipMode Proxy: the balancer wants to see the traffic itself, so there is no short cut
        if entry.ip is not None and entry.ip.version == family.version and entry.ip_mode == "VIP":
            yield "load-balancer-ip", entry.ip


def _outer_address(
    found: Expectations,
    cluster: Cluster,
    service: Service,
    port: ServicePort,
    outer: tuple[str, IPAddress],
) -> None:
    kind, address = outer
    family = IPFamily.of(address)
    door = (service, port, family)
    target = f"{address}:{port.port} ({port_label(service, port)})"
    ranges = ranges_of(service, family) if kind == "load-balancer-ip" else ()
    for pod in sampling.spread(sampling.one_per_node(cluster), sampling.PER_SERVICE):
        own = pod.address(family)
        if own is None:
            continue
        what = _restricted(for_pod(cluster, door, pod), own, ranges)
        title = Title("pod-to-service", kind, of_pod(pod).label, target)
        what = replace(what, is_thorough=sampling.is_small(cluster))
        add(found, cluster, title, Door(*door, of_pod(pod), str(address), port.port), what)
    if not _is_ipvs(cluster):
        for node in sampling.spread(cluster.nodes, sampling.PER_SERVICE):
            own = node.address(family)
            if own is None:
                continue
            what = _restricted(_for_node_outside(cluster, door, node), own, ranges)
            title = Title("node-to-service", kind, node.name, target)
            what = replace(what, is_thorough=sampling.is_small(cluster))
            add(found, cluster, title, Door(*door, of_node(node), str(address), port.port), what)
    _outer_from_internet(found, cluster, door, outer)


def _outer_from_internet(
    found: Expectations,
    cluster: Cluster,
    door: tuple[Service, ServicePort, IPFamily],
    outer: tuple[str, IPAddress],
) -> None:
    """A node answers for an external IP if the network brings its packets there."""
    service, port, family = door
    kind, address = outer
    target = f"{address}:{port.port} ({port_label(service, port)})"
    points = service.load_balancer_ingress
    if any(point.ip == address and balancer_mode(cluster, point) for point in points):
        return  # kns.promise.balancers has more to say
    owner = next((node for node in cluster.nodes if address in node.addresses), None)
    for host, client in _clients_outside(cluster, family):
        if owner is None:
            reason = f"nothing outside routes {address} to a node"
            found.skips.append(Skip(f"internet to {target}", reason))
            continue
        title = Title("internet-to-service", kind, host.name, target)
        source = Location(LocationKind.INTERNET, host)
        what = for_outsider(cluster, door, owner, client)
        add(found, cluster, title, Door(*door, source, str(address), port.port), what)


def balancer_mode(cluster: Cluster, entry: LoadBalancerIngress) -> str:
    """`l2`, `bgp` or `proxy` if the lab's balancer answers for the address; else nothing.

    A written `status` may name addresses, and an ipMode, that the lab's balancer knows nothing of.
    """
    options = cluster.network.load_balancer
    if options is None or entry.ip is None:
        return ""
    is_known = any(pool.version == entry.ip.version and entry.ip in pool for pool in options.pools)
    is_proxied = entry.ip_mode == "Proxy"
    return options.mode if is_known and is_proxied == (options.mode == "proxy") else ""


def ranges_of(service: Service, family: IPFamily) -> tuple[IPNetwork, ...]:
    """loadBalancerSourceRanges of the family; what does not parse is passed over."""
    found: list[IPNetwork] = []
    for text in service.load_balancer_source_ranges:
        try:
            cidr = ip_network(text.strip(), strict=False)
        except ValueError:
            continue
        if cidr.version == family.version:
            found.append(cidr)
    return tuple(found)


def _restricted(what: Promised, client: IPAddress, ranges: tuple[IPNetwork, ...]) -> Promised:
    """Without endpoints the refusal comes first: the firewall is for services that have some."""
    if not ranges or not what.backends or any(client in cidr for cidr in ranges):
        return what
    why = f"loadBalancerSourceRanges leaves out {client}: dropped"
    return Promised((), what.seen, refuses=False, why=why)


# -- health checks ---------------------------------------------------------------------------------


def _health(
    found: Expectations, cluster: Cluster, service: Service, port: ServicePort, family: IPFamily
) -> None:
    number = service.health_check_node_port
    for host, _ in _clients_outside(cluster, family):
        for node in sampling.spread(cluster.nodes, sampling.PER_SERVICE):
            address = node.address(family)
            if address is None:
                continue
            local = promise(cluster, service, port, node, family).local_ready
            status = 200 if local else 503
            title = Title(
                "internet-to-node",
                "health-check",
                host.name,
                f"{node.name}:{number}",
                suffix(cluster, family),
            )
            step = Step(
                Http(str(address), number, path="/healthz"),
                Want(status=status, local_endpoints=local),
            )
            found.checks.append(
                Check(
                    title.id,
                    title.path,
                    Location(LocationKind.INTERNET, host),
                    title.target,
                    f"{status}: {local} local endpoints of {port_label(service, port)}",
                    (step,),
                )
            )
