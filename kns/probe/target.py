"""SRC and DST of a probe: what the user wrote → where it starts, what it asks, which path it is.

    SRC   pod1 · namespace/pod1 · pod/x · node1 · internet
    DST   the same, services too, each with :PORT or :PORTNAME · IP[:PORT] · DNS name · URL

Pure: reads the Cluster only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.errors import UsageError
from kns.kinds.common import Protocol
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServiceType
from kns.probe.addresses import is_address, split_port
from kns.probe.names import find, search
from kns.promise.endpoints import has_dns
from kns.promise.flow import Flow
from kns.promise.location import Location, LocationKind, label

SOURCES = (LocationKind.POD, LocationKind.NODE, LocationKind.INTERNET)
TARGETS = (LocationKind.POD, LocationKind.SERVICE, LocationKind.NODE, LocationKind.INTERNET)
#: agnhost's and kns' built-in server answer it with who they are
DEFAULT_PATH = "/whoami"
CONTAINER_TO_CONTAINER = "container-to-container"


@dataclass(frozen=True, slots=True)
class Target:
    """What a probe asks. `address` is empty when only the resolver knows it."""

    text: str
    #: pod, service, node or internet: what the address or name belongs to
    kind: LocationKind
    label: str
    address: str
    #: the DNS name to connect to; empty: connect to `address`
    hostname: str = ""
    #: None: nothing to connect to, only ICMP
    port: int | None = None
    protocol: Protocol = Protocol.TCP
    #: the URL as the user wrote it
    url: str = ""
    item: Pod | Service | Node | InternetHost | None = None
    #: the service behind a node port or a service address
    service: Service | None = None
    #: the URL's host is an Ingress', and `address` and `port` are its controller's
    by_ingress: bool = False

    @property
    def host(self) -> str:
        """What the client connects to."""
        return self.hostname or self.address


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """The options that say more of the target than its text."""

    port: str = ""
    protocol: Protocol = Protocol.TCP
    family: IPFamily | None = None


def parse_source(cluster: Cluster, text: str) -> Location:
    """The pod, node or internet host at which a probe starts."""
    if search(cluster, text, (LocationKind.SERVICE,)) and not search(cluster, text, SOURCES):
        raise UsageError(
            f"{text!r} is a service; a probe starts at a pod, a node or the internet",
            hint=f"kns probe pod1 {text}",
        )
    return find(cluster, text, SOURCES)


def parse_target(
    cluster: Cluster, source: Location, text: str, options: TargetOptions = TargetOptions()
) -> Target:
    """What `text` means, seen from `source`; UsageError with a hint if it means nothing."""
    if "://" in text:
        return _of_url(cluster, source, text, options)
    host, port = split_port(text)
    if port and options.port and port != options.port:
        raise UsageError(
            f"{text!r} names port {port}, and --port says {options.port}", hint="name the port once"
        )
    target = _of_host(cluster, source, host, replace(options, port=port or options.port))
    return replace(target, text=text)


def target_of(cluster: Cluster, flow: Flow) -> Target:
    """What a flow's destination is."""
    options = TargetOptions("" if flow.port is None else str(flow.port), flow.protocol)
    return _of_address(cluster, flow.source, flow.destination, options)


def path_of(source: Location, target: Target) -> str:
    """Which communication path it is: `pod-to-pod`, `internet-to-service`, …"""
    if source.kind is LocationKind.POD and target.item is source.item:
        return CONTAINER_TO_CONTAINER
    if target.by_ingress:
        return f"{source.kind}-to-ingress"
    kind = LocationKind.SERVICE if target.service is not None else target.kind
    return f"{source.kind}-to-{kind}"


