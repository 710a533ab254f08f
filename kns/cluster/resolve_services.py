"""Services with their families, cluster IPs, node ports and load balancer addresses.

Source of the rules: pkg/registry/core/service/storage/alloc.go of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.cluster.allocate import ClusterIPs, ExhaustedError, NodePorts, address_at
from kns.cluster.api_server import api_service
from kns.cluster.leases import Leases, ServiceLease
from kns.cluster.model import Network
from kns.kinds.balancer import SharedAddresses, asked_addresses, families_asked, wants_address
from kns.kinds.common import DNS_PORT, Protocol
from kns.kinds.ingress import CONTROLLER_NAME, CONTROLLER_NAMESPACE, IngressControllerOptions
from kns.kinds.lab import Lab
from kns.kinds.networking import DNS_LABEL, DNS_NAMESPACE, DNS_SERVICE
from kns.kinds.networks import KUBERNETES_INDEX
from kns.kinds.node import Node
from kns.kinds.placement import CONTROLLER_LABELS, ingress_controller
from kns.kinds.service import (
    IPFamilyPolicy,
    LoadBalancerIngress,
    Service,
    ServicePort,
    ServiceType,
    TrafficPolicy,
    ip_families,
)

_NO_LEASE = ServiceLease()


@dataclass(slots=True)
class _Item:
    """A Service while it is given its addresses and ports."""

    spec: Service
    families: tuple[IPFamily, ...]
    lease: ServiceLease
    cluster_ips: dict[IPFamily, IPAddress]
    node_ports: dict[str, int]
    health_check_node_port: int = 0
    ingress: tuple[LoadBalancerIngress, ...] = ()

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return self.spec.full_name

    @property
    def has_cluster_ips(self) -> bool:
        """True unless it is headless or an ExternalName."""
        return not (self.spec.type is ServiceType.EXTERNAL_NAME or self.spec.without_cluster_ip)


def resolve_services(
    lab: Lab, network: Network, nodes: Sequence[Node], leases: Leases
) -> tuple[tuple[Service, ...], dict[str, ServiceLease]]:
    """The Services by full name, kns' own included, and what they were given."""
    specs = {item.full_name: item for item in (*_own_services(lab, network), *lab.services)}
    items = [
        _Item(
            item,
            ip_families(item, network.families),
            leases.services.get(item.full_name, _NO_LEASE),
            {},
            {},
        )
        for item in sorted(specs.values(), key=lambda item: (item.namespace, item.name))
    ]
    _give_cluster_ips(items, network)
    _give_node_ports(items, NodePorts(*network.node_port_range))
    reserved = _underlay_addresses(network, nodes)
    _give_ingress(items, network, reserved, is_living=lab.placed)
    return tuple(_service(item) for item in items), {i.full_name: _lease(i) for i in items}


def _own_services(lab: Lab, network: Network) -> Iterator[Service]:
    """What the cluster has of its own, unless it is among the lab's as somebody changed it.

    The API server makes its Service again, whoever deletes it; nobody does so for another.
    """
    if lab.api_server is not None:
        yield api_service(network)
    for item in _installed_services(lab, network):
        if item.full_name not in lab.made_services:
            yield item


def _installed_services(lab: Lab, network: Network) -> Iterator[Service]:
    """What kubeadm and the Ingress controller's manifest make once."""
    if network.dns.enabled:
        yield _dns_service(network)
    controller = ingress_controller(lab)
    if controller is not None:
        yield _controller_service(lab, controller)


def _dns_service(network: Network) -> Service:
    """kubeadm's Service kube-dns."""
    ips, label = network.dns.service_ips, dict([DNS_LABEL])
    return Service(
        name=DNS_SERVICE,
        namespace=DNS_NAMESPACE,
        labels={
            **label,
            "kubernetes.io/cluster-service": "true",
            "kubernetes.io/name": "CoreDNS",
        },
        cluster_ips=ips,
        ip_families=(),
        selector=label,
        ports=(
            ServicePort(DNS_PORT, "dns", Protocol.UDP, DNS_PORT),
            ServicePort(DNS_PORT, "dns-tcp", Protocol.TCP, DNS_PORT),
        ),
    )


