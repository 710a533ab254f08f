"""Patches of objects: JSON merge (RFC 7386), JSON patch (RFC 6902) and strategic merge.

Pure: an object and a patch give another object. Source of strategic merge:
k8s.io/apimachinery/pkg/util/strategicpatch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kns.agent.api.status import bad_request
from kns.kinds.api_types import FieldType, ObjectType, object_type
from kns.kinds.common import Object
from kns.labfile.reader import JSON

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE_FROM = "$deleteFromPrimitiveList/"


# -- merge patch -----------------------------------------------------------------------------------


def merge_patch(value: JSON, patch: JSON) -> JSON:
    """RFC 7386: null takes a field away, mappings are merged, the rest is replaced."""
    if not isinstance(patch, dict):
        return patch
    made = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            made.pop(key, None)
        else:
            made[key] = merge_patch(made.get(key), item)
    return made


# -- JSON patch ------------------------------------------------------------------------------------


def json_patch(value: JSON, operations: JSON) -> JSON:
    """RFC 6902. StatusError 400 or 422 for an operation that is none, or has no place."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    for operation in operations:
        if not isinstance(operation, dict):
            raise bad_request("an operation of a JSON patch is a mapping")
        value = _operate(value, operation)
    return value


def _operate(value: JSON, operation: Object) -> JSON:
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _set(value, path, operation.get("value"), insert=True)
        case "replace":
            _get(value, path)
            return _set(value, path, operation.get("value"), insert=False)
        case "remove":
            return _remove(value, path)
        case "copy":
            return _set(value, path, _get(value, _pointer(operation.get("from"))), insert=True)
        case "move":
            source = _pointer(operation.get("from"))
            moved = _get(value, source)
            return _set(_remove(value, source), path, moved, insert=True)
        case "test":
            if _get(value, path) != operation.get("value"):
                raise bad_request(f"testing path {operation.get('path')} failed: test failed")
            return value
        case other:
            raise bad_request(f"unexpected kind: {other}: no operation of a JSON patch")


def _pointer(text: JSON) -> tuple[str, ...]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_request(f"not a JSON pointer: {text!r}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _missing(path: Sequence[str]) -> Exception:
    return bad_request(f"doc is missing path: /{'/'.join(path)}: missing value")


def _step(value: JSON, step: str, path: Sequence[str]) -> JSON:
    if isinstance(value, dict) and step in value:
        return value[step]
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    raise _missing(path)


def _get(value: JSON, path: Sequence[str]) -> JSON:
    for step in path:
        value = _step(value, step, path)
    return value


def _set(value: JSON, path: Sequence[str], new: JSON, *, insert: bool) -> JSON:
    if not path:
        return new
    first, rest = path[0], path[1:]
    if isinstance(value, list):
        return _set_item(value, path, new, insert=insert)
    if not isinstance(value, dict) or (rest and first not in value):
        raise _missing(path)
    return {**value, first: _set(value.get(first), rest, new, insert=insert)}


def _set_item(value: list[JSON], path: Sequence[str], new: JSON, *, insert: bool) -> JSON:
    first, rest = path[0], path[1:]
    if not rest and insert:
        index = len(value) if first == "-" else int(first) if first.isdecimal() else len(value) + 1
        if index > len(value):
            raise _missing(path)
        return [*value[:index], new, *value[index:]]
    item = _set(_step(value, first, path), rest, new, insert=insert)
    index = int(first)
    return [*value[:index], item, *value[index + 1 :]]


def _remove(value: JSON, path: Sequence[str]) -> JSON:
    if not path:
        return None
    found = _step(value, path[0], path)
    if isinstance(value, dict):
        made = dict(value)
        if len(path) == 1:
            del made[path[0]]
        else:
            made[path[0]] = _remove(found, path[1:])
        return made
    assert isinstance(value, list)  # noqa: S101 - _step found an item in it
    index = int(path[0])
    kept = [] if len(path) == 1 else [_remove(found, path[1:])]
    return [*value[:index], *kept, *value[index + 1 :]]


# -- strategic merge patch -------------------------------------------------------------------------


def strategic_merge(value: Object, patch: Object, kind: ObjectType | None) -> Object:
    """The object with the patch in it; lists of which the type knows a key are merged by it."""
    if patch.get(_DIRECTIVE) == "replace":
        return {key: item for key, item in patch.items() if key != _DIRECTIVE}
    if patch.get(_DIRECTIVE) == "delete":
        return {}
    made = dict(value)
    retained = patch.get(_RETAIN)
    if isinstance(retained, list):
        made = {key: item for key, item in made.items() if key in retained}
    for key, item in patch.items():
        if key.startswith(_DELETE_FROM):
            _delete_from(made, key.removeprefix(_DELETE_FROM), item)
        elif key.startswith("$"):
            continue
        elif item is None:
            made.pop(key, None)
        else:
            field = kind.fields.get(key) if kind is not None else None
            made[key] = _merged(made.get(key), item, field, patch.get(_ORDER + key))
    for key, order in patch.items():
        name = key.removeprefix(_ORDER)
        if key.startswith(_ORDER) and name not in patch and name in made:
            field = kind.fields.get(name) if kind is not None else None
            made[name] = _ordered(made[name], order, field)
    return made


def _delete_from(made: Object, name: str, values: JSON) -> None:
    there = made.get(name)
    if isinstance(there, list) and isinstance(values, list):
        made[name] = [item for item in there if item not in values]


def _merged(old: JSON, new: JSON, field: FieldType | None, order: JSON) -> JSON:
    if isinstance(new, dict):
        kind = object_type(field) if field is not None else None
        return strategic_merge(old if isinstance(old, dict) else {}, new, kind)
    if isinstance(new, list) and field is not None and field.merge_key is not None:
        there = old if isinstance(old, list) else []
        return _ordered(_merged_list(there, new, field), order, field)
    return new


def _merged_list(old: list[JSON], new: list[JSON], field: FieldType) -> list[JSON]:
    key = field.merge_key
    if not key:
        return [*old, *(item for item in new if item not in old)]
    kind = object_type(field.item) if field.item is not None else None
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in new):
        return [item for item in new if isinstance(item, dict) and _DIRECTIVE not in item]
    made = list(old)
    for item in new:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        index = _index(made, key, item[key])
        if item.get(_DIRECTIVE) == "delete":
            made = made[:index] + made[index + 1 :] if index >= 0 else made
        elif index < 0:
            made.append(strategic_merge({}, item, kind))
        else:
            there = made[index]
            assert isinstance(there, dict)  # noqa: S101 - it has a key
            made[index] = strategic_merge(there, item, kind)
    return made


def _index(values: Sequence[JSON], key: str, wanted: JSON) -> int:
    for index, item in enumerate(values):
        if isinstance(item, dict) and item.get(key) == wanted:
            return index
    return -1


def _ordered(value: JSON, order: JSON, field: FieldType | None) -> JSON:
    """The list in the order that the patch asks for; what it does not name keeps its place."""
    if not isinstance(value, list) or not isinstance(order, list):
        return value
    key = (field.merge_key if field is not None else None) or ""
    wanted = [_identity(item, key) for item in order]
    known = [item for item in value if _identity(item, key) in wanted]
    known.sort(key=lambda item: wanted.index(_identity(item, key)))
    following = iter(known)
    return [next(following) if _identity(item, key) in wanted else item for item in value]


def _identity(item: JSON, key: str) -> JSON:
    return item.get(key) if key and isinstance(item, Mapping) else item
