"""Plain Kubernetes manifests beside the Lab document.

What kns has no use for (images, volumes, probes, resources …) is passed over. Errors are at the
manifest's own paths.
"""

from __future__ import annotations

from typing import TypeVar

from kns.errors import Problem
from kns.kinds import (
    endpointslice,
    ingress,
    namespace,
    networkpolicy,
    secret,
    service,
    workload,
)
from kns.kinds.api import check_kind, is_own, was_removed
from kns.kinds.sources import Manifests
from kns.kinds.workload import WorkloadKind
from kns.labfile.document import Document
from kns.labfile.objects import ObjectPlace, objects_in
from kns.labfile.place import Located, Place
from kns.labfile.reader import Form, Origin, Reading
from kns.labfile.wording import RefusedError, shown

T = TypeVar("T")
_WORKLOADS = frozenset(str(kind) for kind in WorkloadKind)
#: what belongs to a server's bookkeeping, or to parts of Kubernetes that are not its network;
#: a Secret of another type than TLS is one of them
_SILENT = frozenset({
    "Secret", "ConfigMap", "ServiceAccount", "Role", "RoleBinding", "ClusterRole",
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
        case "Secret" if item.data.get("type") == secret.TLS_TYPE:
            found.secrets += _parsed(item, secret.FORM, found)
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


def _without_images(place: Place) -> list[Problem]:
    """A warning for each command that is meant for an image."""
    warnings: list[Problem] = []
    containers = place.get("containers")
    for index, container in enumerate(containers if isinstance(containers, list) else []):
        if "image" in container and container.get("command"):
            message = f"not run: kns has no image {shown(container['image'])}"
            hint = "its ports are served by the built-in server; `image` left out, it is run"
            path = ("containers", index, "command")
            warnings.append(place.problem(path, message, hint, warning=True))
    return warnings
