"""What the Ingresses of a cluster mean together: sites by host, their routes and certificates.

    Ingress… ─sites()─▶ Site(host, routes, fallback, certificate)      what the controller serves
             └─certificates()─▶ one for each host with TLS, and the controller's own

The host is matched first: the exact one, else the wildcard one, else rules without a host. Within
a site the path decides; where none matches, the default backend of an Ingress of that host, else
that of an Ingress without rules. Of two Ingresses that define the same host and path, the first
one counts, as in ingress-nginx.

Source: kubernetes.io/docs/concepts/services-networking/ingress; ingress-nginx
internal/ingress/controller/controller.go (createServers, getBackendServers).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.ingress import Ingress, IngressBackend, IngressPath
from kns.kinds.node import Node
from kns.kinds.secret import TLSSecret
from kns.kinds.service import Service, ServiceType, TrafficPolicy

#: the controller of ingress-nginx, as an IngressClass names it
CONTROLLER = "k8s.io/ingress-nginx"
HTTP, HTTPS = 80, 443
#: seconds that nginx waits for an endpoint to take a connection, and how many it tries for one
#: request: ingress-nginx' defaults of proxy-connect-timeout and proxy-next-upstream-tries
CONNECT_SECONDS, TRIES = 5, 3
#: the name of the certificate for hosts that have none of their own
DEFAULT_CERTIFICATE = "default"
DEFAULT_CERTIFICATE_HOST = "ingress.local"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate by the name of its files: signed by the lab's CA, or a Secret's."""

    name: str
    host: str
    secret: TLSSecret | None = None


@dataclass(frozen=True, slots=True)
class IngressRoute:
    """One path of a site and where it leads; `path` None: whatever no other path matches."""

    ingress: Ingress
    backend: IngressBackend
    path: IngressPath | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Everything under one host; no `host`: requests for hosts that have no site."""

    host: str
    routes: tuple[IngressRoute, ...] = ()
    fallback: IngressRoute | None = None
    #: TLS is configured for the host, so that plain requests are sent to https
    certificate: Certificate | None = None


def served(cluster: Cluster) -> tuple[Ingress, ...]:
    """The Ingresses whose class is the lab's controller's."""
    if cluster.ingress_controller is None:
        return ()
    ours = {item.name for item in cluster.ingress_classes if item.controller == CONTROLLER}
    return tuple(item for item in cluster.ingresses if item.ingress_class in ours)


def why_unserved(cluster: Cluster, host: str) -> str:
    """Which Ingress has the host though no controller of the lab serves it, and why; else empty."""
    ours = served(cluster)
    for ingress in cluster.ingresses:
        named = any(rule.host and host_matches(rule.host, host) for rule in ingress.rules)
        if named and ingress not in ours:
            why = _why_not_ours(cluster, ingress.ingress_class)
            return f"Ingress {ingress.name} has this host, but no controller serves it: {why}"
    return ""


def _why_not_ours(cluster: Cluster, name: str) -> str:
    if not name:
        return "it names no class, and no IngressClass is the default"
    controllers = {item.name: item.controller for item in cluster.ingress_classes}
    if name not in controllers:
        return f"there is no IngressClass {name}"
    if controllers[name] == CONTROLLER:
        return "the lab has no ingress controller"
    return f"its class {name} is that of {controllers[name]}, which the lab does not run"


def sites(cluster: Cluster) -> tuple[Site, ...]:
    """The sites by host, the one without a host first; that one is always there."""
    ingresses = served(cluster)
    hosts = dict.fromkeys(rule.host for ingress in ingresses for rule in ingress.rules)
    default = next((_fallback(item) for item in ingresses if not item.rules), None)
    return tuple(
        Site(
            host,
            tuple(_routes(ingresses, host)),
            next((_fallback(item) for item in ingresses if _defaults_for(item, host)), default),
            certificate_of(cluster, host),
        )
        for host in sorted({"", *hosts})
    )


def _fallback(ingress: Ingress) -> IngressRoute | None:
    if ingress.default_backend is None:
        return None
    return IngressRoute(ingress, ingress.default_backend)


def _defaults_for(ingress: Ingress, host: str) -> bool:
    return ingress.default_backend is not None and any(rule.host == host for rule in ingress.rules)


def _routes(ingresses: tuple[Ingress, ...], host: str) -> Iterator[IngressRoute]:
    for ingress in ingresses:
        for rule in ingress.rules:
            if rule.host == host:
                for path in rule.paths:
                    yield IngressRoute(ingress, path.backend, path)


# -- certificates ----------------------------------------------------------------------------------


def certificates(cluster: Cluster) -> tuple[Certificate, ...]:
    """Every certificate that the controller needs, the default one first."""
    if cluster.ingress_controller is None:
        return ()
    found = {DEFAULT_CERTIFICATE: default_certificate()}
    for site in sites(cluster):
        if site.certificate is not None:
            found.setdefault(site.certificate.name, site.certificate)
    return tuple(found.values())


def default_certificate() -> Certificate:
    """What is shown for a host without TLS of its own, as ingress-nginx shows its fake one."""
    return Certificate(DEFAULT_CERTIFICATE, DEFAULT_CERTIFICATE_HOST)


def certificate_of(cluster: Cluster, host: str) -> Certificate | None:
    """The certificate of a host with TLS: of the Secret, or one that the lab's CA signs."""
    secrets = {(item.namespace, item.name): item for item in cluster.tls_secrets}
    for ingress in served(cluster):
        if not any(rule.host == host for rule in ingress.rules):
            continue
        for entry in ingress.tls:
            if not _covers(entry.hosts, host):
                continue
            secret = secrets.get((ingress.namespace, entry.secret_name))
            if secret is not None:
                return Certificate(_secret_name(secret), host, secret)
            if not host:
                return default_certificate()
            return Certificate(_host_name(host), host)
    return None


