"""Plain Kubernetes manifests beside the Lab document.

What kns has no use for (images, volumes, probes, resources …) is passed over. Errors are at the
manifest's own paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from kns.errors import Problem
from kns.kinds import (
    config,
    endpointslice,
    ingress,
    namespace,
    networkpolicy,
    secret,
    service,
    workload,
)
from kns.kinds.api import check_kind, is_own, was_removed
from kns.kinds.pod import ALWAYS
from kns.kinds.sources import Manifests
from kns.kinds.workload import WorkloadKind
from kns.labfile.document import Document, Path
from kns.labfile.objects import ObjectPlace, objects_in
from kns.labfile.place import Located, Place
from kns.labfile.reader import Form, Origin, Reading
from kns.labfile.wording import RefusedError, shown

T = TypeVar("T")
_WORKLOADS = frozenset(str(kind) for kind in WorkloadKind)
#: what belongs to a server's bookkeeping, or to parts of Kubernetes that are not its network
_SILENT = frozenset({
    "ServiceAccount", "Role", "RoleBinding", "ClusterRole",
    "ClusterRoleBinding", "PersistentVolume", "PersistentVolumeClaim", "PodDisruptionBudget",
    "HorizontalPodAutoscaler", "Event", "Endpoints",
})  # fmt: skip


def read_manifests(documents: tuple[Document, ...]) -> Manifests:
    """The objects of `documents`, and what is wrong with them."""
    found = Manifests()
    for document in documents:
        objects, problems = objects_in(document)
        found.problems += problems
        for item in objects:
            _read(item, found)
    return found


def _read(item: ObjectPlace, found: Manifests) -> None:
    found.problems += check_kind(item)
    if was_removed(item):
        # its fields were others: what is wrong with them by today's rules says nothing
        return
    if not is_own(item):
        found.warnings.append(_without_effect(item))
    elif item.kind in _WORKLOADS:
        _read_workload(item, WorkloadKind(item.kind), found)
    else:
        _read_own(item, found)


def _read_own(item: ObjectPlace, found: Manifests) -> None:
    match item.kind:
        case "Service":
            found.services += _parsed(item, service.FORM, found)
        case "EndpointSlice":
            found.slices += _parsed(item, endpointslice.FORM, found)
        case "Ingress":
            found.ingresses += _parsed(item, ingress.FORM, found)
        case "IngressClass":
            found.ingress_classes += _parsed(item, ingress.CLASS_FORM, found)
        case "Secret" | "ConfigMap":
            _read_config(item, found)
        case "Namespace":
            found.namespaces += _parsed(item, namespace.FORM, found)
        case "NetworkPolicy":
            found.network_policies += _parsed(item, networkpolicy.FORM, found)
        case kind if kind not in _SILENT:
            found.warnings.append(_without_effect(item))
        case _:
            pass


def _without_effect(item: ObjectPlace) -> Problem:
    message = f"objects of kind {item.kind} have no effect here"
    return _place(item).problem(("kind",), message, warning=True)


def _read_config(item: ObjectPlace, found: Manifests) -> None:
    """A ConfigMap or Secret for its keys, and one of type TLS for its certificate."""
    if item.kind == "ConfigMap":
        found.configs += _parsed(item, config.CONFIG_MAP_FORM, found)
        return
    found.configs += _parsed(item, config.SECRET_FORM, found)
    if item.data.get("type") == secret.TLS_TYPE:
        found.secrets += _parsed(item, secret.FORM, found)


def _place(item: ObjectPlace) -> Place:
    return Place(item.document, item.path)


def _parsed(item: ObjectPlace, form: Form[T], found: Manifests, **more: object) -> list[Located[T]]:
    """The object with its place; nothing, and its problems in `found`, if some of it is wrong."""
    reading = Reading(Origin.MANIFEST)
    made: list[Located[T]] = []
    try:
        value = form.read(item.data, reading, **more)
        made.append(Located(value, Place(item.document, item.path, form.paths)))
    except RefusedError as refused:
        reading.note(refused)
    found.problems += _place(item).problems(reading.faults)
    return made


# -- pods ------------------------------------------------------------------------------------------


def _read_workload(item: ObjectPlace, kind: WorkloadKind, found: Manifests) -> None:
    form = workload.form(kind)
    read = _parsed(item, form, found, kind=kind)
    found.workloads += read
    for part in read:
        found.warnings += _without_images(part.place)


def _without_images(place: Place) -> Iterator[Problem]:
    """A warning for each command that is meant for an image."""
    for path, container in _written(place):
        if path[0] == "initContainers" and container.get("restartPolicy") != ALWAYS:
            continue
        if "image" in container and container.get("command"):
            message = f"not run: kns has no image {shown(container['image'])}"
            hint = "its ports are served by the built-in server; `image` left out, it is run"
            yield place.problem((*path, "command"), message, hint, warning=True)


def _written(place: Place) -> Iterator[tuple[Path, Mapping[str, object]]]:
    for field in ("containers", "initContainers"):
        written = place.get(field)
        for index, container in enumerate(written if isinstance(written, list) else ()):
            yield (field, index), container
