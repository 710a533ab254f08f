"""Plain Kubernetes manifests beside the Lab document, as the short forms that they stand for.

    Pod, Deployment, ReplicaSet, StatefulSet, DaemonSet ─▶ PodSpec
    Service ─▶ ServiceSpec      EndpointSlice ─▶ EndpointSliceSpec      Namespace ─▶ its name
    Ingress, IngressClass, Secret (kubernetes.io/tls) ─▶ IngressSpec, IngressClassSpec, SecretSpec

What kns has no use for (images, volumes, probes, resources …) is passed over. Errors keep the
manifest's own paths.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from pydantic import ValidationError

from kns.errors import Problem, Severity
from kns.labfile.document import Document, Path
from kns.labfile.manifests import ObjectPlace, objects_in
from kns.labfile.model import EndpointSliceSpec, PodSpec, ServiceSpec
from kns.labfile.model_ingress import IngressClassSpec, IngressSpec, SecretSpec
from kns.labfile.model_networking import Model
from kns.labfile.names import label_objection
from kns.labfile.places import Located, Manifests, Place
from kns.labfile.problems import location_of, message_of, shown
from kns.labfile.salvage import drop_key

ModelT = TypeVar("ModelT", bound=Model)

_METADATA = {name: ("metadata", name) for name in ("name", "namespace", "labels", "annotations")}
_WORKLOADS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController")
#: the fields of a pod's `spec` that the short form has too
_POD_FIELDS = (
    "containers", "hostname", "subdomain", "dnsPolicy", "dnsConfig", "enableServiceLinks",
)  # fmt: skip
#: what belongs to a server's bookkeeping, or to parts of Kubernetes that are not its network
_SILENT = frozenset({
    "ConfigMap", "ServiceAccount", "Role", "RoleBinding", "ClusterRole",
    "ClusterRoleBinding", "PersistentVolume", "PersistentVolumeClaim", "PodDisruptionBudget",
    "HorizontalPodAutoscaler", "Event", "Endpoints",
})  # fmt: skip


def read_manifests(documents: tuple[Document, ...], nodes: tuple[str, ...]) -> Manifests:
    """The objects of `documents`; a DaemonSet has a pod on each of `nodes`."""
    found = Manifests()
    for document in documents:
        places, problems = objects_in(document)
        found.problems += problems
        for place in places:
            _read(place, nodes, found)
    return found


def _read(place: ObjectPlace, nodes: tuple[str, ...], found: Manifests) -> None:
    data = place.data
    match place.kind:
        case "Pod":
            _read_pods(place, (), nodes, found)
        case kind if kind in _WORKLOADS:
            _read_pods(place, ("spec", "template"), nodes, found)
        case "Service":
            fields = _service_fields(_mapping(data.get("spec")))
            names = {**_METADATA, **fields, "status": ("status",)}
            found.services += _parsed(place, names, {}, ServiceSpec, found)
        case "EndpointSlice":
            names = {**_METADATA, **_same("addressType", "ports", "endpoints")}
            found.slices += _parsed(place, names, {}, EndpointSliceSpec, found)
        case "Ingress" | "IngressClass" | "Secret":
            _read_ingress(place, found)
        case "Namespace":
            name = _mapping(data.get("metadata")).get("name")
            if isinstance(name, str):
                found.namespaces.append(name)
        case kind if kind not in _SILENT:
            message = f"objects of kind {kind} have no effect here"
            problem = place.document.problem((*place.path, "kind"), message)
            found.warnings.append(replace(problem, severity=Severity.WARNING))
        case _:
            pass


def _read_ingress(place: ObjectPlace, found: Manifests) -> None:
    """An Ingress, or what belongs to one; of other Secrets nothing on the network depends."""
    if place.kind == "Ingress":
        fields = _in_spec("ingressClassName", "defaultBackend", "rules", "tls")
        found.ingresses += _parsed(place, {**_METADATA, **fields}, {}, IngressSpec, found)
    elif place.kind == "IngressClass":
        names = {**_METADATA, **_in_spec("controller")}
        del names["namespace"]  # it has none
        found.ingress_classes += _parsed(place, names, {}, IngressClassSpec, found)
    elif place.data.get("type") == "kubernetes.io/tls":
        fields = _same("type", "data", "stringData")
        found.secrets += _parsed(place, {**_METADATA, **fields}, {}, SecretSpec, found)


def _same(*names: str) -> dict[str, Path]:
    return {name: (name,) for name in names}


def _in_spec(*names: str) -> dict[str, Path]:
    return {name: ("spec", name) for name in names}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _service_fields(spec: Mapping[str, object]) -> dict[str, Path]:
    return {name: ("spec", name) for name in spec if name not in _METADATA}


# -- pods ------------------------------------------------------------------------------------------


def _read_pods(
    place: ObjectPlace, template: Path, nodes: tuple[str, ...], found: Manifests
) -> None:
    """The pods of a Pod, or of a workload whose pod template stands at `template`."""
    names: dict[str, Path] = {name: (*template, "spec", name) for name in _POD_FIELDS}
    names["node"] = (*template, "spec", "nodeName")
    names |= {name: (*template, *path) for name, path in _METADATA.items()}
    names |= {name: _METADATA[name] for name in ("name", "namespace")}
    extra: dict[str, object] = {}
    if template and place.kind != "DaemonSet":
        names["replicas"] = ("spec", "replicas")
        extra["replicas"] = 1
    pods = _parsed(place, names, extra, PodSpec, found)
    for pod in pods:
        found.warnings += _without_images(place, (*template, "spec", "containers"))
        if place.kind == "StatefulSet":
            found.pods += _stateful(pod, _service_name(place, found))
        elif place.kind == "DaemonSet":
            found.pods += [
                _renamed(pod, f"{pod.value.name}-{number}", node=node)
                for number, node in enumerate(nodes, 1)
            ]
        else:
            found.pods.append(pod)


def _service_name(place: ObjectPlace, found: Manifests) -> str | None:
    """A StatefulSet's `serviceName`, checked as what it becomes: its pods' `subdomain`."""
    service = _mapping(place.data.get("spec")).get("serviceName")
    if not isinstance(service, str):
        return None
    objection = label_objection(service) if service else ""
    if objection:
        path = (*place.path, "spec", "serviceName")
        found.problems.append(
            place.document.problem(path, f"Invalid value: {shown(service)}: {objection}")
        )
    return service


def _stateful(pod: Located[PodSpec], service: str | None) -> list[Located[PodSpec]]:
    """A StatefulSet's pods count from 0 and have their name as hostname below their Service."""
    subdomain = pod.value.subdomain if service is None else service
    name, count = pod.value.name, pod.value.replicas
    return [
        _renamed(pod, f"{name}-{number}", hostname=f"{name}-{number}", subdomain=subdomain)
        for number in range(1 if count is None else count)
    ]


