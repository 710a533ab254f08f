"""The fields of the served kinds and what each holds: of all that Kubernetes has, not only kns.

    api_types.txt ─▶ TypeTable ─▶ which fields are unknown, how patches merge lists, OpenAPI

The table is `scripts/api_fields.py`'s, whose docstring explains its form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path

from kns.kinds.resources import Resource


class Holds(StrEnum):
    """What a value is."""

    STRING = "s"
    INTEGER = "i"
    NUMBER = "n"
    BOOLEAN = "b"
    ANYTHING = "*"
    INT_OR_STRING = "p"
    QUANTITY = "q"
    TIME = "t"
    BYTES = "y"
    LIST = "list"
    MAP = "map"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class FieldType:
    """What a field holds. `item` is of a list or map, `name` the type of an object."""

    holds: Holds
    item: FieldType | None = None
    name: str = ""
    required: bool = False
    #: the key by which strategic merge patches merge a list; empty: as a set; None: not at all
    merge_key: str | None = None
    #: the keys that tell the items of a list apart; (): it is a set; None: it is one whole
    list_keys: tuple[str, ...] | None = None
    #: a map that is one whole
    atomic: bool = False
    #: the number in protobuf, and in the messages around it that JSON does not have; () unknown
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class ObjectType:
    """An object's fields, as `written`; `atomic` is one that is owned as a whole."""

    name: str
    written: tuple[str, ...]
    atomic: bool = False

    @cached_property
    def fields(self) -> Mapping[str, FieldType]:
        """Its fields by name. Read when they are asked for: a file has objects of a few types."""
        return dict(map(_field, self.written))


ANYTHING = FieldType(Holds.ANYTHING)
#: the part of a type's name that each API group has
_GROUPS = {
    "": "core",
    "apps": "apps",
    "autoscaling": "autoscaling",
    "discovery.k8s.io": "discovery",
    "networking.k8s.io": "networking",
    "policy": "policy",
    "rbac.authorization.k8s.io": "rbac",
    "authorization.k8s.io": "authorization",
}
_FIELD = re.compile(
    r"(?P<name>[^:!]+)(?P<required>!?):(?P<type>[^+@=#]+)"
    r"(?:\+(?P<merge>[^@=#]*))?(?:@(?P<keys>[^=#]*))?(?P<atomic>=?)(?:#(?P<numbers>[0-9.]+))?"
)


@cache
def type_table() -> Mapping[str, ObjectType]:
    """Every type by its name, as `core.v1.PodSpec`."""
    text = Path(__file__).with_name("api_types.txt").read_text(encoding="ascii")
    found: dict[str, ObjectType] = {}
    for line in text.splitlines():
        name, *written = line.split()
        bare = name.rstrip("=")
        found[bare] = ObjectType(bare, tuple(written), name.endswith("="))
    return found


def type_of(resource: Resource) -> ObjectType | None:
    """The type of a resource's objects; None for one that is not Kubernetes'."""
    return type_table().get(type_name(resource.group, resource.version, resource.kind))


def type_name(group: str, version: str, kind: str) -> str:
    """The name in the table."""
    return f"{_GROUPS.get(group, group)}.{version}.{kind}"


def object_type(field: FieldType) -> ObjectType | None:
    """The type of an object that the field holds."""
    return type_table().get(field.name) if field.holds is Holds.OBJECT else None


def _field(written: str) -> tuple[str, FieldType]:
    match = _FIELD.fullmatch(written)
    assert match is not None, written  # noqa: S101 - the table is the package's own
    held = _type(match["type"])
    keys = match["keys"]
    return match["name"], FieldType(
        held.holds,
        held.item,
        held.name,
        required=bool(match["required"]),
        merge_key=match["merge"],
        list_keys=None if keys is None else tuple(keys.split(",")) if keys else (),
        atomic=bool(match["atomic"]),
        numbers=tuple(map(int, match["numbers"].split("."))) if match["numbers"] else (),
    )


def _type(written: str) -> FieldType:
    if written.startswith("["):
        return FieldType(Holds.LIST, _type(written[1:-1]))
    if written.startswith("{"):
        return FieldType(Holds.MAP, _type(written[1:-1]))
    if len(written) == 1:
        return FieldType(Holds(written))
    return FieldType(Holds.OBJECT, name=written)
