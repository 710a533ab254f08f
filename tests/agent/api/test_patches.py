"""Patches: an object and a patch give another object."""

from __future__ import annotations

import pytest

from kns.agent.api.patches import json_patch, merge_patch, strategic_merge
from kns.agent.api.status import StatusError
from kns.kinds.api_types import type_of
from kns.kinds.common import Object
from kns.kinds.resources import DEPLOYMENT, POD, SERVICE
from kns.labfile.reader import JSON


@pytest.mark.parametrize(
    ("value", "patch", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": None}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": None}}, {"a": {}}),
        ({}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
    ],
)
def test_a_merge_patch(value: JSON, patch: JSON, expected: JSON) -> None:
    assert merge_patch(value, patch) == expected


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/a/x", "value": 1}], {"a": {"b": 1, "x": 1}, "l": [1, 2]}),
        ([{"op": "remove", "path": "/a/b"}], {"a": {}, "l": [1, 2]}),
        ([{"op": "replace", "path": "/a", "value": 3}], {"a": 3, "l": [1, 2]}),
        ([{"op": "add", "path": "/l/-", "value": 3}], {"a": {"b": 1}, "l": [1, 2, 3]}),
        ([{"op": "add", "path": "/l/0", "value": 0}], {"a": {"b": 1}, "l": [0, 1, 2]}),
        ([{"op": "remove", "path": "/l/0"}], {"a": {"b": 1}, "l": [2]}),
        ([{"op": "replace", "path": "/l/1", "value": 9}], {"a": {"b": 1}, "l": [1, 9]}),
        ([{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "l": [1, 2], "c": 1}),
        ([{"op": "copy", "from": "/l", "path": "/c"}], {"a": {"b": 1}, "l": [1, 2], "c": [1, 2]}),
        ([{"op": "test", "path": "/a/b", "value": 1}], {"a": {"b": 1}, "l": [1, 2]}),
        (
            [{"op": "add", "path": "/a/x~1y~0z", "value": 1}],
            {"a": {"b": 1, "x/y~z": 1}, "l": [1, 2]},
        ),
    ],
)
def test_a_json_patch(operations: JSON, expected: JSON) -> None:
    value: JSON = {"a": {"b": 1}, "l": [1, 2]}
    assert json_patch(value, operations) == expected
    assert value == {"a": {"b": 1}, "l": [1, 2]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/x"},
        {"op": "replace", "path": "/a/x", "value": 1},
        {"op": "test", "path": "/a/b", "value": 2},
        {"op": "add", "path": "/l/7", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "frobnicate", "path": "/a"},
        {"op": "add", "path": "a"},
        "add",
    ],
)
def test_a_json_patch_that_has_no_place_is_refused(operation: JSON) -> None:
    with pytest.raises(StatusError) as caught:
        json_patch({"a": {"b": 1}, "l": [1, 2]}, [operation])
    assert caught.value.code == 400


def _container(name: str, **more: JSON) -> Object:
    return {"name": name, **more}


def _pod(*containers: Object) -> Object:
    return {"spec": {"containers": list(containers)}}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (
            _pod(_container("b", image="y")),
            _pod(_container("a", image="x"), _container("b", image="y")),
        ),
        (_pod(_container("c")), _pod(_container("a", image="x"), _container("b"), _container("c"))),
        (_pod({"name": "a", "$patch": "delete"}), _pod(_container("b"))),
        (_pod({"$patch": "replace"}, _container("z")), _pod(_container("z"))),
        (
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
            _pod(_container("b"), _container("a", image="x")),
        ),
    ],
)
def test_a_strategic_merge_goes_by_the_keys_of_lists(patch: Object, expected: Object) -> None:
    old = _pod(_container("a", image="x"), _container("b"))
    assert strategic_merge(old, patch, type_of(POD)) == expected


def test_a_strategic_merge_of_sets_and_directives() -> None:
    old: Object = {"metadata": {"finalizers": ["a", "b"]}}
    kind = type_of(POD)
    added = strategic_merge(old, {"metadata": {"finalizers": ["c"]}}, kind)
    assert added == {"metadata": {"finalizers": ["a", "b", "c"]}}
    fewer = strategic_merge(old, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, kind)
    assert fewer == {"metadata": {"finalizers": ["b"]}}
    strategy: Object = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}}
    patch: Object = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    made = strategic_merge(strategy, patch, type_of(DEPLOYMENT))
    assert made == {"spec": {"strategy": {"type": "Recreate"}}}


def test_an_item_without_its_key_is_refused() -> None:
    with pytest.raises(StatusError, match="does not contain declared merge key: port"):
        strategic_merge({}, {"spec": {"ports": [{"name": "x"}]}}, type_of(SERVICE))
