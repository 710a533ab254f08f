"""Plain Kubernetes manifests beside the Lab document.

What kns has no use for (images, volumes, resources …) is passed over. Errors are at the
manifest's own paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from kns.errors import MOST_PROBLEMS, Problem
from kns.kinds import (
    config,
    endpoints,
    endpointslice,
    ingress,
    namespace,
    networkpolicy,
    secret,
    service,
    serviceaccount,
    workload,
)
from kns.kinds.api import check_kind, is_own, was_removed
from kns.kinds.owners import without_owned
from kns.kinds.pod import ALWAYS
from kns.kinds.sources import Manifests
from kns.kinds.unknown_fields import unknown_fields
from kns.kinds.workload import WorkloadKind
from kns.labfile.document import Document, Path
from kns.labfile.objects import ObjectPlace, objects_in
from kns.labfile.place import Located, Place
from kns.labfile.reader import DocumentKind, Reading
from kns.labfile.shape import Form
from kns.labfile.wording import RefusedError, shown

T = TypeVar("T")
_WORKLOADS = frozenset(str(kind) for kind in WorkloadKind)
#: what belongs to a server's bookkeeping, or to parts of Kubernetes that are not its network
_SILENT = frozenset({
    "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "PersistentVolume",
    "PersistentVolumeClaim", "PodDisruptionBudget", "HorizontalPodAutoscaler", "Event",
})  # fmt: skip
#: the fields of a container that say how kubelet asks after it
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
#: how each other kind is read, and the list of `Manifests` that it goes to
_FORMS: Mapping[str, tuple[Form[Any], str]] = {
    "Service": (service.FORM, "services"),
    "EndpointSlice": (endpointslice.FORM, "slices"),
    "Endpoints": (endpoints.FORM, "endpoints"),
    "Ingress": (ingress.FORM, "ingresses"),
    "IngressClass": (ingress.CLASS_FORM, "ingress_classes"),
    "ConfigMap": (config.CONFIG_MAP_FORM, "configs"),
    "Secret": (config.SECRET_FORM, "configs"),
    "Namespace": (namespace.FORM, "namespaces"),
    "NetworkPolicy": (networkpolicy.FORM, "network_policies"),
    "ServiceAccount": (serviceaccount.FORM, "service_accounts"),
}


def read_manifests(documents: tuple[Document, ...]) -> Manifests:
    """The objects of `documents`, and what is wrong with them."""
    found = Manifests()
    objects: list[ObjectPlace] = []
    for document in documents:
        items, problems = objects_in(document)
        found.problems += problems
        objects += items
    for item in without_owned(objects):
        if len(found.problems) >= MOST_PROBLEMS:
            break
        read_manifest(item, found)
    return found


def read_manifest(item: ObjectPlace, found: Manifests) -> None:
    """Put one object into `found`, and what is wrong with it."""
    refused = tuple(check_kind(item))
    found.problems += refused
    if was_removed(item) or (refused and item.kind not in {*_FORMS, *_WORKLOADS}):
        # its fields were others, or nobody knows what it is: by today's rules nothing can be said
        return
    if not is_own(item):
        found.warnings.append(_without_effect(item))
        return
    before = len(found.problems)
    if item.kind in _WORKLOADS:
        _read_workload(item, WorkloadKind(item.kind), found)
    else:
        _read_own(item, found)
    # of some kinds an unknown field is an error
    told = {problem.path for problem in found.problems[before:]}
    found.warnings += (each for each in unknown_fields(item) if each.path not in told)


def _read_own(item: ObjectPlace, found: Manifests) -> None:
    if item.kind == "EndpointSlice" and item.data.get("addressType") == "FQDN":
        message = "kube-proxy passes over EndpointSlices of names: it has no effect here"
        found.warnings.append(_place(item).problem(("addressType",), message, warning=True))
    elif item.kind in _FORMS:
        form, field = _FORMS[item.kind]
        getattr(found, field).extend(_parsed(item, form, found))
        if item.kind == "Secret" and item.data.get("type") == secret.TLS_TYPE:
            found.secrets += _parsed(item, secret.FORM, found)
    elif item.kind not in _SILENT:
        found.warnings.append(_without_effect(item))


def _without_effect(item: ObjectPlace) -> Problem:
    message = f"objects of kind {item.kind} have no effect here"
    return _place(item).problem(("kind",), message, warning=True)


def _place(item: ObjectPlace) -> Place:
    return Place(item.document, item.path)


def _parsed(item: ObjectPlace, form: Form[T], found: Manifests, **more: object) -> list[Located[T]]:
    """The object with its place; nothing, and its problems in `found`, if some of it is wrong."""
    reading = Reading(DocumentKind.MANIFEST)
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
    """A warning for each command and probe that is meant for an image."""
    for path, container in _written(place):
        is_run_once = path[0] == "initContainers" and container.get("restartPolicy") != ALWAYS
        if is_run_once or "image" not in container:
            continue
        without = f"kns has no image {shown(container['image'])}"
        if container.get("command"):
            hint = "its ports are served by the built-in server; `image` left out, it is run"
            yield place.problem((*path, "command"), f"not run: {without}", hint, warning=True)
        for name in _PROBES:
            probe = container.get(name)
            if isinstance(probe, dict) and probe.get("exec"):
                message = f"runs a program of this machine: {without}"
                hint = "httpGet and tcpSocket ask the built-in server"
                yield place.problem((*path, name, "exec"), message, hint, warning=True)


def _written(place: Place) -> Iterator[tuple[Path, Mapping[str, object]]]:
    for field in ("containers", "initContainers"):
        written = place.get(field)
        for index, container in enumerate(written if isinstance(written, list) else ()):
            # one that is none at all is an error, told where it is read
            if isinstance(container, dict):
                yield (field, index), container