def _controller_service(lab: Lab, controller: IngressControllerOptions) -> Service:
    """The Ingress controller's Service, as ingress-nginx's own manifest has it."""
    options = controller.service
    default = ServiceType.LOAD_BALANCER if lab.load_balancer else ServiceType.NODE_PORT
    return Service(
        name=CONTROLLER_NAME,
        namespace=CONTROLLER_NAMESPACE,
        labels=CONTROLLER_LABELS,
        type=options.type or default,
        ip_families=(),
        ip_family_policy=IPFamilyPolicy.PREFER_DUAL_STACK,
        external_traffic_policy=options.external_traffic_policy,
        selector=CONTROLLER_LABELS,
        ports=(
            ServicePort(80, "http", Protocol.TCP, "http", options.node_ports.http),
            ServicePort(443, "https", Protocol.TCP, "https", options.node_ports.https),
        ),
    )


# -- cluster IPs -----------------------------------------------------------------------------------


def _give_cluster_ips(items: Sequence[_Item], network: Network) -> None:
    """Those that are asked for first, then leased ones, then free ones by name."""
    # the first address is that of the API server's own Service, also where there is none
    pools = {
        IPFamily.of(cidr): ClusterIPs(cidr, {address_at(cidr, KUBERNETES_INDEX)})
        for cidr in network.service_cidrs
    }
    for item in items:
        for address in item.spec.cluster_ips if item.has_cluster_ips else ():
            pools[IPFamily.of(address)].take(address)
            item.cluster_ips[IPFamily.of(address)] = address
    for item in items:
        for address in item.lease.cluster_ips if item.has_cluster_ips else ():
            family = IPFamily.of(address)
            wanted = family in item.families and family not in item.cluster_ips
            if wanted and pools[family].take(address):
                item.cluster_ips[family] = address
    for item in items:
        for family in item.families if item.has_cluster_ips else ():
            if family not in item.cluster_ips:
                item.cluster_ips[family] = pools[family].next(f"{item.full_name}/{family}")


# -- node ports ------------------------------------------------------------------------------------


def _give_node_ports(items: Sequence[_Item], pool: NodePorts) -> None:
    """As cluster IPs: those that are asked for first, then leased ones, then free ones."""
    for item in items:
        _take_written(item, pool)
    for item in items:
        _take_leased(item, pool)
    for item in items:
        for port in _unassigned(item):
            if not _share(item, port):
                number = pool.next(f"{item.full_name}:{_port_key(port)}")
                item.node_ports[_port_key(port)] = number
        if _needs_health_check(item):
            item.health_check_node_port = pool.next(f"{item.full_name}:healthcheck")


def _take_written(item: _Item, pool: NodePorts) -> None:
    for port in item.spec.ports:
        if port.node_port:
            pool.take(port.node_port)
            item.node_ports[_port_key(port)] = port.node_port
    if item.spec.health_check_node_port:
        pool.take(item.spec.health_check_node_port)
        item.health_check_node_port = item.spec.health_check_node_port


def _take_leased(item: _Item, pool: NodePorts) -> None:
    for port in _unassigned(item):
        leased = item.lease.node_ports.get(_port_key(port), 0)
        if not _share(item, port) and leased and pool.take(leased):
            item.node_ports[_port_key(port)] = leased
    leased = item.lease.health_check_node_port
    if _needs_health_check(item) and leased and pool.take(leased):
        item.health_check_node_port = leased


def _port_key(port: ServicePort) -> str:
    return f"{port.port}/{port.protocol}"


def _unassigned(item: _Item) -> Iterator[ServicePort]:
    """The ports that need a node port and have none."""
    spec = item.spec
    wants = spec.type is ServiceType.NODE_PORT or (
        spec.type is ServiceType.LOAD_BALANCER and spec.allocate_load_balancer_node_ports
    )
    for port in spec.ports if wants else ():
        if _port_key(port) not in item.node_ports:
            yield port


def _share(item: _Item, port: ServicePort) -> bool:
    """One port number for TCP and UDP gets one node port, as 53 of a DNS Service does."""
    for other in item.spec.ports:
        number = item.node_ports.get(_port_key(other))
        if number is not None and other.port == port.port and other.protocol != port.protocol:
            item.node_ports[_port_key(port)] = number
            return True
    return False


def _needs_health_check(item: _Item) -> bool:
    return (
        item.spec.type is ServiceType.LOAD_BALANCER
        and item.spec.external_traffic_policy is TrafficPolicy.LOCAL
        and not item.health_check_node_port
    )


# -- load balancer addresses -----------------------------------------------------------------------