def _covers(hosts: tuple[str, ...], host: str) -> bool:
    """Whether a `tls` entry is about the host; without hosts it is about all of the Ingress'."""
    if not hosts or host in hosts:
        return True
    _, dot, rest = host.partition(".")
    return bool(dot) and not host.startswith("*") and f"*.{rest}" in hosts


def _host_name(host: str) -> str:
    """A file's name for a host: of at most 255 bytes, with its suffix."""
    name = f"host.{host.replace('*', '_')}"
    return name if len(name) <= 200 else f"host.{_digest(host)}"


def _secret_name(secret: TLSSecret) -> str:
    """Another content is another file, so that a change is one of nginx' configuration too."""
    content = _digest(f"{secret.namespace}/{secret.name}\n{secret.certificate}\n{secret.key}")
    return f"secret.{secret.namespace}.{secret.name[:100]}.{content}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# -- backends --------------------------------------------------------------------------------------


def endpoints(cluster: Cluster, namespace: str, backend: IngressBackend) -> tuple[str, ...]:
    """`address:port` of each ready endpoint of a backend, sorted; none if there is no such port.

    ingress-nginx goes to endpoints, not to the cluster IP: session affinity and traffic policies
    of the Service have no say.
    """
    service = find_service(cluster, namespace, backend.service)
    name = port_name(service, backend) if service is not None else None
    if service is None or name is None:
        return ()
    for family in cluster.network.families:
        found = {
            (int(address), port.port)
            for part in cluster.endpoint_slices
            if (part.namespace, part.service) == (namespace, service.name)
            if part.address_type is family
            for port in part.ports
            if port.name == name and port.protocol is Protocol.TCP and port.port is not None
            for endpoint in part.endpoints
            if endpoint.ready is not False
            for address in endpoint.addresses[:1]
        }
        if found:
            return tuple(_socket(family, number, port) for number, port in sorted(found))
    return ()


def _socket(family: IPFamily, number: int, port: int) -> str:
    if family is IPFamily.IPV4:
        return f"{IPv4Address(number)}:{port}"
    return f"[{IPv6Address(number)}]:{port}"


def find_service(cluster: Cluster, namespace: str, name: str) -> Service | None:
    """The Service of a backend; an ExternalName has no endpoints to go to."""
    for service in cluster.services:
        if (service.namespace, service.name) == (namespace, name):
            return None if service.type is ServiceType.EXTERNAL_NAME else service
    return None


def port_name(service: Service, backend: IngressBackend) -> str | None:
    """The name (which may be empty) of the service port that a backend means."""
    for port in service.ports:
        if port.protocol is Protocol.TCP and backend.port in (port.port, port.name or None):
            return port.name
    return None


# -- the way in ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where the world finds the controller: a balancer's address, or node ports of a node."""

    address: IPAddress
    http: int
    https: int
    service: Service
    #: None: the address is a load balancer's
    node: Node | None = None


def entrance(cluster: Cluster, family: IPFamily | None = None) -> Entrance | None:
    """The controller's door to the outside, in the family, by default the cluster's first."""
    service = controller_service(cluster)
    if service is None:
        return None
    wanted = family or cluster.network.families[0]
    for point in service.load_balancer_ingress:
        if point.ip is not None and point.ip.version == wanted.version:
            return Entrance(point.ip, HTTP, HTTPS, service)
    ports = {port.port: port.node_port for port in service.ports}
    node = _entry_node(cluster, service)
    address = node.address(wanted) if node is not None else None
    if node is None or address is None or not ports.get(HTTP):
        return None
    return Entrance(address, ports[HTTP], ports[HTTPS], service, node)


def ingress_address(ingress: Ingress, cluster: Cluster) -> str:
    """Where the world finds the Ingress: its controller's entrance; empty if nobody serves it."""
    if ingress not in served(cluster):
        return ""
    door = entrance(cluster)
    return str(door.address) if door is not None else ""


def controller_service(cluster: Cluster) -> Service | None:
    """The controller's Service."""
    if cluster.ingress_controller is None:
        return None
    namespace, _, name = cluster.ingress_controller.service.partition("/")
    return cluster.service(namespace, name)


def _entry_node(cluster: Cluster, service: Service) -> Node | None:
    """The first node; with externalTrafficPolicy Local the first that has a controller's pod."""
    if service.external_traffic_policy is TrafficPolicy.CLUSTER:
        return cluster.nodes[0] if cluster.nodes else None
    assert cluster.ingress_controller is not None  # noqa: S101 - it has a Service
    holders = {pod.node for pod in cluster.pods if pod.full_name in cluster.ingress_controller.pods}
    return next((node for node in cluster.nodes if node.name in holders), None)


def host_matches(pattern: str, host: str) -> bool:
    """Whether a rule's host is this host: `*` stands for exactly one label."""
    if not pattern.startswith("*."):
        return pattern == host.lower()
    label, dot, rest = host.lower().partition(".")
    return bool(label and dot) and rest == pattern[2:]


def serves_host(cluster: Cluster, host: str) -> bool:
    """True if a rule of a served Ingress names the host."""
    name = host.removesuffix(".")
    return any(
        rule.host and host_matches(rule.host, name)
        for ingress in served(cluster)
        for rule in ingress.rules
    )
