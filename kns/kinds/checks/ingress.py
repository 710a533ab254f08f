"""Checks of Ingresses, their classes and TLS Secrets: what kube-apiserver refuses, in its words.

Source: pkg/apis/networking/validation/validation.go, pkg/apis/core/validation ValidateSecret. What
ingress-nginx's admission webhook refuses, or passes over in silence, is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network

from kns.addresses import is_address
from kns.errors import Problem
from kns.kinds import names
from kns.kinds.checks.network import duplicate
from kns.kinds.ingress import (
    CLASS_ANNOTATION,
    DEFAULT_CLASS_ANNOTATION,
    Ingress,
    IngressPath,
    IngressRule,
    PathType,
)
from kns.kinds.secret import decoded
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.place import Located, Place
from kns.labfile.wording import shown

IngressPart = Located[Ingress]

ANNOTATION_PREFIX = "nginx.ingress.kubernetes.io/"
#: each annotation of ingress-nginx that the lab's controller knows, and what its value is
ANNOTATIONS = {
    "whitelist-source-range": "ranges",
    "allowlist-source-range": "ranges",
    "denylist-source-range": "ranges",
    "ssl-redirect": "flag",
    "force-ssl-redirect": "flag",
}
#: pkg/apis/networking/validation/validation.go: invalidPathSequences, invalidPathSuffixes
_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_SUFFIXES = ("/..", "/.")
#: nginx takes no parameter of more than 4096 bytes, quoted; Gateway API has the same limit
MAX_PATH = 1024
_PATH_TYPES = '"Exact", "ImplementationSpecific", "Prefix"'
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)
_KEY = re.compile(
    r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----\s+[^-]+-----END ([A-Z]+ )?PRIVATE KEY-----"
)


def check_ingresses(sources: Sources) -> Iterator[Problem]:
    """Every error in Ingresses, IngressClasses, TLS Secrets and the controller's options."""
    for part in sources.ingresses:
        spec, place = part.value, part.place
        if not spec.rules and spec.default_backend is None:
            message = "Invalid value: []: either `defaultBackend` or `rules` must be specified"
            yield place.problem((), message)
        if spec.default_backend is not None:
            yield from _backend(place, ("defaultBackend",))
        for index, rule in enumerate(spec.rules):
            yield from _rule(rule, place, ("rules", index))
        yield from _tls(spec, place)
        yield from _annotations(spec, place)
    for secret in sources.secrets:
        yield from _secret(secret.place)
    yield from _classes(sources)
    yield from _duplicates(sources)
    yield from _controller(sources)


# -- rules -----------------------------------------------------------------------------------------


def paths_of(rule: IngressRule, place: Place, base: Path) -> Iterator[tuple[IngressPath, Path]]:
    """A rule's paths, each with its own path in the file, whether written short or long."""
    short = place.get(*base, "paths")
    count = len(short) if isinstance(short, list) else 0
    for index, item in enumerate(rule.paths):
        if index < count:
            yield item, (*base, "paths", index)
        else:
            yield item, (*base, "http", "paths", index - count)


def _rule(rule: IngressRule, place: Place, base: Path) -> Iterator[Problem]:
    if objection := host_objection(rule.host):
        yield place.problem((*base, "host"), f"Invalid value: {shown(rule.host)}: {objection}")
    http = place.has(*base, "http")
    if http and place.get(*base, "paths"):
        message = "may not be set together with http.paths, which it is short for"
        yield place.problem((*base, "paths"), message)
    if http and not place.get(*base, "http", "paths"):
        yield place.problem((*base, "http", "paths"), "Required value")
    for item, path in paths_of(rule, place, base):
        yield from _path(item, place, path)
        yield from _backend(place, (*path, "backend"))


def host_objection(host: str) -> str:
    """Why this can't be the host of a rule, or nothing."""
    if not host:
        return ""
    if is_address(host):
        return "must be a DNS name, not an IP address"
    return names.wildcard_objection(host) if "*" in host else names.subdomain_objection(host)


def _path(item: IngressPath, place: Place, base: Path) -> Iterator[Problem]:
    path_type = item.path_type if place.has(*base, "pathType") else None
    if path_type is None:
        hint = f"supported values: {_PATH_TYPES}"
        yield place.problem((*base, "pathType"), "Required value: pathType must be specified", hint)
    if objection := path_objection(item.path, path_type):
        yield place.problem((*base, "path"), f"Invalid value: {shown(item.path)}: {objection}")


def path_objection(path: str, path_type: PathType | None) -> str:
    """Why this can't be a path of that type, or nothing."""
    specific = path_type is PathType.IMPLEMENTATION_SPECIFIC
    if not path.startswith("/") and (path or not specific):
        return "must be an absolute path"
    for text in _SEQUENCES if not specific else ():
        if text in path:
            return f"must not contain '{text}'"
    for text in _SUFFIXES if not specific else ():
        if path.endswith(text):
            return f"cannot end with '{text}'"
    if len(path.encode()) > MAX_PATH:
        return f"must be no more than {MAX_PATH} bytes"
    if _CONTROL.search(path):
        return "must not contain control characters"
    return ""


#: written as they are, or as a request would have to write them
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|%[01][0-9A-Fa-f]|%7[Ff]")


def _backend(place: Place, base: Path) -> Iterator[Problem]:
    service, resource = place.get(*base, "service"), place.has(*base, "resource")
    if service is not None and resource:
        message = 'Invalid value: "": cannot set both resource and service backends'
        yield place.problem(base, message)
    elif service is None and not resource:
        yield place.problem(base, 'Invalid value: "": resource or service backend is required')
    elif isinstance(service, dict):
        if place.has(*base, "port"):
            message = "may not be set together with service.port, which it is short for"
            yield place.problem((*base, "port"), message)
        yield from _port(place, (*base, "service", "port"))
    elif service is not None:
        yield from _port(place, (*base, "port"))


