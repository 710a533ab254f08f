"""The objects of a lab: versions, preconditions, deletion, watching."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kns.agent.store import (
    HISTORY,
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    NotFoundError,
    ObjectChange,
    Store,
)
from kns.agent.strategy import UpdatePart
from kns.kinds.common import Object
from kns.kinds.objects import mapping, number, part, text, with_part
from kns.kinds.resources import CONFIG_MAP, NAMESPACE, NODE, POD, SERVICE


def pod(name: str = "web", node: str = "node1", **spec: int) -> Object:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node, **spec},
    }


def config(name: str, value: str = "a", namespace: str = "default") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"key": value},
    }


@pytest.fixture
def store() -> Store:
    return Store(clock=lambda: 1_767_323_045.0)


def kinds(changes: tuple[ObjectChange, ...]) -> list[tuple[str, str]]:
    return [(str(change.type), text(change.object, "metadata", "name")) for change in changes]


def test_a_new_object_gets_what_a_server_writes(store: Store) -> None:
    written = pod()
    made = store.create(POD, with_part(written, "mine", "metadata", "uid"))
    own = mapping(made, "metadata")
    assert (made["apiVersion"], made["kind"]) == ("v1", "Pod")
    assert own["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert own["generation"] == 1
    assert own["resourceVersion"] == str(store.version)
    assert own["uid"] not in {"", "mine"}
    assert "uid" not in mapping(written, "metadata")
    assert store.get(POD, "default", "web") is made


def test_an_object_without_a_namespace_is_in_default(store: Store) -> None:
    made = store.create(POD, {"metadata": {"name": "web"}, "spec": {}})
    assert text(made, "metadata", "namespace") == "default"
    assert store.get(POD, "", "web") is made
    node = store.create(NODE, {"metadata": {"name": "node1", "namespace": "default"}})
    assert "namespace" not in mapping(node, "metadata")
    assert store.get(NODE, "default", "node1") is node


def test_a_name_is_taken_once(store: Store) -> None:
    store.create(POD, pod())
    with pytest.raises(AlreadyExistsError, match='pods "web" already exists'):
        store.create(POD, pod())
    with pytest.raises(NotFoundError, match='services "web" not found'):
        store.update(SERVICE, pod())


def test_objects_are_listed_by_namespace_and_name(store: Store) -> None:
    for name, namespace in (("b", "default"), ("a", "shop"), ("a", "default")):
        store.create(CONFIG_MAP, config(name, namespace=namespace))
    found = store.list(CONFIG_MAP)
    assert [text(item, "metadata", "namespace") for item in found] == ["default", "default", "shop"]
    assert [text(item, "metadata", "name") for item in store.list(CONFIG_MAP, "default")] == [
        "a",
        "b",
    ]


def test_the_generation_counts_what_is_asked_for_and_not_what_is_said(store: Store) -> None:
    made = store.create(POD, pod())
    said = store.update(POD, {**made, "status": {"phase": "Running"}})
    labelled = store.update(POD, with_part(said, {"a": "b"}, "metadata", "labels"))
    assert number(labelled, "metadata", "generation") == 1
    asked = store.update(POD, with_part(labelled, "node2", "spec", "nodeName"))
    assert number(asked, "metadata", "generation") == 2
    assert "generation" not in mapping(store.create(CONFIG_MAP, config("a")), "metadata")


def test_an_equal_update_writes_nothing(store: Store) -> None:
    made = store.create(POD, pod())
    before = store.version
    assert store.update(POD, pod()) == made
    assert store.version == before


@pytest.mark.parametrize(
    ("written", "status", "node"),
    [
        (UpdatePart.ALL, "Failed", "node2"),
        (UpdatePart.SPEC, "Running", "node2"),
        (UpdatePart.STATUS, "Failed", ""),
    ],
)
def test_an_update_writes_its_part(
    store: Store, written: UpdatePart, status: str, node: str
) -> None:
    store.create(POD, {**pod(node=""), "status": {"phase": "Running"}})
    made = store.update(POD, {**pod(node="node2"), "status": {"phase": "Failed"}}, written)
    assert text(made, "status", "phase") == status
    assert text(made, "spec", "nodeName") == node


def test_who_has_read_an_older_version_is_refused(store: Store) -> None:
    read = store.create(POD, pod())
    store.update(POD, with_part(read, "node2", "spec", "nodeName"))
    with pytest.raises(ConflictError, match="the object has been modified; please apply"):
        store.update(POD, with_part(read, "node3", "spec", "nodeName"))
    with pytest.raises(ConflictError, match="UID in precondition: other"):
        store.delete(POD, "default", "web", uid="other")
    with pytest.raises(ConflictError):
        store.delete(POD, "default", "web", version=text(read, "metadata", "resourceVersion"))


@pytest.mark.parametrize(
    ("obj", "grace", "left"),
    [
        (pod(), None, 30),
        (pod(terminationGracePeriodSeconds=5), None, 5),
        (pod(), 3, 3),
        (pod(), 0, None),
        (pod(), -1, 1),
        (pod(terminationGracePeriodSeconds=-1), None, 1),
        (pod(node=""), None, None),
        ({**pod(), "status": {"phase": "Succeeded"}}, None, None),
    ],
)
def test_a_pod_on_a_node_has_time_to_end(
    store: Store, obj: Object, grace: int | None, left: int | None
) -> None:
    store.create(POD, obj)
    store.delete(POD, "default", "web", grace=grace)
    found = store.get(POD, "default", "web")
    if left is None:
        assert found is None
        return
    assert found is not None
    assert part(found, "metadata", "deletionGracePeriodSeconds") == left
    assert text(found, "metadata", "deletionTimestamp") > "2026-01-02T03:04:05Z"


def test_a_second_deletion_shortens_the_time_and_the_kubelets_ends_it(store: Store) -> None:
    store.create(POD, pod())
    store.delete(POD, "default", "web")
    before = store.version
    store.delete(POD, "default", "web", grace=60)
    assert store.version == before
    shorter = store.delete(POD, "default", "web", grace=1)
    assert number(shorter, "metadata", "deletionGracePeriodSeconds") == 1
    store.delete(POD, "default", "web", grace=0)
    assert store.list(POD) == ()
    assert kinds(store.changes_since(1))[-1] == ("DELETED", "web")


def test_a_finalizer_holds_an_object_until_it_is_taken_away(store: Store) -> None:
    store.create(CONFIG_MAP, with_part(config("a"), ["x"], "metadata", "finalizers"))
    held = store.delete(CONFIG_MAP, "default", "a")
    assert "deletionTimestamp" in mapping(held, "metadata")
    store.update(CONFIG_MAP, with_part(held, [], "metadata", "finalizers"))
    assert store.get(CONFIG_MAP, "default", "a") is None


def test_a_namespace_goes_with_the_last_object_in_it(store: Store) -> None:
    store.create(NAMESPACE, {"metadata": {"name": "shop"}})
    store.create(CONFIG_MAP, config("a", namespace="shop"))
    store.delete(NAMESPACE, "", "shop")
    found = store.get(NAMESPACE, "", "shop")
    assert found is not None
    assert text(found, "status", "phase") == "Terminating"
    store.delete(CONFIG_MAP, "shop", "a")
    assert store.list(NAMESPACE) == ()


def test_changes_are_told_and_kept(store: Store) -> None:
    told: list[ObjectChange] = []
    unsubscribe = store.subscribe(told.append)
    made = store.create(POD, pod())
    store.update(POD, with_part(made, "node2", "spec", "nodeName"))
    assert kinds(tuple(told)) == [("ADDED", "web"), ("MODIFIED", "web")]
    assert store.changes_since(told[0].version) == tuple(told[1:])
    assert told[1].old is made
    unsubscribe()
    store.delete(POD, "default", "web", grace=0)
    assert len(told) == 2


def test_changes_of_long_ago_are_gone(store: Store) -> None:
    store.create(CONFIG_MAP, config("a"))
    first = store.version
    for count in range(HISTORY):
        store.update(CONFIG_MAP, config("a", f"value {count}"))
    assert len(store.changes_since(first)) == HISTORY
    with pytest.raises(ExpiredError, match="too old resource version: 1 "):
        store.changes_since(first - 1)


def test_a_write_that_can_not_be_kept_is_not_done() -> None:
    def full(_change: ObjectChange) -> None:
        raise OSError(28, "No space left on device")

    store = Store(full)
    with pytest.raises(OSError, match="No space"):
        store.create(POD, pod())
    assert store.list(POD) == ()
    assert store.version == 1


def test_a_store_goes_on_where_another_was(store: Store) -> None:
    store.create(POD, pod())
    again = Store()
    again.restore(store.all(), store.version)
    assert again.all() == store.all()
    assert again.version == store.version
    with pytest.raises(ExpiredError):
        again.changes_since(store.version - 1)
    assert again.changes_since(store.version) == ()


REPLACEMENTS: list[tuple[str, Callable[[], list[Object]], list[tuple[str, str]]]] = [
    ("the same", lambda: [config("a"), config("b")], []),
    ("one less", lambda: [config("a")], [("DELETED", "b")]),
    ("another value", lambda: [config("a", "x"), config("b")], [("MODIFIED", "a")]),
    (
        "a new namespace",
        lambda: [config("a"), config("b"), config("c", namespace="shop")],
        [("ADDED", "shop"), ("ADDED", "c")],
    ),
]


@pytest.mark.parametrize(
    ("wanted", "changes"), [row[1:] for row in REPLACEMENTS], ids=[row[0] for row in REPLACEMENTS]
)
def test_a_seed_replaces_what_differs(
    store: Store, wanted: Callable[[], list[Object]], changes: list[tuple[str, str]]
) -> None:
    store.replace_all([config("a"), config("b")])
    assert kinds(store.replace_all(wanted())) == changes


def test_a_seed_keeps_status_and_identity_and_undoes_a_deletion(store: Store) -> None:
    seed = {"apiVersion": "v1", "kind": "Pod", **pod()}
    store.replace_all([seed])
    made = store.update(POD, {**seed, "status": {"phase": "Running"}})
    store.delete(POD, "default", "web")
    store.replace_all([seed])
    found = store.get(POD, "default", "web")
    assert found is not None
    assert text(found, "status", "phase") == "Running"
    assert text(found, "metadata", "uid") == text(made, "metadata", "uid")
    assert "deletionTimestamp" not in mapping(found, "metadata")
