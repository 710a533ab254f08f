"""ControllerRevisions: what a StatefulSet's or DaemonSet's template was before.

Source: pkg/controller/history/controller_history.go, statefulset/stateful_set_utils.go (getPatch),
daemon/update.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kns.agent.controllers import meta
from kns.agent.controllers.templates import template_hash
from kns.agent.controllers.view import View
from kns.agent.controllers.writes import CreateObject, DeleteObject, UpdateObject, Write
from kns.kinds import objects
from kns.kinds.common import Object

#: the label of a pod that tells its revision
REVISION_LABEL = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class Revisions:
    """A workload's revisions, the oldest first; the newest is that of its template now."""

    all: tuple[Object, ...]
    #: what makes it so
    writes: tuple[Write, ...]

    @property
    def newest(self) -> Object:
        """The revision of today's template."""
        return self.all[-1]

    def named(self, name: str) -> Object | None:
        """The revision of that name."""
        return next((item for item in self.all if objects.name_of(item) == name), None)


def revisions(owner: Object, view: View) -> Revisions:
    """Its revisions, that of today's template among them."""
    known = sorted(view.controlled(owner, "ControllerRevision"), key=_number)
    data = _data(owner)
    same = [item for item in known if item.get("data") == data]
    if same and same[-1] is known[-1]:
        return Revisions(tuple(known), ())
    following = (_number(known[-1]) if known else 0) + 1
    if same:
        # what was before is the newest again
        newest = objects.with_part(same[-1], following, "revision")
        others = [item for item in known if item is not same[-1]]
        return Revisions((*others, newest), (UpdateObject(newest),))
    made = _made(owner, data, following, view)
    return Revisions((*known, made), (CreateObject(made),))


def surplus(owner: Object, known: Iterable[Object], live: set[str]) -> Iterator[Write]:
    """Deletes the oldest revisions that nobody uses, beyond what the history may hold."""
    limit = objects.number(owner, "spec", "revisionHistoryLimit", default=10)
    unused = [item for item in known if objects.name_of(item) not in live]
    for item in unused[: max(0, len(unused) - limit)]:
        yield DeleteObject(item)


def template(revision: Object) -> Object:
    """The pod template that it keeps."""
    kept = objects.mapping(revision, "data", "spec", "template")
    return {key: each for key, each in kept.items() if key != "$patch"}


def _number(item: Object) -> int:
    return objects.number(item, "revision")


def _data(owner: Object) -> Object:
    """The patch that brings the template back; `kubectl rollout undo` applies it."""
    own = objects.mapping(owner, "spec", "template")
    return {"spec": {"template": {**own, "$patch": "replace"}}}


def _made(owner: Object, data: Object, following: int, view: View) -> Object:
    value = _first_hash(owner, view) if following == 1 else ""
    own = objects.mapping(owner, "spec", "template")
    name, collisions = f"{objects.name_of(owner)}-{value}", 0
    while not value or view.get("ControllerRevision", meta.namespace(owner), name) is not None:
        value = template_hash(own, collisions)
        name = f"{objects.name_of(owner)}-{value}"
        collisions += 1
    label = "controller.kubernetes.io/hash" if meta.kind(owner) == "StatefulSet" else REVISION_LABEL
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": meta.namespace(owner),
            "labels": {**meta.template_labels(owner), label: value},
            "ownerReferences": [meta.owner_reference(owner)],
        },
        "data": data,
        "revision": following,
    }


def _first_hash(owner: Object, view: View) -> str:
    """What the pods tell of an owner that has no revision yet: they were there before it."""
    told = of_pods(view.controlled(owner, "Pod"))
    return told.pop().removeprefix(f"{objects.name_of(owner)}-") if len(told) == 1 else ""


def hash_of(owner: Object, revision: Object) -> str:
    """The part of a revision's name that is not its owner's."""
    return objects.name_of(revision).removeprefix(f"{objects.name_of(owner)}-")


def of_pods(pods: Sequence[Object]) -> set[str]:
    """What the pods' labels tell of their revisions."""
    return {objects.labels_of(pod).get(REVISION_LABEL, "") for pod in pods}
