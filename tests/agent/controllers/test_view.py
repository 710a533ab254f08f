"""What a controller sees follows the store, and is read once of each object."""

from __future__ import annotations

import random

from kns.agent.controllers import meta
from kns.agent.controllers.index import Index
from kns.agent.controllers.view import View
from kns.agent.store import HISTORY, Store
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.objects import with_part
from kns.kinds.resources import NAMESPACE, POD
from tests.agent.controllers.cluster import bare_pod

OWNERS = ("a", "b")


def owned(name: str, owner: str, node: str = "") -> Object:
    reference: Object = {"kind": "ReplicaSet", "name": "web", "uid": owner, "controller": True}
    pod = with_part(bare_pod(name), [reference], "metadata", "ownerReferences")
    return with_part(pod, node, "spec", "nodeName") if node else pod


def store_with(*pods: Object) -> Store:
    store = Store()
    store.create(NAMESPACE, {"kind": "Namespace", "metadata": {"name": "default"}})
    for pod in pods:
        store.create(POD, pod)
    return store


def following(store: Store) -> Index:
    index = Index()
    index.follow(store)
    return index


def names(found: tuple[Object, ...]) -> list[str]:
    return [objects.name_of(item) for item in found]


def test_an_object_that_is_the_same_is_not_read_again() -> None:
    store = store_with(owned("stays", "a"), owned("moves", "a"))
    index = following(store)
    stays = index.of("controller", "a", "Pod")[1]
    store.update(POD, owned("moves", "b"))
    index.follow(store)
    assert index.of("controller", "a", "Pod") == (stays,)
    assert index.of("controller", "a", "Pod")[0] is stays
    assert [item.ref[2] for item in index.of("controller", "b", "Pod")] == ["moves"]


def test_objects_are_found_by_name_uid_owner_and_node() -> None:
    store = store_with(owned("two", "b", "n1"), owned("one", "a", "n1"), bare_pod("web-7"))
    view = View(following(store))
    two = view.get("Pod", "default", "two")
    assert two is not None
    assert view.by_uid(meta.uid(two)) is two
    assert names(view.controlled({"metadata": {"uid": "a"}}, "Pod")) == ["one"]
    assert names(view.orphans("Pod", "default")) == ["web-7"]
    assert names(view.of_kind("Pod", "default")) == ["one", "two", "web-7"]
    assert names(view.pods_on("n1")) == ["one", "two"]
    assert names(view.pods_on("")) == ["web-7"]
    assert view.last_number("default", "web") == 7
    assert set(view.owners()) == {"a", "b"}


def changed(store: Store, chance: random.Random) -> None:
    """A pod comes, goes, or has another owner or node."""
    name = f"web-{chance.randrange(9)}"
    pod = owned(name, chance.choice(OWNERS), chance.choice(("", "n1", "n2")))
    if store.get(POD, "default", name) is None:
        store.create(POD, pod)
    elif chance.random() < 0.3:
        store.delete(POD, "default", name, grace=chance.choice((0, 30)))
    else:
        store.update(POD, pod)


def seen(index: Index) -> object:
    """All that can be looked up."""
    view = View(index)
    found = [view.of_kind(kind) for kind in ("Pod", "Namespace")]
    found += [view.controlled({"metadata": {"uid": owner}}, "Pod") for owner in OWNERS]
    found += [view.dependents(owner) for owner in OWNERS]
    found += [view.pods_on(node) for node in ("", "n1", "n2")]
    found += [view.inside("default"), view.deleted(), view.orphans("Pod", "default")]
    uids = [view.by_uid(meta.uid(item)) for item in view.of_kind("Pod")]
    keys = (sorted(view.owners()), sorted(view.nodes_of_pods()), view.last_number("default", "web"))
    return found, uids, keys


def test_followed_step_by_step_it_is_as_one_of_the_end() -> None:
    chance, store = random.Random(7), store_with()
    index = following(store)
    for _ in range(300):
        changed(store, chance)
        index.follow(store)
        assert seen(index) == seen(following(store))


def test_one_that_has_looked_away_for_too_long_begins_anew() -> None:
    chance, store = random.Random(3), store_with()
    index = following(store)
    for _ in range(HISTORY + 1000):
        changed(store, chance)
    index.follow(store)
    assert seen(index) == seen(following(store))
