"""nginx' configuration: the lab's Ingresses, as ingress-nginx would have nginx serve them.

    site        one `server`: an exact host by name, a wildcard one by a regular expression of
                exactly one label, the one without a host as default_server
    Exact /a    location = /a
    Prefix /a   location = /a, location /a/
    other /a    location /a          ImplementationSpecific: nginx' own prefix of the string
    backend     upstream with the ready endpoints; without one a 503
    nothing     404

For a location that ends with a slash nginx would answer a request without that slash by a redirect
(auto_redirect of proxy_pass, also for `=`). Kubernetes knows no such redirect, so the shorter path
gets a location of its own, which does what would have been done without the longer one.

nginx compares decoded paths, so paths are written decoded. Text of the lab file appears inside
quotes or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import unquote_to_bytes

from kns.cluster.ingress import (
    CONNECT_SECONDS,
    TRIES,
    Certificate,
    IngressRoute,
    Site,
    default_certificate,
    endpoints,
    sites,
)
from kns.cluster.model import Cluster
from kns.cluster.words import word
from kns.kinds.ingress import IngressBackend, PathType
from kns.kinds.pod import Pod

_ANNOTATION = "nginx.ingress.kubernetes.io/"
_ALLOW = ("whitelist-source-range", "allowlist-source-range")
_DENY = "denylist-source-range"


@dataclass(frozen=True, slots=True)
class Folders:
    """Where nginx keeps what it writes, and finds its certificates."""

    own: Path
    tls: Path


def config(cluster: Cluster, pod: Pod, folders: Folders) -> str:
    """What the nginx of a controller's pod reads."""
    served = sites(cluster)
    lines = [*_main(folders.own), "http {"]
    lines += _indented(_http(folders.own))
    lines += _indented(_upstreams(cluster, served))
    for site in served:
        lines += _indented(_server(cluster, pod, site, folders))
    return "\n".join([*lines, "}"]) + "\n"


