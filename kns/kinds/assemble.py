"""The lab that objects stand for: the inverse of `kns.kinds.seed`, for objects as they change.

    objects ─▶ Sources ─checks─▶ Lab, its pods as they are; and what had to be left out, and why

What is wrong with an object is told, and the rest is a lab without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace

from kns.errors import Problem
from kns.kinds import node
from kns.kinds.asked import MADE_SERVICES
from kns.kinds.checks.lab import check_each, check_together
from kns.kinds.common import Object
from kns.kinds.lab import Lab, WrittenLab, read_lab_document
from kns.kinds.load import sources_of
from kns.kinds.manifests import read_manifest
from kns.kinds.marks import WRITTEN_STATUS
from kns.kinds.networkpolicy import NetworkPolicy, placed_as
from kns.kinds.node import Node
from kns.kinds.objects import Ref, ref_of, text, with_part
from kns.kinds.objects import items as items_at
from kns.kinds.owners import is_made
from kns.kinds.service import Service
from kns.kinds.sources import Manifests, Sources
from kns.kinds.workload import WorkloadKind
from kns.labfile.document import Document
from kns.labfile.objects import ObjectPlace
from kns.labfile.place import Located, Place
from kns.labfile.reader import DocumentKind, Reading
from kns.labfile.wording import RefusedError

_PARTS = tuple(part.name for part in fields(Manifests))
#: what pods are made from; the pods themselves are what counts
_CONTROLLERS = frozenset(str(kind) for kind in WorkloadKind if kind is not WorkloadKind.POD)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A lab, and what is wrong with the objects that are not in it."""

    lab: Lab
    problems: Mapping[Ref, tuple[Problem, ...]]


@dataclass(slots=True)
class _Read:
    """What was read of one object."""

    source: Object
    manifests: Manifests
    nodes: list[Located[Node]] = field(default_factory=list)


class Assembler:
    """Makes labs of objects. An object that is the same as the last time is not read again.

    A policy that is as in `policies`, those of a file, has its place there.
    """

    def __init__(self, policies: Iterable[NetworkPolicy] = ()) -> None:
        self._read: dict[Ref, _Read] = {}
        self._written = tuple(policies)

    def assemble(self, items: Mapping[Ref, Object]) -> Assembled:
        """The lab of the objects, among which is one Lab; their order is that of its pods.

        ValueError without a Lab.
        """
        self._read = {ref: self._once(ref, item) for ref, item in items.items()}
        problems: dict[Ref, tuple[Problem, ...]] = {}
        for ref, read in self._read.items():
            if read.manifests.problems:
                problems[ref] = tuple(read.manifests.problems)
        while True:
            sources = self._sources(items, problems)
            found = _by_object(check_together(sources))
            if not found.keys() - problems.keys():
                return Assembled(self._placed(sources.lab), problems)
            problems = {**found, **problems}

    def _once(self, ref: Ref, item: Object) -> _Read:
        before = self._read.get(ref)
        return before if before is not None and before.source is item else _read(ref, item)

    def _sources(self, items: Mapping[Ref, Object], left_out: Collection[Ref]) -> Sources:
        lab = next((item for item in items.values() if item.get("kind") == "Lab"), None)
        if lab is None:
            raise ValueError("no object of kind Lab among the objects")
        every = Manifests()
        nodes: list[Located[Node]] = []
        for ref, read in self._read.items():
            if ref not in left_out and not _is_made(items[ref], items):
                _add(every, read.manifests)
                nodes += read.nodes
        written = _options(lab)
        written.lists["nodes"] = nodes
        names = frozenset(part.value.name for part in nodes)
        sources = sources_of(replace(written, node_names=names), every)
        made = frozenset(map(str, items_at(lab, *MADE_SERVICES)))
        return replace(sources, lab=replace(sources.lab, placed=True, made_services=made))

    def _placed(self, lab: Lab) -> Lab:
        policies = placed_as(lab.network_policies, self._written)
        return replace(lab, placed=True, network_policies=policies)


