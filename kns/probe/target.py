"""SRC and DST of a probe: what the user wrote → where it starts, what it asks, which path it is.

    SRC   pod1 · namespace/pod1 · pod/x · node1 · internet
    DST   the same, services too, each with :PORT or :PORTNAME · IP[:PORT] · DNS name · URL

A pod with the lab's DNS reaches a Service by name: a bare name is what its resolver makes of it,
`svc/x` the Service by its full name. Pure: reads the Cluster only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from kns.addresses import IPAddress, IPFamily, is_address
from kns.cluster.model import Cluster
from kns.errors import UsageError
from kns.kinds.apiserver import API_NAMESPACE, API_SERVICE
from kns.kinds.common import Protocol
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServiceType
from kns.probe.addresses import split_port
from kns.probe.dns_names import (
    addresses_of,
    from_hosts,
    refuse_missing_service,
    service_by_dns_name,
)
from kns.probe.names import find, known_names, search, split_kind
from kns.promise.endpoints import has_dns
from kns.promise.flow import Flow
from kns.promise.location import DEFAULT_NAMESPACE, Location, LocationKind, label

SOURCES = (LocationKind.POD, LocationKind.NODE, LocationKind.INTERNET)
TARGETS = (LocationKind.POD, LocationKind.SERVICE, LocationKind.NODE, LocationKind.INTERNET)
#: agnhost's and kns' built-in server answer it with who they are
DEFAULT_PATH = "/whoami"
CONTAINER_TO_CONTAINER = "container-to-container"
_LOOPBACK = {IPFamily.IPV4: ip_address("127.0.0.1"), IPFamily.IPV6: ip_address("::1")}


@dataclass(frozen=True, slots=True)
class Target:
    """What a probe asks. Without `address` only the resolver knows it."""

    text: str
    #: pod, service, node or internet: what the address or name belongs to
    kind: LocationKind
    label: str
    address: IPAddress | None = None
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
        return self.hostname or str(self.address or "")

    def flow(self, source: Location) -> Flow | None:
        """What the source sends to it; None where only the resolver knows to whom."""
        if self.address is None:
            return None
        return Flow(source, self.address, self.port, self.protocol)


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """The options that say more of the target than its text."""

    port: str = ""
    protocol: Protocol = Protocol.TCP
    family: IPFamily | None = None


def parse_source(cluster: Cluster, text: str, verb: str = "probe") -> Location:
    """The pod, node or internet host at which a probe starts; `verb` is the command's name."""
    if search(cluster, text, (LocationKind.SERVICE,)) and not search(cluster, text, SOURCES):
        start = next(iter(known_names(cluster, SOURCES)), "internet")
        raise UsageError(
            f"{text!r} is a service; a probe starts at a pod, a node or the internet",
            hint=f"kns {verb} {start} {text}",
        )
    return find(cluster, text, SOURCES)


def parse_target(
    cluster: Cluster, source: Location, text: str, options: TargetOptions = TargetOptions()
) -> Target:
    """What `text` means, seen from `source`; UsageError with a hint if it means nothing."""
    host, port, url = (*_split_url(text), text) if "://" in text else (*split_port(text), "")
    if port and options.port and port != options.port:
        raise UsageError(
            f"{text!r} names port {port}, and --port says {options.port}", hint="name the port once"
        )
    options = replace(options, port=port or options.port)
    return replace(_Reading(cluster, source, options).host(host), text=text, url=url)


def target_of(cluster: Cluster, flow: Flow) -> Target:
    """What a flow's destination is."""
    options = TargetOptions("" if flow.port is None else str(flow.port), flow.protocol)
    return _Reading(cluster, flow.source, options).address(flow.destination)


def leads_to_api(cluster: Cluster, target: Target) -> bool:
    """Whether it is the cluster's API server that answers there, which speaks TLS alone."""
    server, service = cluster.api_server, target.service
    if server is None or target.protocol is not Protocol.TCP:
        return False
    if service is not None:
        return (service.namespace, service.name) == (API_NAMESPACE, API_SERVICE)
    return isinstance(target.item, Node) and (target.item.name, target.port) == (
        server.node,
        server.port,
    )


def path_of(source: Location, target: Target) -> str:
    """Which communication path it is: `pod-to-pod`, `internet-to-service`, …"""
    if source.kind is LocationKind.POD and target.item is source.item:
        return CONTAINER_TO_CONTAINER
    if target.by_ingress:
        return f"{source.kind}-to-ingress"
    kind = LocationKind.SERVICE if target.service is not None else target.kind
    return f"{source.kind}-to-{kind}"


