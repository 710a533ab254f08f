"""Fields of a manifest that Kubernetes does not have: misspelt, or at the wrong depth.

A server passes over them if nobody asks for more; kubectl does (`--validate=strict`), and refuses.
"""

from __future__ import annotations

from collections.abc import Iterator

from kns.errors import Problem
from kns.kinds.api_types import FieldType, Holds, ObjectType, object_type, type_name, type_table
from kns.labfile.document import Path
from kns.labfile.objects import ObjectPlace
from kns.labfile.place import Place
from kns.labfile.wording import unknown_hint


def unknown_fields(item: ObjectPlace) -> Iterator[Problem]:
    """A warning for each; none for a kind whose fields are not known."""
    group, _, version = item.api_version.rpartition("/")
    known = type_table().get(type_name(group, version, item.kind))
    if known is None:
        return
    place = Place(item.document, item.path)
    for path, parent in unknown_in(item.data, known):
        message = f'unknown field "{path[-1]}": passed over; kubectl refuses it'
        hint = unknown_hint(str(path[-1]), parent.fields)
        yield place.problem(path, message, hint, warning=True)


def unknown_in(
    value: object, known: ObjectType, path: Path = ()
) -> Iterator[tuple[Path, ObjectType]]:
    """The path of each unknown field of a value, and the type of the object that it stands in."""
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        field = known.fields.get(name)
        if field is None:
            yield (*path, name), known
        elif isinstance(inner, dict | list):
            yield from _unknown_in(inner, field, (*path, name))


def _unknown_in(value: object, field: FieldType, path: Path) -> Iterator[tuple[Path, ObjectType]]:
    if (known := object_type(field)) is not None:
        yield from unknown_in(value, known, path)
    elif field.item is not None:
        if field.holds is Holds.LIST and isinstance(value, list):
            for index, inner in enumerate(value):
                yield from _unknown_in(inner, field.item, (*path, index))
        elif field.holds is Holds.MAP and isinstance(value, dict):
            for name, inner in value.items():
                yield from _unknown_in(inner, field.item, (*path, name))
