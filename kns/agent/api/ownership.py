"""Who owns which fields of an object: managedFields, and server-side apply.

Fields are paths as FieldsV1 writes their steps: `f:spec`, `k:{"name":"web"}`, `v:"x"`. Pure.

Source: sigs.k8s.io/structured-merge-diff and "Server-Side Apply" of the documentation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kns.agent.api.status import FieldCause, StatusError, conflict
from kns.kinds.api_types import ANYTHING, FieldType, Holds, ObjectType, object_type
from kns.kinds.common import Object
from kns.kinds.objects import SERVER_METADATA, mapping, mappings, text, with_part
from kns.kinds.resources import Resource
from kns.labfile.reader import JSON

FieldPath = tuple[str, ...]
_UNOWNED = frozenset({*SERVER_METADATA, "name", "namespace", "generateName"})


@dataclass(frozen=True, slots=True)
class FieldOwner:
    """One entry of managedFields."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    paths: frozenset[FieldPath]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells two entries apart."""
        return self.manager, self.operation, self.subresource


# -- fields ----------------------------------------------------------------------------------------


def owned_paths(obj: Object, kind: ObjectType | None) -> frozenset[FieldPath]:
    """The fields that an object sets, without those that are nobody's."""
    found = (path for key, item in obj.items() for path in _root(key, item, kind))
    return frozenset(found)


def _root(key: str, item: JSON, kind: ObjectType | None) -> Iterator[FieldPath]:
    if key in {"apiVersion", "kind"}:
        return
    if key == "metadata":
        item = {name: value for name, value in mapping(item).items() if name not in _UNOWNED}
        if not item:
            return
    yield from _paths(item, _field(kind, key), (f"f:{key}",))


def _field(kind: ObjectType | None, key: str) -> FieldType:
    return kind.fields.get(key, ANYTHING) if kind is not None else ANYTHING


def _paths(value: JSON, field: FieldType, path: FieldPath) -> Iterator[FieldPath]:
    if isinstance(value, dict) and value and not _is_whole(field):
        for key, item in value.items():
            yield from _paths(item, _below(field, key), (*path, f"f:{key}"))
    elif isinstance(value, list) and value and field.list_keys is not None:
        for item in value:
            step = _item_step(item, field.list_keys)
            yield (*path, step)
            if isinstance(item, dict):
                yield from _paths(item, field.item or ANYTHING, (*path, step))
    else:
        yield path


def _is_whole(field: FieldType) -> bool:
    kind = object_type(field)
    return field.atomic or (kind is not None and kind.atomic)


def _below(field: FieldType, key: str) -> FieldType:
    if field.holds is Holds.MAP:
        return field.item or ANYTHING
    return _field(object_type(field), key)


def _item_step(item: JSON, keys: tuple[str, ...]) -> str:
    if not keys or not isinstance(item, dict):
        return "v:" + json.dumps(item)
    # a protocol left out is TCP, the default of every key that may be left out
    values = {key: item.get(key, "TCP" if key == "protocol" else None) for key in sorted(keys)}
    shown = {key: value for key, value in values.items() if value is not None}
    return "k:" + json.dumps(shown, separators=(",", ":"))


def _position(value: JSON, step: str, field: FieldType) -> int:
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if _item_step(item, field.list_keys or ()) == step:
            return index
    return -1


def _value_at(value: JSON, path: FieldPath, field: FieldType) -> JSON:
    """What stands there; None for nothing, which no field holds."""
    for step in path:
        if step.startswith("f:"):
            value, field = mapping(value).get(step[2:]), _below(field, step[2:])
        else:
            index = _position(value, step, field)
            value = value[index] if isinstance(value, list) and index >= 0 else None
            field = field.item or ANYTHING
    return value


def _without(value: JSON, path: FieldPath, field: FieldType) -> JSON:
    """The value without what stands at the path; mappings and lists that it leaves empty go too."""
    step, rest = path[0], path[1:]
    if step.startswith("f:"):
        key = step[2:]
        if not isinstance(value, dict) or key not in value:
            return value
        left = _without(value[key], rest, _below(field, key)) if rest else None
        made = {name: item for name, item in value.items() if name != key or left is not None}
        if left is not None:
            made[key] = left
        return made or None
    index = _position(value, step, field)
    if not isinstance(value, list) or index < 0:
        return value
    left = _without(value[index], rest, field.item or ANYTHING) if rest else None
    kept = [left] if left is not None else []
    return [*value[:index], *kept, *value[index + 1 :]] or None


def _merge(old: JSON, new: JSON, field: FieldType) -> JSON:
    """The value with what an applied one sets."""
    if isinstance(new, dict) and isinstance(old, dict) and not _is_whole(field):
        merged = {key: _merge(old.get(key), item, _below(field, key)) for key, item in new.items()}
        return {**old, **merged}
    if isinstance(new, list) and isinstance(old, list) and field.list_keys is not None:
        made = list(old)
        for item in new:
            index = _position(made, _item_step(item, field.list_keys), field)
            if index < 0:
                made.append(item)
            else:
                made[index] = _merge(made[index], item, field.item or ANYTHING)
        return made
    return new


# -- managedFields ---------------------------------------------------------------------------------


def owners_of(obj: Object) -> tuple[FieldOwner, ...]:
    """The entries of `metadata.managedFields`."""
    return tuple(
        FieldOwner(
            text(entry, "manager"),
            text(entry, "operation"),
            text(entry, "apiVersion"),
            text(entry, "subresource"),
            text(entry, "time"),
            frozenset(_read(mapping(entry, "fieldsV1"), ())),
        )
        for entry in mappings(obj, "metadata", "managedFields")
    )