def _split_url(text: str) -> tuple[str, str]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{text!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{text!r}: only http:// and https:// URLs can be probed")
    return parts.hostname, str(port or (443 if parts.scheme == "https" else 80))


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads a target with what is known beside its text."""

    cluster: Cluster
    source: Location
    options: TargetOptions

    # -- what the text may be ----------------------------------------------------------------------

    def host(self, host: str) -> Target:
        """A name or an address without its port."""
        if host == "localhost":
            family = self.options.family or self.cluster.network.families[0]
            return self.address(_LOOPBACK[family])
        if is_address(host):
            return self.address(_of_one_host(host))
        pod = self.source.item if isinstance(self.source.item, Pod) else None
        namespace = pod.namespace if pod is not None else DEFAULT_NAMESPACE
        found = search(self.cluster, host, TARGETS, namespace)
        services = [item.item for item in found if isinstance(item.item, Service)]
        is_asked = pod is not None and pod.asks_cluster_dns and has_dns(self.cluster)
        if services and is_asked and "/" not in host:
            # the pod's resolver decides what the name means
            return self._of_hosts_file(host, services[0]) or self._service(services[0])
        if not found and "." in host and "/" not in host:
            return self._dns_name(host)
        chosen = found[0] if len(found) == 1 else find(self.cluster, host, TARGETS, namespace)
        target = self.object(chosen)
        if target.hostname and split_kind(host)[0] is LocationKind.SERVICE:
            domain = self.cluster.network.dns.domain.rstrip(".")
            full = target.label if "/" in target.label else f"{DEFAULT_NAMESPACE}/{target.label}"
            namespace, _, name = full.partition("/")
            return replace(target, hostname=f"{name}.{namespace}.svc.{domain}")
        return target

    def _of_hosts_file(self, name: str, service: Service) -> Target | None:
        """Whom the source's own /etc/hosts gives the service's name to."""
        known = from_hosts(self.cluster, self.source, name)
        if not known:
            return None
        port = str(self._service_port(service))
        owner = _Reading(self.cluster, self.source, replace(self.options, port=port))
        target = replace(owner.address(known[0]), label=name)
        return replace(target, hostname=name if self.options.protocol is Protocol.TCP else "")

    def _dns_name(self, name: str) -> Target:
        """A DNS name: left to the source's own resolver; its kind is that of who has it."""
        service = service_by_dns_name(self.cluster, self.source, name)
        known = addresses_of(self.cluster, self.source, name)
        if service is None and not known:
            refuse_missing_service(self.cluster, name)
        owner = self.cluster.owner(known[0]) if known else None
        item = service or (owner if isinstance(owner, Pod) else None)
        domain = self.cluster.network.dns.domain
        kind = Location(item).kind if item is not None else LocationKind.INTERNET
        if item is None and name.rstrip(".").endswith(f".{domain}"):
            kind = LocationKind.SERVICE
        port: int | None = 80
        if service is not None:
            port = self._service_port(service)
        elif isinstance(item, Pod):
            port = self._pod_port(item) or 80
        elif self.options.port:
            port = _number(self.options.port, name)
        protocol = self.options.protocol
        return Target(name, kind, name, None, name, port, protocol, item=item, service=service)

    def address(self, address: IPAddress) -> Target:
        """An address, whoever has it."""
        reading = replace(self, options=replace(self.options, family=IPFamily.of(address)))
        if address.is_loopback:
            return replace(reading.object(self.source), address=address, label="localhost")
        owner = self.cluster.owner(address)
        if owner is None:
            owner = next((n for n in self.cluster.nodes if address in n.host_addresses), None)
        if owner is not None:
            # by address also from the pod itself: the user asked for the address, not the loopback
            return replace(reading.object(Location(owner)), address=address)
        for service in self.cluster.services:
            if address in (*service.cluster_ips, *_outer_addresses(service)):
                reading = replace(self, options=replace(self.options, family=None))
                target = reading.object(Location(service))
                return replace(target, address=address, hostname="")
        text, kind = str(address), _kind_by_range(self.cluster, address)
        port = _number(self.options.port, text) if self.options.port else None
        return Target(text, kind, text, address, port=port, protocol=self.options.protocol)

    # -- objects -----------------------------------------------------------------------------------

    def object(self, found: Location) -> Target:
        """A pod, a service, a node or a host."""
        match found.item:
            case Pod() as pod:
                return self._pod(pod)
            case Service() as service:
                return self._service(service)
            case Node() as node:
                return self._node(node)
            case host:
                address = self._address(host.addresses, host.name)
                port = _number(self.options.port, host.name) if self.options.port else host.port
                return self._at(host, address, port)

    def _pod(self, pod: Pod) -> Target:
        address = self._address(pod.addresses, label(pod))
        if self.source.item is pod:  # containers of one pod share its loopback
            address = _LOOPBACK[IPFamily.of(address)]
        return self._at(pod, address, self._pod_port(pod))

    def _service(self, service: Service) -> Target:
        name, is_tcp = label(service), self.options.protocol is Protocol.TCP
        hostname = ""
        pod = self.source.item
        if isinstance(pod, Pod) and is_tcp and pod.asks_cluster_dns and has_dns(self.cluster):
            same = pod.namespace == service.namespace
            hostname = service.name if same else f"{service.name}.{service.namespace}"
        if not service.cluster_ips:
            return self._headless(service, hostname)
        outside = _outer_addresses(service) if self.source.kind is LocationKind.INTERNET else ()
        address = self._address(outside or service.cluster_ips, name)
        return self._at(service, address, self._service_port(service), hostname, service)

    def _headless(self, service: Service, hostname: str) -> Target:
        name = label(service)
        if not hostname:
            what = "ExternalName" if service.type is ServiceType.EXTERNAL_NAME else "headless"
            raise UsageError(
                f"service {name} is {what}: it has no address of its own",
                hint="probe one of its pods, or from a pod with the lab's DNS",
            )
        # no proxy in between: the name leads straight to a pod, so the port is the pod's own
        port = self._service_port(service) if service.ports or self.options.port else 80
        return self._at(service, None, port, hostname, service)

    def _node(self, node: Node) -> Target:
        """A node; a node port of a service makes it that service, seen from outside."""
        name, wanted = node.name, self.options.port
        if wanted and not wanted.isdigit():
            raise UsageError(
                f"node {name} has no named ports", hint=f"give a number, as in {name}:30080"
            )
        port = _number(wanted, name) if wanted else None
        service = _by_node_port(self.cluster, port, self.options.protocol) if port else None
        address = self._address(node.addresses, name)
        return self._at(node, address, port, service=service)

    def _at(
        self,
        item: Pod | Service | Node | InternetHost,
        address: IPAddress | None,
        port: int | None,
        hostname: str = "",
        service: Service | None = None,
    ) -> Target:
        name, kind, protocol = label(item), Location(item).kind, self.options.protocol
        return Target(
            name, kind, name, address, hostname, port, protocol, item=item, service=service
        )

    # -- ports and addresses -----------------------------------------------------------------------

    def _pod_port(self, pod: Pod) -> int | None:
        """The port wished for by number, port name or container name; by default the first."""
        wanted, protocol, name = self.options.port, self.options.protocol, label(pod)
        if wanted.isdigit():
            return _number(wanted, name)
        every = [(container.name, port) for container in pod.containers for port in container.ports]
        offered = [(container, port) for container, port in every if port.protocol is protocol]
        if not wanted:
            return offered[0][1].port if offered else None
        for container, port in offered:
            if wanted in (port.name, container):
                return port.port
        for _, other in every:
            if wanted == other.name:
                raise UsageError(
                    f"port {wanted} of pod {name} speaks {other.protocol}",
                    hint=f"--proto {other.protocol.lower()}",
                )
        names = dict.fromkeys(n for c, p in offered for n in (p.name, c) if n)
        raise UsageError(
            f"pod {name} has no {protocol} port {wanted!r}",
            hint=f"it has {', '.join(names)}" if names else "it has none; give a number",
        )

    def _service_port(self, service: Service) -> int:
        wanted, protocol, name = self.options.port, self.options.protocol, label(service)
        if wanted.isdigit():
            return _number(wanted, name)
        for port in service.ports:
            if port.protocol is protocol and wanted in ("", port.name):
                return port.port
        others = ", ".join(f"{p.name or p.port}/{p.protocol}" for p in service.ports)
        raise UsageError(
            f"service {name} has no {protocol} port" + (f" {wanted!r}" if wanted else ""),
            hint=f"it has {others}" if others else "it has no ports",
        )

    def _address(self, addresses: tuple[IPAddress, ...], name: str) -> IPAddress:
        """The address of the family wished for, by default of the cluster's first family."""
        wanted = self.options.family
        for family in (wanted,) if wanted else self.cluster.network.families:
            for address in addresses:
                if address.version == family.version:
                    return address
        if wanted is None and addresses:
            return addresses[0]
        raise UsageError(f"{name} has no {wanted or ''} address".replace("  ", " "))


def _of_one_host(text: str) -> IPAddress:
    """The address, if it can be somebody's: ping and curl take 0.0.0.0 for the machine itself."""
    address = ip_address(text)
    if address.is_unspecified or address.is_multicast or text == "255.255.255.255":
        raise UsageError(f"{text} is nobody's own address", hint="name a pod, a service or a node")
    return address


def _by_node_port(cluster: Cluster, port: int, protocol: Protocol) -> Service | None:
    for service in cluster.services:
        if any(p.node_port == port and p.protocol is protocol for p in service.ports):
            return service
    return None


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


def _number(text: str, name: str) -> int:
    if text.isdigit() and 0 < int(text) < 65_536:
        return int(text)
    raise UsageError(f"{name}: {text!r} is not a port", hint="a number from 1 to 65535")
