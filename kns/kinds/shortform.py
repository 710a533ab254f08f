"""The short forms of the Lab document written out as the manifests that they stand for."""

from __future__ import annotations

from collections.abc import Mapping

from kns.kinds import workload
from kns.kinds.common import Object
from kns.kinds.marks import READY, SERVING, TERMINATING, WORKLOAD
from kns.kinds.pod import DEFAULT_PORT
from kns.kinds.workload import WorkloadKind
from kns.labfile.reader import JSON

#: a field of the short form that is an annotation of the pod
_MARKS: Mapping[str, str] = {"ready": READY, "serving": SERVING, "terminating": TERMINATING}


def workload_manifest(item: Mapping[str, JSON]) -> Object:
    """An item of `pods`: a v1 Pod, or with `replicas` an apps/v1 Deployment."""
    written = {key: value for key, value in item.items() if value is not None}
    written["containers"] = _containers(written.get("containers"))
    if "initContainers" in written:
        written["initContainers"] = [_container(c) for c in _mappings(written["initContainers"])]
    marks: Object = {
        mark: "true" if written.pop(name) else "false"
        for name, mark in _MARKS.items()
        if name in written
    }
    if marks:
        annotations = written.get("annotations")
        written["annotations"] = {**(annotations if isinstance(annotations, dict) else {}), **marks}
    if "replicas" not in written:
        return _placed({"apiVersion": "v1", "kind": "Pod"}, written, WorkloadKind.POD)
    made: Object = {"apiVersion": "apps/v1", "kind": "Deployment"}
    # the API server takes no selector that selects everything
    labels = written.get("labels") or {WORKLOAD: written["name"]}
    written |= {"labels": labels, "selector": {"matchLabels": labels}}
    return _placed(made, written, WorkloadKind.DEPLOYMENT)


def _placed(made: Object, written: Mapping[str, JSON], kind: WorkloadKind) -> Object:
    """Each field at the path at which a manifest of the kind has it."""
    paths = workload.form(kind).paths
    for name, value in written.items():
        *parents, last = map(str, paths[name])
        branch = made
        for step in parents:
            below = branch.setdefault(step, {})
            assert isinstance(below, dict)  # noqa: S101 - no path runs through another's field
            branch = below
        branch[last] = value
    return made


def _containers(written: JSON) -> list[JSON]:
    """The containers, each with a name; without any one server."""
    found = [_container(item) for item in _mappings(written)] or [
        _container({"port": DEFAULT_PORT})
    ]
    made: list[JSON] = []
    for index, item in enumerate(found):
        name = "server" if index == 0 else f"server-{index + 1}"
        made.append({"name": name, **item})
    return made


def _container(item: Object) -> Object:
    """`port` is short for the first of `ports`, a port's `port` for `containerPort`."""
    written: Object = {
        key: value for key, value in item.items() if value is not None and key != "port"
    }
    short: list[JSON] = [{"containerPort": item["port"]}] if item.get("port") is not None else []
    ports = [*short, *(_port(port) for port in _mappings(written.get("ports")))]
    return {**written, "ports": ports} if ports else written


def _port(item: Object) -> JSON:
    written: Object = {
        key: value for key, value in item.items() if value is not None and key != "port"
    }
    return {"containerPort": item["port"], **written} if item.get("port") is not None else written


def _mappings(value: JSON) -> list[Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