def _of_url(cluster: Cluster, source: Location, text: str, options: TargetOptions) -> Target:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{text!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{text!r}: only http:// and https:// URLs can be probed")
    port = port or (443 if parts.scheme == "https" else 80)
    if options.port and options.port != str(port):
        raise UsageError(f"{text!r} names port {port}, and --port says {options.port}")
    target = _of_host(cluster, source, parts.hostname, replace(options, port=str(port)))
    return replace(target, text=text, url=text)


def _of_host(cluster: Cluster, source: Location, host: str, options: TargetOptions) -> Target:
    if host == "localhost":
        family = options.family or cluster.network.families[0]
        host = "127.0.0.1" if family is IPFamily.IPV4 else "::1"
    if is_address(host):
        return _of_address(cluster, source, _of_one_host(host), options)
    found = search(cluster, host, TARGETS)
    if len(found) == 1:
        return _of_object(cluster, source, found[0], options)
    if not found and "." in host and "/" not in host:
        return _of_name(cluster, host, options)
    return _of_object(cluster, source, find(cluster, host, TARGETS), options)


def _of_one_host(text: str) -> IPAddress:
    """The address, if it can be somebody's: ping and curl take 0.0.0.0 for the machine itself."""
    address = ip_address(text)
    if address.is_unspecified or address.is_multicast or text == "255.255.255.255":
        raise UsageError(f"{text} is nobody's own address", hint="name a pod, a service or a node")
    return address


# -- objects ---------------------------------------------------------------------------------------


def _of_object(
    cluster: Cluster, source: Location, found: Location, options: TargetOptions
) -> Target:
    item = found.item
    if isinstance(item, Pod):
        return _of_pod(cluster, source, item, options)
    if isinstance(item, Service):
        return _of_service(cluster, source, item, options)
    if isinstance(item, Node):
        return _of_node(
            cluster, item, str(_address(cluster, item.addresses, item.name, options)), options
        )
    address = _address(cluster, item.addresses, item.name, options)
    port = _number(options.port, item.name) if options.port else item.port
    return Target(
        item.name,
        LocationKind.INTERNET,
        item.name,
        str(address),
        port=port,
        protocol=options.protocol,
        item=item,
    )


def _of_pod(cluster: Cluster, source: Location, pod: Pod, options: TargetOptions) -> Target:
    address = _address(cluster, pod.addresses, label(pod), options)
    if source.item is pod:  # containers of one pod share its loopback
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return Target(
        label(pod),
        LocationKind.POD,
        label(pod),
        str(address),
        port=_pod_port(pod, options),
        protocol=options.protocol,
        item=pod,
    )


def _pod_port(pod: Pod, options: TargetOptions) -> int | None:
    """The port wished for by number, port name or container name; by default the pod's first."""
    if options.port.isdigit():
        return _number(options.port, label(pod))
    offered = [
        (c.name, p) for c in pod.containers for p in c.ports if p.protocol is options.protocol
    ]
    if not options.port:
        return offered[0][1].port if offered else None
    for container, port in offered:
        if options.port in (port.name, container):
            return port.port
    for other in (port for container in pod.containers for port in container.ports):
        if options.port == other.name:
            raise UsageError(
                f"port {options.port} of pod {label(pod)} speaks {other.protocol}",
                hint=f"--proto {other.protocol.lower()}",
            )
    names = dict.fromkeys(n for c, p in offered for n in (p.name, c) if n)
    raise UsageError(
        f"pod {label(pod)} has no {options.protocol} port {options.port!r}",
        hint=f"it has {', '.join(names)}" if names else "it has none; give a number",
    )


def _of_service(
    cluster: Cluster, source: Location, service: Service, options: TargetOptions
) -> Target:
    hostname = ""
    if isinstance(source.item, Pod) and source.item.asks_cluster_dns and has_dns(cluster):
        same = source.item.namespace == service.namespace
        hostname = service.name if same else f"{service.name}.{service.namespace}"
    if not service.cluster_ips:
        return _of_headless(service, hostname, options)
    outside = _outer_addresses(service) if source.kind is LocationKind.INTERNET else ()
    address = _address(cluster, outside or service.cluster_ips, label(service), options)
    return Target(
        label(service),
        LocationKind.SERVICE,
        label(service),
        str(address),
        hostname=hostname if options.protocol is Protocol.TCP else "",
        port=_service_port(service, options),
        protocol=options.protocol,
        item=service,
        service=service,
    )


def _of_headless(service: Service, hostname: str, options: TargetOptions) -> Target:
    name = label(service)
    if not hostname or options.protocol is not Protocol.TCP:
        what = "ExternalName" if service.type is ServiceType.EXTERNAL_NAME else "headless"
        raise UsageError(
            f"service {name} is {what}: it has no address of its own",
            hint="probe one of its pods, or from a pod with the lab's DNS",
        )
    # no proxy in between: the name leads straight to a pod, so the port is the pod's own
    port = _service_port(service, options) if service.ports or options.port else 80
    return Target(
        name,
        LocationKind.SERVICE,
        name,
        "",
        hostname=hostname,
        port=port,
        item=service,
        service=service,
    )


def _service_port(service: Service, options: TargetOptions) -> int:
    name = label(service)
    if options.port.isdigit():
        return _number(options.port, name)
    offered = [port for port in service.ports if port.protocol is options.protocol]
    matching = [port for port in offered if not options.port or port.name == options.port]
    if matching:
        return matching[0].port
    others = ", ".join(f"{p.name or p.port}/{p.protocol}" for p in service.ports)
    raise UsageError(
        f"service {name} has no {options.protocol} port"
        + (f" {options.port!r}" if options.port else ""),
        hint=f"it has {others}" if others else "it has no ports",
    )


def _of_node(cluster: Cluster, node: Node, address: str, options: TargetOptions) -> Target:
    """A node; a node port of a service makes it that service, seen from outside."""
    if options.port and not options.port.isdigit():
        raise UsageError(
            f"node {node.name} has no named ports", hint=f"give a number, as in {node.name}:30080"
        )
    port = _number(options.port, node.name) if options.port else None
    service = _by_node_port(cluster, port, options.protocol) if port else None
    return Target(
        node.name,
        LocationKind.NODE,
        node.name,
        address,
        port=port,
        protocol=options.protocol,
        item=node,
        service=service,
    )


def _by_node_port(cluster: Cluster, port: int, protocol: Protocol) -> Service | None:
    for service in cluster.services:
        for candidate in service.ports:
            if candidate.node_port == port and candidate.protocol is protocol:
                return service
    return None


# -- addresses and DNS names -----------------------------------------------------------------------


def _of_address(
    cluster: Cluster, source: Location, address: IPAddress, options: TargetOptions
) -> Target:
    options = replace(options, family=IPFamily.of(address))
    if address.is_loopback:
        target = _of_object(cluster, source, source, options)
        return replace(target, address=str(address), label="localhost")
    for pod in cluster.pods:
        if address in pod.addresses and not pod.host_network:
            # by address also from the pod itself: the user asked for the address, not the loopback
            return replace(_of_pod(cluster, source, pod, options), address=str(address))
    for node in cluster.nodes:
        if address in (*node.addresses, *node.host_addresses):
            return _of_node(cluster, node, str(address), options)
    for service in cluster.services:
        if address in _service_addresses(service):
            target = _of_service(cluster, source, service, replace(options, family=None))
            return replace(target, address=str(address), hostname="")
    for host in cluster.internet:
        if address in host.addresses:
            target = _of_object(cluster, source, Location(host), options)
            return replace(target, address=str(address))
    port = _number(options.port, str(address)) if options.port else None
    kind = _kind_by_range(cluster, address)
    return Target(
        str(address), kind, str(address), str(address), port=port, protocol=options.protocol
    )


def _service_addresses(service: Service) -> tuple[IPAddress, ...]:
    return (*service.cluster_ips, *_outer_addresses(service))


def _outer_addresses(service: Service) -> tuple[IPAddress, ...]:
    """The addresses at which the world outside finds a service, a load balancer's first."""
    balancer = tuple(entry.ip for entry in service.load_balancer_ingress if entry.ip is not None)
    return (*balancer, *service.external_ips)


def _kind_by_range(cluster: Cluster, address: IPAddress) -> LocationKind:
    network = cluster.network
    ranges = (
        (LocationKind.POD, network.pod_cidrs),
        (LocationKind.SERVICE, network.service_cidrs),
        (LocationKind.NODE, network.node_cidrs),
    )
    for kind, cidrs in ranges:
        if any(address.version == cidr.version and address in cidr for cidr in cidrs):
            return kind
    return LocationKind.INTERNET


def _of_name(cluster: Cluster, name: str, options: TargetOptions) -> Target:
    """A DNS name: left to the source's own resolver; the cluster domain tells its kind."""
    service = _service_by_dns_name(cluster, name)
    if options.port and not options.port.isdigit():
        options = options if service else replace(options, port=str(_number(options.port, name)))
    if service is not None:
        port = _service_port(service, options)
    else:
        port = _number(options.port, name) if options.port else 80
    return Target(
        name,
        LocationKind.SERVICE if service else LocationKind.INTERNET,
        name,
        "",
        hostname=name,
        port=port,
        protocol=options.protocol,
        item=service,
        service=service,
    )


def _service_by_dns_name(cluster: Cluster, name: str) -> Service | None:
    domain = cluster.network.dns.domain
    stripped = name.rstrip(".").removesuffix(f".{domain}").removesuffix(".svc")
    service, _, namespace = stripped.partition(".")
    for candidate in cluster.services:
        if (candidate.name, candidate.namespace) == (service, namespace):
            return candidate
    return None


def _address(
    cluster: Cluster, addresses: tuple[IPAddress, ...], name: str, options: TargetOptions
) -> IPAddress:
    """The address of the family wished for, by default of the cluster's first family."""
    families = (options.family,) if options.family else cluster.network.families
    for family in families:
        for address in addresses:
            if address.version == family.version:
                return address
    if options.family is None and addresses:
        return addresses[0]
    raise UsageError(f"{name} has no {options.family or ''} address".replace("  ", " "))


def _number(text: str, name: str) -> int:
    if text.isdigit() and 0 < int(text) < 65_536:
        return int(text)
    raise UsageError(f"{name}: {text!r} is not a port", hint="a number from 1 to 65535")
