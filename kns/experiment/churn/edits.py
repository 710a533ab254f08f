"""A lab's files with other pods: what a scenario brings the lab to. Pure.

The pods that workloads make are written out one by one, so that each of them can go, come and
change by itself.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from kns.kinds.common import Object
from kns.kinds.implied import is_lab
from kns.kinds.load import LoadedLab
from kns.kinds.marks import READY, TERMINATING
from kns.kinds.placement import expand_pods
from kns.kinds.seed import objects_of
from kns.kinds.workload import WorkloadKind
from kns.labfile.dump import dump_yaml
from kns.labfile.objects import objects_in
from kns.labfile.parse import parse_stream
from kns.labfile.reader import JSON

#: what pods are made from; the pods themselves are what a scenario changes
_MADE_FROM = frozenset({*map(str, WorkloadKind), "Pod", "ReplicaSet"})
_NUMBER = re.compile(r"-\d+$")


@dataclass(frozen=True, slots=True)
class EditedLab:
    """The Lab document without its pods, the manifests that make none, and all pods.

    `gone` are the names of pods that there were: no new one gets such a name.
    """

    document: Object
    manifests: tuple[Object, ...]
    pods: tuple[Object, ...]
    gone: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        """The files as one YAML stream."""
        return "---\n".join(map(dump_yaml, (self.document, *self.manifests, *self.pods)))

    def without(self, names: Collection[str]) -> EditedLab:
        """The lab without these pods (`namespace/name`)."""
        stay = tuple(pod for pod in self.pods if full_name(pod) not in names)
        return replace(self, pods=stay, gone=self.gone | frozenset(names))

    def unready(self, names: Collection[str]) -> EditedLab:
        """These pods are not ready."""
        return self._marked(names, READY, "false")

    def ready(self, names: Collection[str]) -> EditedLab:
        """These pods are ready again."""
        return self._marked(names, READY, None)

    def terminating(self, names: Collection[str]) -> EditedLab:
        """These pods are on their way out, and still serve."""
        return self._marked(names, TERMINATING, "true")

    def with_copies(self, names: Iterable[str]) -> tuple[EditedLab, tuple[str, ...]]:
        """A new pod like each of these, under the next number never used; their names."""
        found = self
        made: list[str] = []
        for name in names:
            original = next(pod for pod in self.pods if full_name(pod) == name)
            pod = _copy(original, {*map(full_name, found.pods), *found.gone})
            found = replace(found, pods=(*found.pods, pod))
            made.append(full_name(pod))
        return found, tuple(made)

    def with_node_down(self, node: str) -> EditedLab:
        """The node's cable is pulled."""
        down: JSON = [*cast("list[JSON]", self._faults.get("linksDown") or []), f"node/{node}"]
        return self._with_faults(linksDown=down)

    def without_conntrack_cleanup(self) -> EditedLab:
        """kube-proxy deletes no entry of conntrack."""
        return self._with_faults(noConntrackCleanup=True)

    @property
    def _faults(self) -> Object:
        return cast("Object", self.document.get("faults") or {})

    def _with_faults(self, **more: JSON) -> EditedLab:
        return replace(self, document={**self.document, "faults": {**self._faults, **more}})

    def _marked(self, names: Collection[str], mark: str, value: str | None) -> EditedLab:
        def change(pod: Object) -> Object:
            return _annotated(pod, mark, value) if full_name(pod) in names else pod

        return replace(self, pods=tuple(map(change, self.pods)))


def edited(loaded: LoadedLab, bound: Mapping[str, str] | None = None) -> EditedLab:
    """The lab's files, ready to be changed. `bound` are the nodes on which pods are already."""
    documents = parse_stream(loaded.text, "lab.yaml").documents
    lab = next(filter(is_lab, documents))
    data = lab.data if isinstance(lab.data, dict) else {}
    rest = [
        cast("Object", item.data)
        for document in documents
        if document is not lab
        for item in objects_in(document)[0]
        if item.kind not in _MADE_FROM
    ]
    # kns' own pods (DNS, Ingress) stay kns' own
    written = {item.pod.full_name for item in expand_pods(loaded.spec, bound) if item.workload >= 0}
    pods = [item for item in objects_of(loaded, bound) if item["kind"] == "Pod"]
    return EditedLab(
        {key: value for key, value in data.items() if key != "pods"},
        tuple(rest),
        tuple(_free(item) for item in pods if full_name(item) in written),
    )


def full_name(pod: Object) -> str:
    """`namespace/name`."""
    meta = cast("Object", pod["metadata"])
    return f"{meta.get('namespace') or 'default'}/{meta['name']}"


def _free(pod: Object) -> Object:
    """The pod as one that nobody owns and no server has written."""
    made = copy.deepcopy(pod)
    meta = cast("Object", made["metadata"])
    for key in ("ownerReferences", "uid", "generateName"):
        meta.pop(key, None)
    made.pop("status", None)
    return made


def _copy(pod: Object, taken: Collection[str]) -> Object:
    made = copy.deepcopy(pod)
    meta = cast("Object", made["metadata"])
    name = str(meta["name"])
    stem = _NUMBER.sub("", name)
    for number in itertools.count(1):
        meta["name"] = f"{stem}-{number}"
        if full_name(made) not in taken:
            break
    return made


def _annotated(pod: Object, mark: str, value: str | None) -> Object:
    made = copy.deepcopy(pod)
    meta = cast("Object", made["metadata"])
    marks = {
        key: v for key, v in cast("Object", meta.get("annotations") or {}).items() if key != mark
    }
    if value is not None:
        marks[mark] = value
    meta["annotations"] = marks
    return made