def quoted(text: str) -> str:
    """The text as one parameter, whatever is in it (ngx_conf_read_token of ngx_conf_file.c)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


def _indented(lines: Iterator[str] | list[str]) -> Iterator[str]:
    return (f"    {line}" if line else "" for line in lines)


# -- what does not depend on the Ingresses ---------------------------------------------------------

_HTTP = """\
access_log /dev/stdout upstreaminfo;
default_type text/plain;
server_tokens off;
merge_slashes off;
server_names_hash_max_size 4096;
server_names_hash_bucket_size 512;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache shared:SSL:1m;
map $http_upgrade $connection_upgrade {
    default upgrade;
    "" close;
}
map $http_host $best_http_host {
    default $http_host;
    "" $host;
}
proxy_http_version 1.1;
proxy_buffering off;
proxy_redirect off;
proxy_set_header Host $best_http_host;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
proxy_set_header X-Request-ID $request_id;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Host $best_http_host;
proxy_set_header X-Forwarded-Port $server_port;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-Scheme $scheme;
proxy_set_header X-Scheme $scheme;
proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
proxy_set_header Proxy "";
"""
_LOG = (
    'log_format upstreaminfo \'$remote_addr [$time_local] "$request" $status $body_bytes_sent'
    " $host $upstream_addr $upstream_status $request_time';"
)


def _main(folder: Path) -> Iterator[str]:
    yield "# made of the lab's Ingress objects by kns; read anew on SIGHUP"
    yield "daemon off;"
    yield "user root;"
    yield "worker_processes 1;"
    yield "worker_rlimit_nofile 16384;"
    yield "worker_shutdown_timeout 240s;"
    yield f"pid {quoted(str(folder / 'nginx.pid'))};"
    yield "error_log stderr notice;"
    yield "events {"
    yield "    worker_connections 4096;"
    yield "}"


def _http(folder: Path) -> Iterator[str]:
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        yield f"{kind}_temp_path {quoted(str(folder / kind))};"
    yield _LOG
    yield from _HTTP.splitlines()
    yield "proxy_next_upstream error timeout;"
    yield f"proxy_connect_timeout {CONNECT_SECONDS}s;"
    yield f"proxy_next_upstream_tries {TRIES};"


# -- upstreams -------------------------------------------------------------------------------------


def _upstreams(cluster: Cluster, served: tuple[Site, ...]) -> Iterator[str]:
    """One for each backend that has endpoints."""
    wanted: dict[str, tuple[str, ...]] = {}
    for site in served:
        for route in (*site.routes, *([site.fallback] if site.fallback else [])):
            namespace = route.ingress.namespace
            found = endpoints(cluster, namespace, route.backend)
            if found:
                wanted[_upstream_name(namespace, route.backend)] = found
    for name, sockets in sorted(wanted.items()):
        yield f"upstream {name} {{"
        # whether an endpoint is ready is Kubernetes' to say, not nginx' to guess from failures
        yield from (f"    server {socket} max_fails=0;" for socket in sockets)
        yield "}"


def _upstream_name(namespace: str, backend: IngressBackend) -> str:
    """No namespace and no Service has a dot in its name."""
    return ".".join(word(str(part)) for part in (namespace, backend.service, backend.port))


# -- servers ---------------------------------------------------------------------------------------


def _server(cluster: Cluster, pod: Pod, site: Site, folders: Folders) -> Iterator[str]:
    certificate = site.certificate or default_certificate()
    yield "server {"
    yield f"    server_name {_server_name(site.host)};"
    default = "" if site.host else " default_server"
    for version in dict.fromkeys(address.version for address in pod.addresses):
        host = "" if version == 4 else "[::]:"
        only = " ipv6only=on" if version == 6 and default else ""
        yield f"    listen {host}80{default}{only};"
        yield f"    listen {host}443 ssl{default}{only};"
    yield from (f"    {line}" for line in _certificate(certificate, folders.tls))
    for location, route in _locations(site).ordered():
        yield f"    location {location} {{"
        actions = _actions(cluster, site, route, folders.own)
        yield from (f"        {line}" for line in actions)
        yield "    }"
    yield "}"


def _server_name(host: str) -> str:
    if not host:
        return "_"
    if host.startswith("*."):
        suffix = "".join(f"[.]{word(label)}" for label in host[2:].split("."))
        return quoted(f"~^[^.]+{suffix}$")
    return quoted(word(host))


def _certificate(certificate: Certificate, folder: Path) -> Iterator[str]:
    yield f"ssl_certificate {quoted(str(folder / f'{certificate.name}.pem'))};"
    yield f"ssl_certificate_key {quoted(str(folder / f'{certificate.name}.key'))};"


def _actions(
    cluster: Cluster, site: Site, route: IngressRoute | None, folder: Path
) -> Iterator[str]:
    """What is done with a request that a location takes."""
    if route is None:
        yield "return 404;"
        return
    annotations = route.ingress.annotations
    if _redirects(site, annotations):
        yield "if ($scheme = http) {"
        yield "    return 308 https://$host$request_uri;"
        yield "}"
    yield from _access(annotations)
    if endpoints(cluster, route.ingress.namespace, route.backend):
        yield f"proxy_pass http://{_upstream_name(route.ingress.namespace, route.backend)};"
    else:
        # not `return`, which would come before the access rules
        yield f"root {quoted(str(folder / 'nothing'))};"
        yield "try_files /nothing =503;"


def _redirects(site: Site, annotations: Mapping[str, str]) -> bool:
    """`ssl-redirect` is on by default where TLS is configured."""
    if annotations.get(f"{_ANNOTATION}force-ssl-redirect") == "true":
        return True
    asked = annotations.get(f"{_ANNOTATION}ssl-redirect", "true")
    return site.certificate is not None and asked == "true"


def _access(annotations: Mapping[str, str]) -> Iterator[str]:
    for network in _ranges(annotations.get(f"{_ANNOTATION}{_DENY}", "")):
        yield f"deny {network};"
    allowed = next(
        (
            annotations[f"{_ANNOTATION}{key}"]
            for key in _ALLOW
            if f"{_ANNOTATION}{key}" in annotations
        ),
        "",
    )
    networks = list(_ranges(allowed))
    yield from (f"allow {network};" for network in networks)
    if networks:
        yield "deny all;"


def _ranges(text: str) -> Iterator[str]:
    for item in text.split(","):
        if item.strip():
            yield str(ip_network(item.strip(), strict=False))


# -- locations -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Locations:
    """The locations of a site; a None leads to a 404."""

    exact: dict[str, IngressRoute | None] = field(default_factory=dict)
    prefix: dict[str, IngressRoute | None] = field(default_factory=dict)

    def ordered(self) -> Iterator[tuple[str, IngressRoute | None]]:
        """In an order for people: nginx itself takes the exact one, else the longest prefix."""
        for path in sorted(self.exact):
            yield f"= {quoted(path)}", self.exact[path]
        for path in sorted(self.prefix, key=lambda item: (-len(item), item)):
            yield quoted(path), self.prefix[path]


def _locations(site: Site) -> _Locations:
    found = _Locations()
    for kind in PathType:
        for route in site.routes:
            if route.path is not None and route.path.path_type is kind:
                _add(found, kind, _decoded(route.path.path), route)
    found.prefix.setdefault("/", site.fallback)
    for path in (*found.exact, *found.prefix):
        shorter = path.removesuffix("/")
        if shorter not in {"", path}:
            others = (other for other in found.prefix if shorter.startswith(other))
            found.exact.setdefault(shorter, found.prefix[max(others, key=len)])
    return found


def _add(found: _Locations, kind: PathType, path: str, route: IngressRoute) -> None:
    """PathType's own order is that of precedence between paths of one length."""
    match kind:
        case PathType.EXACT:
            found.exact.setdefault(path, route)
        case PathType.PREFIX:
            base = path.removesuffix("/")
            if base:
                found.exact.setdefault(base, route)
            found.prefix.setdefault(f"{base}/", route)
        case PathType.IMPLEMENTATION_SPECIFIC:
            found.prefix.setdefault(path or "/", route)


def _decoded(path: str) -> str:
    """The path as nginx compares it; one whose bytes are no text stays as it is written."""
    try:
        return unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return path