def _port(place: Place, path: Path) -> Iterator[Problem]:
    port = place.get(*path)
    name, number = place.has(*path, "name"), place.has(*path, "number")
    if name and number:
        yield place.problem(path, 'Invalid value: "": cannot set both port name & port number')
    elif port is None or (isinstance(port, dict) and not (name or number)):
        yield place.problem(path, "Required value: port name or number is required")


# -- TLS, Secrets, annotations ---------------------------------------------------------------------


def _tls(spec: Ingress, place: Place) -> Iterator[Problem]:
    for index, entry in enumerate(spec.tls):
        for number, host in enumerate(entry.hosts):
            path = ("tls", index, "hosts", number)
            objection = host_objection(host) if host else names.subdomain_objection(host)
            if objection:
                yield place.problem(path, f"Invalid value: {shown(host)}: {objection}")


def _secret(place: Place) -> Iterator[Problem]:
    for key, pattern, what in (
        ("tls.crt", _CERTIFICATE, "a certificate"),
        ("tls.key", _KEY, "a private key"),
    ):
        plain, encoded = place.get("stringData", key), place.get("data", key)
        field = "data" if plain is None else "stringData"
        if plain is None and encoded is None:
            yield place.problem((field, key), "Required value")
            continue
        text = decoded(str(encoded)) if plain is None else str(plain)
        if text is None:
            message = "Invalid value: must be base64 of text"
            yield place.problem((field, key), message, "write plain text below stringData")
        elif not pattern.search(text):
            yield place.problem((field, key), f"Invalid value: must hold {what} in PEM form")


def _annotations(spec: Ingress, place: Place) -> Iterator[Problem]:
    for key, value in spec.annotations.items():
        path = ("annotations", key)
        named = place.get("ingressClassName")
        if key == CLASS_ANNOTATION and named is not None and value != named:
            message = "must match `ingressClassName` when both are specified"
            yield place.problem(path, f"Invalid value: {shown(value)}: {message}")
        kind = ANNOTATIONS.get(key.removeprefix(ANNOTATION_PREFIX))
        if not key.startswith(ANNOTATION_PREFIX) or kind is None:
            continue
        if kind == "flag" and value not in {"true", "false"}:
            yield place.problem(path, f'Invalid value: {shown(value)}: must be "true" or "false"')
        for item in source_ranges(value) if kind == "ranges" else ():
            if not _is_range(item):
                message = f"Invalid value: {shown(item)}: must be an IP address or a CIDR"
                yield place.problem(path, message, "several are separated by commas")


def source_ranges(value: str) -> tuple[str, ...]:
    """The items of a list of addresses and networks, as an annotation has it."""
    return tuple(item.strip() for item in value.split(","))


def _is_range(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return "%" not in text


# -- objects together ------------------------------------------------------------------------------


def _classes(sources: Sources) -> Iterator[Problem]:
    default: Located[object] | None = None
    for part in sources.ingress_classes:
        if objection := _controller_objection(part.value.controller):
            message = f"Invalid value: {shown(part.value.controller)}: {objection}"
            yield part.place.problem(("controller",), message)
        if part.value.is_default:
            if default is not None:
                path = ("annotations", DEFAULT_CLASS_ANNOTATION)
                message = 'Invalid value: "true": there is more than one default IngressClass'
                hint = f"the first is on line {default.place.line}"
                yield part.place.problem(path, message, hint)
            default = default or part


def _controller_objection(value: str) -> str:
    """IsDomainPrefixedPath of apimachinery's util/validation."""
    if len(value) > 250:
        return "must be no more than 250 characters"
    domain, slash, path = value.partition("/")
    if not slash or not path or names.subdomain_objection(domain) or re.search(r"\s", path):
        return 'must be a domain-prefixed path (such as "acme.io/foo")'
    return ""


def _duplicates(sources: Sources) -> Iterator[Problem]:
    groups: tuple[tuple[Located[object], ...], ...] = (
        sources.ingresses,
        sources.ingress_classes,
        sources.secrets,
    )
    for group in groups:
        taken: dict[tuple[str, str], Located[object]] = {}
        for part in group:
            name = str(getattr(part.value, "name", ""))
            key = (str(getattr(part.value, "namespace", "")), name)
            if key in taken:
                yield duplicate(part, ("name",), name, taken[key])
            taken.setdefault(key, part)


def _controller(sources: Sources) -> Iterator[Problem]:
    """The node ports that are asked for: in the range, and nobody else's."""
    spec = sources.lab.ingress_controller
    if spec is None:
        return
    low, high = sources.lab.networking.node_port_range
    taken = {port.node_port for part in sources.services for port in part.value.ports}
    taken |= {part.value.health_check_node_port for part in sources.services}
    for name, port in (
        ("http", spec.service.node_ports.http),
        ("https", spec.service.node_ports.https),
    ):
        path: Path = ("ingressController", "service", "nodePorts", name)
        if port and not low <= port <= high:
            message = (
                f"Invalid value: {port}: provided port is not in the valid range. "
                f"The range of valid ports is {low}-{high}"
            )
            yield sources.place.problem(path, message)
        elif port and port in taken:
            message = f"Invalid value: {port}: provided port is already allocated"
            yield sources.place.problem(path, message)
        taken.add(port or -1)
