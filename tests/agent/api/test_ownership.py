"""managedFields and server-side apply: who owns what, and who is in whose way."""

from __future__ import annotations

import pytest

from kns.agent.api.ownership import FieldOwner, applied, owned_paths, owners_of, shown, updated
from kns.agent.api.status import StatusError
from kns.kinds.api_types import type_of
from kns.kinds.common import Object
from kns.kinds.resources import CONFIG_MAP, DEPLOYMENT, SERVICE
from kns.labfile.reader import JSON


def owner(manager: str, operation: str = "Apply") -> FieldOwner:
    return FieldOwner(manager, operation, "v1", "", "2026-01-02T03:04:05Z", frozenset())


def config(**data: JSON) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def apply(live: Object, wanted: Object, manager: str, *, force: bool = False) -> Object:
    kind = type_of(CONFIG_MAP)
    return applied(CONFIG_MAP, live, wanted, kind, owner(manager), force=force)


def managers(obj: Object) -> dict[str, list[str]]:
    return {item.manager: sorted(map(shown, item.paths)) for item in owners_of(obj)}


def test_fields_are_paths_by_the_keys_of_lists() -> None:
    service: Object = {
        "metadata": {"name": "a", "labels": {"x": "y"}, "uid": "1"},
        "spec": {"ports": [{"port": 80, "name": "http"}], "selector": {"a": "b"}},
    }
    assert sorted(map(shown, owned_paths(service, type_of(SERVICE)))) == [
        ".metadata.labels.x",
        '.spec.ports[port=80,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].name',
        '.spec.ports[port=80,protocol="TCP"].port',
        ".spec.selector",
    ]


def test_a_manager_owns_what_it_applies() -> None:
    made = apply(config(), config(a="1", b="2"), "one")
    assert made["data"] == {"a": "1", "b": "2"}
    assert managers(made) == {"one": [".data.a", ".data.b"]}


def test_what_a_manager_applies_no_longer_goes() -> None:
    made = apply(config(), config(a="1", b="2"), "one")
    made = apply(made, config(a="1"), "one")
    assert made["data"] == {"a": "1"}


def test_what_another_one_applied_too_stays() -> None:
    made = apply(config(), config(a="1", b="2"), "one")
    made = apply(made, config(b="2"), "two")
    made = apply(made, config(a="1"), "one")
    assert made["data"] == {"a": "1", "b": "2"}
    assert managers(made) == {"two": [".data.b"], "one": [".data.a"]}


def test_another_value_of_anothers_field_is_a_conflict() -> None:
    made = apply(config(), config(a="1"), "one")
    with pytest.raises(StatusError) as caught:
        apply(made, config(a="2"), "two")
    assert caught.value.code == 409
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "one" using v1: .data.a'
    )
    forced = apply(made, config(a="2"), "two", force=True)
    assert forced["data"] == {"a": "2"}
    assert managers(forced) == {"two": [".data.a"]}


def test_an_update_takes_what_it_changes() -> None:
    made = apply(config(), config(a="1", b="2"), "one")
    changed: Object = {**made, "data": {"a": "3", "b": "2", "c": "4"}}
    made = updated(made, changed, type_of(CONFIG_MAP), owner("edit", "Update"))
    assert managers(made) == {"one": [".data.b"], "edit": [".data.a", ".data.c"]}
    with pytest.raises(StatusError, match='conflict with "edit"'):
        apply(made, config(a="1", b="2"), "one")
    gone = updated(made, {**made, "data": {"b": "2"}}, type_of(CONFIG_MAP), owner("edit", "Update"))
    assert managers(gone) == {"one": [".data.b"]}


def test_an_update_that_changes_nothing_owns_nothing() -> None:
    made = apply(config(), config(a="1"), "one")
    again = updated(made, dict(made), type_of(CONFIG_MAP), owner("edit", "Update"))
    assert again == made


def test_items_of_a_list_belong_to_who_applied_them() -> None:
    def deployment(*names: str) -> Object:
        containers: list[JSON] = [{"name": name, "image": "x"} for name in names]
        return {"spec": {"template": {"spec": {"containers": containers}}}}

    kind = type_of(DEPLOYMENT)
    made = applied(DEPLOYMENT, {}, deployment("a", "b"), kind, owner("one"), force=False)
    made = applied(DEPLOYMENT, made, deployment("c"), kind, owner("two"), force=False)
    made = applied(DEPLOYMENT, made, deployment("b"), kind, owner("one"), force=False)
    made.pop("metadata")
    assert made == deployment("b", "c")