def lab_of(objects: Iterable[Object], policies: Iterable[NetworkPolicy] = ()) -> Assembled:
    """The lab of the objects, among which is one Lab. ValueError without one."""
    return Assembler(policies).assemble({ref_of(item): item for item in objects})


def _options(lab: Object) -> WrittenLab:
    """The Lab object's own fields, without what a server has written into it."""
    meta = lab.get("metadata")
    own = meta if isinstance(meta, dict) else {}
    kept = {key: own[key] for key in ("name", "labels", "annotations") if key in own}
    data = {key: value for key, value in lab.items() if key != "status"}
    document = Document("/".join(ref_of(lab)), {**data, "metadata": kept}, (0, 0))
    return read_lab_document(document, listed=False)


def _add(every: Manifests, more: Manifests) -> None:
    for name in _PARTS:
        if found := getattr(more, name):
            getattr(every, name).extend(found)


def _by_object(problems: Iterable[Problem]) -> dict[Ref, tuple[Problem, ...]]:
    """The problems of each object, which is the file that they name."""
    found: dict[Ref, tuple[Problem, ...]] = {}
    for problem in problems:
        kind, namespace, name = problem.file.split("/", 2)
        if kind != "Lab":
            ref = (kind, namespace, name)
            found[ref] = (*found.get(ref, ()), problem)
    return found


# -- one object ------------------------------------------------------------------------------------


def _read(ref: Ref, item: Object) -> _Read:
    found = _Read(item, Manifests())
    if ref[0] == "Lab" or ref[0] in _CONTROLLERS:
        return found
    document = Document("/".join(ref), _for_reading(item), (0, 0))
    version, data = str(item.get("apiVersion")), document.data
    assert isinstance(data, dict)  # noqa: S101 - it was made one above
    if ref[0] == "Node":
        found.nodes = list(_node(document, found.manifests))
    else:
        read_manifest(ObjectPlace(document, (), version, ref[0], data), found.manifests)
    found.manifests.services = [_without_mark(part) for part in found.manifests.services]
    found.manifests.problems += check_each(found.manifests.workloads)
    return found


def _for_reading(item: Object) -> Object:
    """A pod on which no kubelet has reported yet is not ready.

    A Service's status is the load balancer's own account, unless its file has written it.
    """
    if item.get("kind") == "Pod" and text(item, "status", "phase") == "Pending":
        waits: Object = {"type": "Ready", "status": "False"}
        return with_part(item, [waits], "status", "conditions")
    if item.get("kind") != "Service" or WRITTEN_STATUS in _annotations(item):
        return item
    return {key: value for key, value in item.items() if key != "status"}


def _annotations(item: Object) -> Mapping[str, object]:
    meta = item.get("metadata")
    found = meta.get("annotations") if isinstance(meta, dict) else None
    return found if isinstance(found, dict) else {}


def _without_mark(part: Located[Service]) -> Located[Service]:
    if WRITTEN_STATUS not in part.value.annotations:
        return part
    kept = {key: value for key, value in part.value.annotations.items() if key != WRITTEN_STATUS}
    return replace(part, value=replace(part.value, annotations=kept))


def _node(document: Document, found: Manifests) -> Iterator[Located[Node]]:
    reading = Reading(DocumentKind.MANIFEST)
    try:
        made = node.FORM.read(document.data, reading)
        yield Located(made, Place(document, (), node.FORM.paths))
    except RefusedError as refused:
        reading.note(refused)
    found.problems += Place(document).problems(reading.faults)


def _is_made(item: Object, items: Mapping[Ref, Object]) -> bool:
    """Whether it is an EndpointSlice that a controller has made of an object that is there."""
    if not is_made(item):
        return False
    meta = item.get("metadata")
    references = meta.get("ownerReferences") if isinstance(meta, dict) else None
    namespace = ref_of(item)[1]
    return any(
        (str(owner.get("kind")), namespace, str(owner.get("name"))) in items
        for owner in (references if isinstance(references, list) else ())
        if isinstance(owner, dict) and owner.get("controller") is True
    )
