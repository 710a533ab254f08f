"""What a controller sees is read once of each object."""

from __future__ import annotations

from kns.agent.controllers.view import Index, View
from kns.kinds.common import Object
from tests.agent.controllers.cluster import bare_pod


def owned(name: str, owner: str) -> Object:
    reference: Object = {"kind": "ReplicaSet", "name": "web", "uid": owner, "controller": True}
    pod = bare_pod(name)
    meta: Object = {"name": name, "uid": name, "ownerReferences": [reference]}
    meta["namespace"] = "default"
    return {**pod, "metadata": meta}


def test_an_object_that_is_the_same_is_not_read_again() -> None:
    index = Index()
    stays, goes = owned("stays", "a"), owned("goes", "a")
    first = index.of([stays, goes])
    changed = owned("stays", "b")
    second = index.of([stays, changed])
    assert second[0] is first[0]
    assert [item.controller for item in second] == ["a", "b"]
    assert [item.object for item in index.of([goes])] == [goes]


def test_objects_are_found_by_name_uid_and_owner() -> None:
    one, two, alone = owned("one", "a"), owned("two", "b"), bare_pod("alone")
    view = View(Index().of([one, two, alone]))
    assert view.get("Pod", "default", "two") is two
    assert view.by_uid("one") is one
    assert view.controlled({"metadata": {"uid": "a"}}, "Pod") == (one,)
    assert list(view.orphans("Pod", "default")) == [alone]
    assert view.of_kind("Pod", "default") == (one, two, alone)
