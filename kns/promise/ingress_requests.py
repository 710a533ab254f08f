"""The requests by which an Ingress controller is tried. Pure.

Each host of a rule is asked for each of its paths, for what lies below and beside them; a wildcard
host for a name of one label and of two; a host that nobody named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

from kns.cluster.model import Cluster
from kns.kinds.ingress import IngressPath, PathType
from kns.promise.ingress_rules import decide, has_tls, redirects, site_of

#: a name that no rule means
NOBODY = "kns-nobody.invalid"


@dataclass(frozen=True, slots=True)
class IngressRequest:
    """A request as a client outside writes it."""

    host: str
    path: str
    scheme: str = "http"

    @property
    def url(self) -> str:
        """For people and for ids."""
        return f"{self.scheme}://{self.host}{self.written}"

    @property
    def written(self) -> str:
        """The path as a URL has it."""
        return quote(self.path, safe="/:@!$&'()*+,;=~-._")


def requests_of(cluster: Cluster) -> Iterator[IngressRequest]:
    """Each once: for every host its paths, by the scheme that leads on; then the redirect."""
    asked = dict.fromkeys(
        (host, path)
        for host, paths in _sites(cluster)
        for path in dict.fromkeys([p for item in paths for p in _nearby(item)] or ["/"])
    )
    redirected: set[str] = set()
    for host, path in asked:
        site = site_of(cluster, host)
        decision = decide(cluster, host, path)
        if redirects(cluster, host, decision) and host not in redirected:
            redirected.add(host)
            yield IngressRequest(host, path)
        # without TLS of its own a host has the controller's certificate, which is for no such name
        scheme = "https" if site and has_tls(cluster, site) else "http"
        yield IngressRequest(host, path, scheme)


def _sites(cluster: Cluster) -> Iterator[tuple[str, tuple[IngressPath, ...]]]:
    """Names to ask for, with the paths of their rules; those that nobody serves among them."""
    paths: dict[str, list[IngressPath]] = {}
    for ingress in cluster.ingresses:
        for rule in ingress.rules:
            paths.setdefault(rule.host, []).extend(rule.paths)
    for host, items in paths.items():
        if not host.startswith("*."):
            yield host or NOBODY, tuple(items)
            continue
        yield f"kns.{host[2:]}", tuple(items)
        yield f"two.labels.{host[2:]}", ()
        yield host[2:], ()
    yield NOBODY, ()


def _nearby(item: IngressPath) -> tuple[str, ...]:
    """The path itself and its neighbours, which tell the path types apart."""
    path = unquote(item.path) or "/"
    base = path.rstrip("/")
    if item.path_type is PathType.EXACT:
        return (path, base or f"{path}kns") if path.endswith("/") else (path, f"{path}/")
    if not base:
        return ("/", "/kns")
    return (path, base, f"{base}/kns", f"{base}kns")
