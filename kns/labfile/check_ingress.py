"""Checks of Ingresses, their classes and TLS Secrets: what kube-apiserver refuses, in its words.

Source: pkg/apis/networking/validation/validation.go, pkg/apis/core/validation ValidateSecret. What
ingress-nginx's admission webhook refuses, or passes over in silence, is a warning.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from kns.errors import Problem
from kns.labfile import names
from kns.labfile.check_network import duplicate
from kns.labfile.document import Path
from kns.labfile.model_ingress import (
    BackendPortSpec,
    BackendServiceSpec,
    BackendSpec,
    IngressPathSpec,
    IngressRuleSpec,
    IngressSpec,
    SecretSpec,
)
from kns.labfile.places import Located, Place, Sources
from kns.labfile.problems import shown

IngressPart = Located[IngressSpec]

#: the annotation that was there before `ingressClassName`, and still is in many manifests
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"
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
            yield from _backend(spec.default_backend, place, ("defaultBackend",))
        for index, rule in enumerate(spec.rules):
            yield from _rule(rule, place, ("rules", index))
        yield from _tls(spec, place)
        yield from _annotations(spec, place)
    for secret in sources.secrets:
        yield from _secret(secret.value, secret.place)
    yield from _classes(sources)
    yield from _duplicates(sources)
    yield from _controller(sources)


# -- rules -----------------------------------------------------------------------------------------


def paths_of(rule: IngressRuleSpec) -> tuple[tuple[IngressPathSpec, Path], ...]:
    """A rule's paths, each with its own path in the file, whether written short or long."""
    long = rule.http.paths if rule.http is not None else ()
    return (
        *((item, ("paths", index)) for index, item in enumerate(rule.paths)),
        *((item, ("http", "paths", index)) for index, item in enumerate(long)),
    )


def _rule(rule: IngressRuleSpec, place: Place, base: Path) -> Iterator[Problem]:
    if objection := host_objection(rule.host):
        yield place.problem((*base, "host"), f"Invalid value: {shown(rule.host)}: {objection}")
    if rule.http is not None and rule.paths:
        message = "may not be set together with http.paths, which it is short for"
        yield place.problem((*base, "paths"), message)
    if rule.http is not None and not rule.http.paths:
        yield place.problem((*base, "http", "paths"), "Required value")
    for item, inner in paths_of(rule):
        yield from _path(item, place, (*base, *inner))
        yield from _backend(item.backend, place, (*base, *inner, "backend"))


def host_objection(host: str) -> str:
    """Why this can't be the host of a rule, or nothing."""
    if not host:
        return ""
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return "must be a DNS name, not an IP address"
    return names.wildcard_objection(host) if "*" in host else names.subdomain_objection(host)


def _path(item: IngressPathSpec, place: Place, base: Path) -> Iterator[Problem]:
    if item.path_type is None:
        hint = f"supported values: {_PATH_TYPES}"
        yield place.problem((*base, "pathType"), "Required value: pathType must be specified", hint)
    if objection := path_objection(item.path, item.path_type or ""):
        yield place.problem((*base, "path"), f"Invalid value: {shown(item.path)}: {objection}")


def path_objection(path: str, path_type: str) -> str:
    """Why this can't be a path of that type, or nothing."""
    specific = path_type == "ImplementationSpecific"
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


def _backend(spec: BackendSpec, place: Place, base: Path) -> Iterator[Problem]:
    service = (*base, "service")
    if spec.service is not None and spec.resource is not None:
        message = 'Invalid value: "": cannot set both resource and service backends'
        yield place.problem(base, message)
    elif spec.service is None and spec.resource is None:
        yield place.problem(base, 'Invalid value: "": resource or service backend is required')
    elif isinstance(spec.service, BackendServiceSpec):
        if spec.port is not None:
            message = "may not be set together with service.port, which it is short for"
            yield place.problem((*base, "port"), message)
        yield from _port(spec.service.port, place, (*service, "port"))
    elif spec.service is not None:
        yield from _port(spec.port, place, (*base, "port"))


def _port(port: BackendPortSpec | int | str | None, place: Place, path: Path) -> Iterator[Problem]:
    if not isinstance(port, BackendPortSpec):
        if port is None:
            yield place.problem(path, "Required value: port name or number is required")
    elif port.name is not None and port.number is not None:
        yield place.problem(path, 'Invalid value: "": cannot set both port name & port number')
    elif port.name is None and port.number is None:
        yield place.problem(path, "Required value: port name or number is required")


def backend_of(spec: BackendSpec) -> tuple[str, int | str] | None:
    """The Service and port of a checked backend; None for one that is no Service."""
    if spec.service is None:
        return None
    name, port = (
        (spec.service, spec.port)
        if isinstance(spec.service, str)
        else (spec.service.name, spec.service.port)
    )
    if isinstance(port, BackendPortSpec):
        port = port.name if port.number is None else port.number
    return name, port or 0


# -- TLS, Secrets, annotations ---------------------------------------------------------------------


def _tls(spec: IngressSpec, place: Place) -> Iterator[Problem]:
    for index, entry in enumerate(spec.tls):
        for number, host in enumerate(entry.hosts):
            path = ("tls", index, "hosts", number)
            objection = host_objection(host) if host else names.subdomain_objection(host)
            if objection:
                yield place.problem(path, f"Invalid value: {shown(host)}: {objection}")


def tls_parts(spec: SecretSpec) -> tuple[str, str]:
    """The certificate and the key of a checked Secret; `stringData` wins, as in Kubernetes."""
    parts = []
    for key in ("tls.crt", "tls.key"):
        text = spec.string_data.get(key)
        parts.append(_decoded(spec.data.get(key, "")) if text is None else text)
    return parts[0] or "", parts[1] or ""


def _decoded(value: str) -> str | None:
    """The text of a base64 value; None if it is none."""
    try:
        return base64.b64decode("".join(value.split()), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None


def _secret(spec: SecretSpec, place: Place) -> Iterator[Problem]:
    for key, pattern, what in (
        ("tls.crt", _CERTIFICATE, "a certificate"),
        ("tls.key", _KEY, "a private key"),
    ):
        field = "stringData" if key in spec.string_data else "data"
        if key not in spec.string_data and key not in spec.data:
            yield place.problem((field, key), "Required value")
            continue
        text = spec.string_data.get(key)
        if text is None:
            text = _decoded(spec.data[key])
        if text is None:
            message = "Invalid value: must be base64 of text"
            yield place.problem((field, key), message, "write plain text below stringData")
        elif not pattern.search(text):
            yield place.problem((field, key), f"Invalid value: must hold {what} in PEM form")


def _annotations(spec: IngressSpec, place: Place) -> Iterator[Problem]:
    for key, value in spec.annotations.items():
        path = ("annotations", key)
        if key == CLASS_ANNOTATION and spec.ingress_class_name is not None:
            message = (
                f"Invalid value: {shown(value)}: can not be set when the class field is also set"
            )
            yield place.problem(path, message)
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
        if part.value.annotations.get(DEFAULT_CLASS_ANNOTATION) == "true":
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