def _underlay_addresses(network: Network, nodes: Sequence[Node]) -> set[IPAddress]:
    """What a pool that is part of the node subnet can't hand out: the nodes, their router, ends."""
    ends = {cidr[place] for cidr in network.node_cidrs for place in (0, 1, -1)}
    return ends | {address for node in nodes for address in node.addresses}


def _give_ingress(
    items: Sequence[_Item], network: Network, reserved: set[IPAddress], *, is_living: bool
) -> None:
    """`status.loadBalancer` as written; else what is asked for, or an address for each family.

    As MetalLB: a Service that can't have what it asks for gets nothing, and waits. In a cluster
    that lives one for which no address is left waits, too; of a file that is an error.
    """
    options = network.load_balancer
    pools = options.pools if options else ()
    book = SharedAddresses(reserved)
    for item in items:
        item.ingress = item.spec.load_balancer_ingress
        book.hold(item.spec, (point.ip for point in item.ingress if point.ip is not None))
    waiting = [item for item in items if wants_address(item.spec) and not item.ingress]
    given = {item.full_name: _asked(item, pools, book) for item in waiting}
    open_to_any = [item for item in waiting if not _asks(item.spec)]
    for item in open_to_any:
        given[item.full_name] = tuple(_leased(item, pools, book))
    for pool in pools:
        for item in open_to_any:
            have = {IPFamily.of(address) for address in given[item.full_name]}
            if IPFamily.of(pool) in item.families and IPFamily.of(pool) not in have:
                free = _free(item, pool, book)
                if free is None and not is_living:
                    raise ExhaustedError(f"no free address in the load balancer pool {pool}")
                given[item.full_name] += () if free is None else (free,)
    # an address behind a proxy never reaches a node, so nodes must not answer for it themselves
    ip_mode = "Proxy" if options and options.mode == "proxy" else "VIP"
    for item in waiting:
        addresses = sorted(given[item.full_name], key=lambda a: item.families.index(IPFamily.of(a)))
        item.ingress = tuple(LoadBalancerIngress(address, "", ip_mode) for address in addresses)


def _asks(spec: Service) -> bool:
    try:
        return bool(asked_addresses(spec))
    except ValueError:
        return True


def _asked(item: _Item, pools: Sequence[IPNetwork], book: SharedAddresses) -> tuple[IPAddress, ...]:
    """What it asks for, where all of that can be given."""
    try:
        asked = asked_addresses(item.spec)
    except ValueError:
        return ()
    fits = families_asked(asked) == frozenset(item.families)
    known = all(any(address in pool for pool in pools) for address in asked)
    return asked if asked and fits and known and book.take(item.spec, asked) else ()


def _leased(item: _Item, pools: Sequence[IPNetwork], book: SharedAddresses) -> Iterator[IPAddress]:
    """What it had before, one of each family."""
    families = set(item.families)
    for address in item.lease.ingress:
        known = IPFamily.of(address) in families and any(address in pool for pool in pools)
        if known and book.take(item.spec, (address,)):
            families.remove(IPFamily.of(address))
            yield address


def _free(item: _Item, pool: IPNetwork, book: SharedAddresses) -> IPAddress | None:
    """The first address of the pool that it can have, a shared one included, if there is one."""
    # the pool may be as large as IPv6 allows; only the first addresses are ever looked at
    # a network's first address is passed over, as MetalLB does with avoidBuggyIPs
    first = 1 if pool.num_addresses > 2 else 0
    for place in range(first, min(pool.num_addresses, first + len(book) + 1)):
        address = address_at(pool, place)
        if book.take(item.spec, (address,)):
            return address
    return None


# -- the result ------------------------------------------------------------------------------------


def _service(item: _Item) -> Service:
    ips = tuple(item.cluster_ips[f] for f in item.families if f in item.cluster_ips)
    ports = tuple(
        replace(port, node_port=item.node_ports.get(_port_key(port), 0)) for port in item.spec.ports
    )
    return replace(
        item.spec,
        cluster_ips=ips,
        ip_families=item.families,
        ports=ports,
        load_balancer_ingress=item.ingress,
        health_check_node_port=item.health_check_node_port,
    )


def _lease(item: _Item) -> ServiceLease:
    return ServiceLease(
        cluster_ips=tuple(item.cluster_ips.values()),
        node_ports=dict(item.node_ports),
        health_check_node_port=item.health_check_node_port,
        ingress=tuple(point.ip for point in item.ingress if point.ip is not None),
    )