def _read(fields: Object, path: FieldPath) -> Iterator[FieldPath]:
    for step, below in fields.items():
        if step == ".":
            yield path
        elif isinstance(below, dict) and below:
            yield from _read(below, (*path, step))
        else:
            yield (*path, step)


def with_owners(obj: Object, owners: Iterable[FieldOwner]) -> Object:
    """The object with these entries; one that owns nothing is left out."""
    entries: list[JSON] = []
    for owner in owners:
        if owner.paths:
            entry: Object = {
                "manager": owner.manager,
                "operation": owner.operation,
                "apiVersion": owner.api_version,
                "time": owner.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": _written(owner.paths),
            }
            entries.append(
                {**entry, "subresource": owner.subresource} if owner.subresource else entry
            )
    return with_part(obj, entries or None, "metadata", "managedFields")


def _written(paths: frozenset[FieldPath]) -> Object:
    root: Object = {}
    for path in sorted(paths):
        place = root
        for step in path:
            below = place.setdefault(step, {})
            assert isinstance(below, dict)  # noqa: S101 - made two lines above
            place = below
        if any(path == other[: len(path)] and path != other for other in paths):
            place["."] = {}
    return root


def updated(old: Object | None, new: Object, kind: ObjectType | None, owner: FieldOwner) -> Object:
    """The new object, in which `owner` has what it changed, and nobody what is gone."""
    before = old or {}
    root = FieldType(Holds.OBJECT, name=kind.name if kind is not None else "")
    old_paths, new_paths = owned_paths(before, kind), owned_paths(new, kind)
    changed = frozenset(
        path
        for path in new_paths
        if path not in old_paths
        or (
            path[-1].startswith("f:")
            and _value_at(before, path, root) != _value_at(new, path, root)
        )
    )
    gone = old_paths - new_paths
    kept, own = [], owner
    for other in owners_of(new) or owners_of(before):
        if other.key == owner.key:
            own = replace(owner, paths=other.paths)
        else:
            lost = gone | frozenset(path for path in changed if path[-1].startswith("f:"))
            kept.append(replace(other, paths=other.paths - lost))
    own = replace(own, paths=(own.paths | changed) - gone)
    if not changed and not gone:
        return with_owners(new, owners_of(new) or owners_of(before))
    return with_owners(new, [*kept, own])


def applied(
    resource: Resource,
    live: Object,
    config: Object,
    kind: ObjectType | None,
    owner: FieldOwner,
    *,
    force: bool,
) -> Object:
    """The object as a manager applies its part of it.

    What it set before, and sets no longer, goes unless somebody else set it too. StatusError 409 if
    another manager owns a field that is to get another value, and `force` is not given.
    """
    root = FieldType(Holds.OBJECT, name=kind.name if kind is not None else "")
    wanted = owned_paths(config, kind)
    before = owners_of(live)
    others = tuple(other for other in before if other.key != owner.key)
    taken = tuple((other, _taken(other, wanted, live, config, root)) for other in others)
    if any(paths for _, paths in taken) and not force:
        raise _conflicts(resource, tuple((other, paths) for other, paths in taken if paths))
    merged = _merge(live, config, root)
    own = next((other for other in before if other.key == owner.key), None)
    theirs = frozenset(path for other in others for path in other.paths)
    dropped = (own.paths if own is not None else frozenset()) - wanted
    # an item goes before its fields, by which it is found
    for path in sorted(dropped, key=len):
        if not any(path == other[: len(path)] for other in theirs):
            merged = _without(merged, path, root)
    made = merged if isinstance(merged, dict) else {}
    if own is not None and own.paths == wanted and made == {**live, **made}:
        owner = replace(owner, time=own.time)
    left = [replace(other, paths=other.paths - paths) for other, paths in taken]
    return with_owners(made, [*left, replace(owner, paths=wanted)])


def _taken(
    other: FieldOwner,
    wanted: frozenset[FieldPath],
    live: Object,
    config: Object,
    root: FieldType,
) -> frozenset[FieldPath]:
    """The fields of another manager that get another value."""
    return frozenset(
        path
        for path in other.paths & wanted
        if path[-1].startswith("f:")
        and _value_at(live, path, root) != _value_at(config, path, root)
    )


def _conflicts(
    resource: Resource, found: tuple[tuple[FieldOwner, frozenset[FieldPath]], ...]
) -> StatusError:
    causes = [
        FieldCause(
            shown(path),
            f'conflict with "{owner.manager}" using {owner.api_version}',
            "FieldManagerConflict",
        )
        for owner, paths in found
        for path in sorted(paths)
    ]
    count = f"{len(causes)} conflict{'s' if len(causes) > 1 else ''}"
    listed = "\n".join(f"{cause.message}: {cause.field}" for cause in causes)
    return conflict(resource, "", f"Apply failed with {count}: {listed}", causes)


def shown(path: FieldPath) -> str:
    """As messages have it: `.spec.containers[name="web"].image`."""
    text_ = ""
    for step in path:
        kind, value = step[:2], step[2:]
        if kind == "f:":
            text_ += f".{value}"
        elif kind == "k:":
            keys = json.loads(value)
            text_ += "[" + ",".join(f"{key}={json.dumps(keys[key])}" for key in keys) + "]"
        else:
            text_ += f"[={value}]"
    return text_
