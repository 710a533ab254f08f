"""What an Ingress controller must do with a request, by Kubernetes' documentation. Pure.

Written from the rules for hosts and paths, apart from what makes nginx' configuration, so that the
two can disagree:

    host     the exact one, else a wildcard of one label, else rules that name none
    path     the longest match; of two of one length Exact comes before Prefix; Prefix compares
             elements between slashes, ImplementationSpecific compares characters
    nothing  the default backend of an Ingress of that host, of one without rules, else 404
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from urllib.parse import unquote

from kns.addresses import IPAddress
from kns.cluster.ingress import host_matches, served
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.ingress import Ingress, IngressBackend, IngressPath, PathType
from kns.kinds.service import Service, ServicePort, ServiceType
from kns.promise.flow import Backend
from kns.promise.lookup import Lookup

_ANNOTATION = "nginx.ingress.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request leads; no `ingress`: nowhere. No `path`: to a default backend."""

    ingress: Ingress | None = None
    backend: IngressBackend | None = None
    path: IngressPath | None = None

    @property
    def words(self) -> str:
        """`Ingress shop, Prefix /cart: service cart`."""
        if self.ingress is None or self.backend is None:
            return "no rule matches and there is no default backend"
        rule = f"{self.path.path_type} {self.path.path or '/'}" if self.path else "default backend"
        return f"Ingress {_short(self.ingress)}, {rule}: service {self.backend.service}"


def _short(ingress: Ingress) -> str:
    return ingress.name if ingress.namespace == "default" else ingress.full_name


def decide(cluster: Cluster, host: str, path: str) -> Decision:
    """Where a request for the host and path leads."""
    ingresses = served(cluster)
    pattern = site_of(cluster, host)
    matching = [
        Decision(ingress, item.backend, item)
        for ingress in ingresses
        for rule in ingress.rules
        if rule.host == pattern
        for item in rule.paths
        if _path_matches(item, path)
    ]
    if matching:
        return max(matching, key=_weight)  # of equal ones the first
    own = (item for item in ingresses if any(rule.host == pattern for rule in item.rules))
    general = (item for item in ingresses if not item.rules)
    for ingress in (*own, *general):
        if ingress.default_backend is not None:
            return Decision(ingress, ingress.default_backend)
    return Decision()


def site_of(cluster: Cluster, host: str) -> str:
    """The host of the rules that count for a request's host; empty: of those that name none."""
    patterns = {rule.host for ingress in served(cluster) for rule in ingress.rules}
    if host in patterns:
        return host
    return next((item for item in sorted(patterns) if item and host_matches(item, host)), "")


def _path_matches(item: IngressPath, path: str) -> bool:
    written = unquote(item.path)
    match item.path_type:
        case PathType.EXACT:
            return path == written
        case PathType.PREFIX:
            wanted = [part for part in written.split("/") if part]
            return [part for part in path.split("/") if part][: len(wanted)] == wanted
        case PathType.IMPLEMENTATION_SPECIFIC:
            return path.startswith(written or "/")


def _weight(decision: Decision) -> tuple[int, int]:
    assert decision.path is not None  # noqa: S101 - only matching paths are weighed
    kind, path = decision.path.path_type, unquote(decision.path.path)
    if kind is PathType.PREFIX:
        path = path.rstrip("/")
    return len(path), -list(PathType).index(kind)


# -- what comes of it ------------------------------------------------------------------------------


def backends_of(lookup: Lookup, decision: Decision) -> tuple[Backend, ...]:
    """The endpoints that may answer; none: a 503 (or nothing to decide)."""
    cluster = lookup.cluster
    if decision.ingress is None or decision.backend is None:
        return ()
    found = _service_port(cluster, decision.ingress, decision.backend)
    if found is None:
        return ()
    for family in cluster.network.families:
        backends = lookup.endpoints(*found, family).ready
        if backends:
            return backends
    return ()


def _service_port(
    cluster: Cluster, ingress: Ingress, backend: IngressBackend
) -> tuple[Service, ServicePort] | None:
    for service in cluster.services:
        if (service.namespace, service.name) != (ingress.namespace, backend.service):
            continue
        for port in service.ports:
            named = port.name == backend.port and bool(port.name)
            if port.protocol is Protocol.TCP and (named or port.port == backend.port):
                return None if service.type is ServiceType.EXTERNAL_NAME else (service, port)
    return None


def has_tls(cluster: Cluster, host: str) -> bool:
    """Whether TLS is configured for the host of a rule."""
    for ingress in served(cluster):
        if any(rule.host == host for rule in ingress.rules):
            for entry in ingress.tls:
                covers = (item for item in entry.hosts if host_matches(item, host) or item == host)
                if not entry.hosts or any(covers):
                    return True
    return False


def redirects(cluster: Cluster, host: str, decision: Decision) -> bool:
    """Whether a plain request is sent to https: on by default where TLS is configured."""
    annotations = decision.ingress.annotations if decision.ingress is not None else None
    if annotations is None:
        return False
    if annotations.get(f"{_ANNOTATION}force-ssl-redirect") == "true":
        return True
    asked = annotations.get(f"{_ANNOTATION}ssl-redirect", "true")
    return has_tls(cluster, site_of(cluster, host)) and asked == "true"


def is_restricted(ingress: Ingress) -> bool:
    """True if an annotation lets some clients in, or keeps some out."""
    return any(key.startswith(_ANNOTATION) and "source-range" in key for key in ingress.annotations)


def admits(ingress: Ingress, client: IPAddress) -> bool:
    """Whether a client that nginx sees under that address is let in: a deny list comes first."""

    def holds(key: str) -> bool:
        ranges = (ip_network(item, strict=False) for item in _items(ingress, key))
        return any(client in network for network in ranges)

    if holds("denylist-source-range"):
        return False
    allow = ("whitelist-source-range", "allowlist-source-range")
    lists = [key for key in allow if any(_items(ingress, key))]
    return not lists or holds(lists[0])


def _items(ingress: Ingress, key: str) -> Iterator[str]:
    text = ingress.annotations.get(f"{_ANNOTATION}{key}", "")
    return (item.strip() for item in text.split(",") if item.strip())