def _renamed(pod: Located[PodSpec], name: str, **fields: object) -> Located[PodSpec]:
    update = {"name": name, "replicas": None, **fields}
    return Located(pod.value.model_copy(update=update), pod.place)


def _without_images(place: ObjectPlace, path: Path) -> list[Problem]:
    """A warning for each command that is meant for an image."""
    warnings: list[Problem] = []
    containers = _at(place.data, path)
    for index, container in enumerate(containers if isinstance(containers, list) else []):
        if isinstance(container, dict) and "image" in container and container.get("command"):
            message = f"not run: kns has no image {shown(container['image'])}"
            hint = "its ports are served by the built-in server; `image` left out, it is run"
            where = (*place.path, *path, index, "command")
            problem = place.document.problem(where, message, hint)
            warnings.append(replace(problem, severity=Severity.WARNING))
    return warnings


# -- from a manifest to the short form -------------------------------------------------------------


def _at(data: object, path: Path) -> object:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _parsed(
    place: ObjectPlace,
    names: Mapping[str, Path],
    extra: Mapping[str, object],
    model: type[ModelT],
    found: Manifests,
) -> list[Located[ModelT]]:
    """The manifest as `model`, whose field `name` stands at `names[name]`; or its problems."""
    short = dict(extra)
    for name, path in names.items():
        value = _at(place.data, path)
        if value is not None:
            short[name] = copy.deepcopy(value)
    _drop_commands(short.get("containers"))
    where = Place(place.document, place.path, names)
    try:
        return [Located(_lenient(short, model), where)]
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            found.problems.append(where.problem(location_of(detail), *message_of(detail, model)))
        return []


def _lenient(short: dict[str, object], model: type[ModelT]) -> ModelT:
    """The model, unknown fields passed over but for those right in a Service's spec."""
    try:
        return model.model_validate(short)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False):
            location = location_of(detail)
            own = model is ServiceSpec and (len(location) == 1 or location[0] == "ports")
            if detail["type"] == "extra_forbidden" and not own:
                drop_key(short, location)
        return model.model_validate(short)


def _drop_commands(containers: object) -> None:
    """Commands of images are not kns' to run."""
    for container in containers if isinstance(containers, list) else []:
        if isinstance(container, dict) and "image" in container:
            container.pop("command", None)
            container.pop("args", None)
