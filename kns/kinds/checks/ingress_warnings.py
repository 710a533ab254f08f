"""What Kubernetes takes of an Ingress in silence, and what was probably not meant.

Backends that lead nowhere, classes that nobody serves, annotations without effect: ingress-nginx
tells of them in its log, if at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kns.errors import Problem
from kns.kinds.checks.ingress import (
    ANNOTATION_PREFIX,
    ANNOTATIONS,
    IngressPart,
    paths_of,
)
from kns.kinds.ingress import CLASS_ANNOTATION, CONTROLLER, DEFAULT_CLASS, IngressBackend
from kns.kinds.service import ServiceType
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.wording import did_you_mean, shown


def warn_ingresses(sources: Sources) -> Iterator[Problem]:
    """Backends that lead nowhere, classes that nobody serves, what has no effect."""
    defined: dict[tuple[str, str, str], IngressPart] = {}
    for part in sources.ingresses:
        spec, place = part.value, part.place
        for backend, path in _backends(part):
            yield from _warn_backend(sources, part, backend, path)
        for index, rule in enumerate(spec.rules):
            for item, path in paths_of(rule, place, ("rules", index)):
                key = (rule.host, item.path, item.path_type)
                first = defined.setdefault(key, part)
                if first is not part:
                    yield _defined_twice(part, first, key, (*path, "path"))
        yield from _warn_class(sources, part)
        for annotation in spec.annotations:
            name = annotation.removeprefix(ANNOTATION_PREFIX)
            if name != annotation and name not in ANNOTATIONS:
                hint = did_you_mean(name, ANNOTATIONS)
                message = "this annotation has no effect here"
                yield place.problem(("annotations", annotation), message, hint, warning=True)
        yield from _warn_secrets(sources, part)


def _defined_twice(
    part: IngressPart, first: IngressPart, key: tuple[str, str, str], path: Path
) -> Problem:
    host, item, _ = key
    name = f"{first.value.namespace}/{first.value.name}"
    message = f"host {shown(host)} and path {shown(item)} is already defined in ingress {name}"
    return part.place.problem(path, message, "the first one counts", warning=True)


def _backends(part: IngressPart) -> Iterator[tuple[IngressBackend, Path]]:
    if part.value.default_backend is not None:
        yield part.value.default_backend, ("defaultBackend",)
    for index, rule in enumerate(part.value.rules):
        for item, path in paths_of(rule, part.place, ("rules", index)):
            yield item.backend, (*path, "backend")


def _warn_backend(
    sources: Sources, part: IngressPart, backend: IngressBackend, path: Path
) -> Iterator[Problem]:
    name, port = backend.service, backend.port
    if not name:
        message = "resource backends have no effect here: the path is left out"
        yield part.place.problem(path, message, warning=True)
        return
    services = {
        item.value.name: item.value
        for item in sources.services
        if item.value.namespace == part.value.namespace
    }
    service = services.get(name)
    if service is None:
        message = f"there is no Service {part.value.namespace}/{name}: requests get a 503"
        hint = did_you_mean(name, services)
        yield part.place.problem((*path, "service"), message, hint, warning=True)
    elif service.type is ServiceType.EXTERNAL_NAME:
        message = f"Service {name} is an ExternalName: requests get a 503"
        yield part.place.problem((*path, "service"), message, warning=True)
    elif not any(port in {item.port, item.name} and port for item in service.ports):
        known = ", ".join(str(item.name or item.port) for item in service.ports)
        message = f"Service {name} has no port {shown(port)}: requests get a 503"
        hint = f"it has {known}" if known else ""
        yield part.place.problem((*path, "service"), message, hint, warning=True)


def _warn_class(sources: Sources, part: IngressPart) -> Iterator[Problem]:
    spec = part.value
    classes = {item.value.name: item.value.controller for item in sources.ingress_classes}
    own = own_class(sources)
    classes.setdefault(own, CONTROLLER)
    written = spec.ingress_class
    if not written and CLASS_ANNOTATION not in spec.annotations:
        yield from _warn_without_class(sources, part, classes)
        return
    path: Path = ("annotations", CLASS_ANNOTATION)
    if part.place.has("ingressClassName"):
        path = ("ingressClassName",)
    if written not in classes:
        message = f"there is no IngressClass {shown(written)}: no controller serves the Ingress"
        hint = did_you_mean(written, classes) or f"known: {', '.join(sorted(classes))}"
        yield part.place.problem(path, message, hint, warning=True)
    elif classes[written] != CONTROLLER:
        message = f"no controller {classes[written]} is here: nobody serves the Ingress"
        yield part.place.problem(path, message, f"ours is {CONTROLLER}", warning=True)


def _warn_without_class(
    sources: Sources, part: IngressPart, classes: Mapping[str, str]
) -> Iterator[Problem]:
    """It gets the class that is marked as default, which may be nobody's here, or none."""
    found = (item.value for item in sources.ingress_classes if item.value.is_default)
    default = next(found, None)
    ours = [name for name, controller in classes.items() if controller == CONTROLLER]
    hint = f"add `ingressClassName: {ours[0]}`" if ours else ""
    if default is None:
        message = "it names no class, and no IngressClass is the default: no controller serves it"
    elif default.controller != CONTROLLER:
        message = (
            f"it names no class, and the default one ({default.name}) is not ours: "
            "no controller serves it"
        )
    else:
        return
    yield part.place.problem(("ingressClassName",), message, hint, warning=True)


def own_class(sources: Sources) -> str:
    """The class that the lab's controller serves in any case."""
    options = sources.lab.ingress_controller
    return options.ingress_class if options is not None else DEFAULT_CLASS


def _warn_secrets(sources: Sources, part: IngressPart) -> Iterator[Problem]:
    spec = part.value
    known = {(item.value.namespace, item.value.name) for item in sources.secrets}
    for index, entry in enumerate(spec.tls):
        if entry.secret_name and (spec.namespace, entry.secret_name) not in known:
            message = f"there is no Secret {spec.namespace}/{entry.secret_name} in this file"
            hint = did_you_mean(entry.secret_name, (name for _, name in known))
            hint = hint or "the lab's own CA signs a certificate for the hosts"
            yield part.place.problem(("tls", index, "secretName"), message, hint, warning=True)
