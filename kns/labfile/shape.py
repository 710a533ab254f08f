"""Objects in a document: shapes of fields, in the short form and as manifests have them.

    SHAPE = Shape(ServicePort, Field("port", PORT, required=True), Field("name", LABEL_NAME))
    SHAPE.read({"port": 80}, reading) ─▶ ServicePort(80)       or faults in `reading`, and an error

A shape is the short form of an object, flat as the Lab document has it; a `Form` is the same shape
where a Kubernetes manifest keeps its fields (`metadata.name`, `spec.ports`). One shape reads both.
A field without a value (`ports:`) is one left out, as for the API server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Any, Generic

from kns.errors import MOST_PROBLEMS
from kns.labfile.document import Path
from kns.labfile.reader import JSON, REQUIRED, Definitions, Fault, Reading, Schema, T, Type
from kns.labfile.wording import RefusedError, unknown_hint, wrong_type

_UNSET: Any = object()


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name in YAML, what it holds, and the argument that it becomes.

    `merge` is for a mapping whose own fields are arguments of the whole (`conditions`).
    """

    name: str
    type: Type[object]
    argument: str = ""
    required: bool = False
    merge: bool = False
    #: a program's `""` or `0` is a field left out, as for the API server
    zero: bool = False
    #: what the schema says of a field left out, where the argument's own default doesn't say it
    default: Any = _UNSET


@dataclass(slots=True)
class _Branch:
    """A mapping of a manifest: the fields and mappings in it that are read."""

    entries: dict[str, Field | _Branch] = field(default_factory=dict)
    #: an unknown key is an error in a manifest, too
    closed: bool = False


class Shape(Type[T]):
    """An object: `make` gets what was read of its fields as keyword arguments.

    A `closed` one has no unknown keys in manifests either. A `patient` one is made in spite of
    faults, its wrong fields left out: what else depends on it can be checked all the same.
    """

    is_object = True

    def __init__(
        self,
        make: Callable[..., T],
        *own: Field,
        of: type | None = None,
        title: str = "",
        doc: str = "",
        closed: bool = False,
        patient: bool = False,
    ) -> None:
        self.make, self.fields, self._patient = make, own, patient
        self._of: type | None = of or _class(make)
        self.title = title or (self._of or make).__name__
        self._doc = doc
        self._branch = _Branch({field.name: field for field in own}, closed)
        self._required = tuple((field, (field.name,)) for field in own if field.required)

    def read(self, value: object, reading: Reading) -> T:
        """The object that a mapping of its fields stands for."""
        found: dict[str, object] = {}
        sound = _read_branch(value, self._branch, reading, found)
        sound = _all_there(value, self._required, reading) and (sound or self._patient)
        if not sound:
            raise RefusedError
        return self.make(**found)

    def refuse(self, key: str, reading: Reading) -> None:
        """Note an unknown key of the object."""
        reading.faults.append(_unknown(key, tuple(self._branch.entries), reading))

    def schema(self, definitions: Definitions) -> Schema:
        """A reference to the object's schema, which is put into `definitions`."""
        if self.title not in definitions:
            definitions[self.title] = {}  # so that what refers to itself ends
            definitions[self.title] = self.own_schema(definitions)
        return {"$ref": f"#/$defs/{self.title}"}

    def own_schema(self, definitions: Definitions) -> Schema:
        """The object's schema itself."""
        properties: Schema = {}
        for own in self.fields:
            rule = own.type.schema(definitions)
            if not own.required:
                default = self._default(own)
                unset: Schema = {"anyOf": [rule, {"type": "null"}]}
                rule = {**(unset if default is None else rule), "default": default}
            properties[own.name] = rule
        schema: Schema = {
            "type": "object",
            "description": self._description(),
            "properties": properties,
            "additionalProperties": False,
        }
        required: list[JSON] = [own.name for own in self.fields if own.required]
        return {**schema, "required": required} if required else schema

    def _description(self) -> str:
        """What it was given, or the first paragraph of the dataclass' docstring."""
        first, _, _ = (self._doc or (self._of and self._of.__doc__) or "").partition("\n\n")
        return " ".join(first.split())

    def _default(self, own: Field) -> JSON:
        if own.default is not _UNSET:
            return _plain(own.default)
        if isinstance(own.type, Shape) or own.merge:
            return {}
        argument = own.argument or snake(own.name)
        known = next((item for item in fields(self._of or _None) if item.name == argument), None)
        if known is None:
            return None
        factory = known.default_factory
        return _plain(known.default if factory is MISSING else factory())


@dataclass
class _None:
    """A shape of no dataclass."""


def _class(make: object) -> type | None:
    return make if isinstance(make, type) and is_dataclass(make) else None


class Group(Shape[dict[str, object]]):
    """A mapping whose fields are arguments of the object that it is part of."""

    def __init__(self, *own: Field, title: str, doc: str) -> None:
        super().__init__(dict, *own, title=title, doc=doc)


class Form(Generic[T]):
    """A shape as a manifest of Kubernetes has it: each field at its path.

    Where no path is given, a field is one of the object itself. `closed` names the mappings in
    which an unknown key is an error although kns passes over much else.
    """

    def __init__(
        self, shape: Shape[T], paths: Mapping[str, Path], *, closed: Sequence[Path] = ()
    ) -> None:
        self.shape = shape
        self.paths = {own.name: paths.get(own.name, (own.name,)) for own in shape.fields}
        self._root = _Branch()
        for own in shape.fields:
            if self.paths[own.name]:
                self._branch(self.paths[own.name][:-1]).entries[str(self.paths[own.name][-1])] = own
        for path in closed:
            self._branch(path).closed = True
        self._required = tuple((own, self.paths[own.name]) for own in shape.fields if own.required)

    def _branch(self, path: Path) -> _Branch:
        branch = self._root
        for step in path:
            entry = branch.entries.setdefault(str(step), _Branch())
            assert isinstance(entry, _Branch)  # noqa: S101 - no path runs through another's field
            branch = entry
        return branch

    def read(self, value: object, reading: Reading, **more: object) -> T:
        """The object that a manifest stands for; `more` are arguments that it does not tell."""
        found: dict[str, object] = dict(more)
        sound = _read_branch(value, self._root, reading, found)
        if not (_all_there(value, self._required, reading) and sound):
            raise RefusedError
        return self.shape.make(**found)


def _read_branch(
    value: object, branch: _Branch, reading: Reading, found: dict[str, object]
) -> bool:
    """Read what `branch` knows of a mapping into `found`; False if some of it is wrong."""
    if not isinstance(value, dict):
        raise wrong_type("a mapping", value)
    entries = branch.entries
    sound = True
    for key, item in value.items():
        entry = entries.get(key)
        if entry is None:
            is_wrong = reading.strict or (branch.closed and not reading.served)
            if is_wrong and len(reading.faults) < MOST_PROBLEMS:
                reading.faults.append(_unknown(key, tuple(entries), reading))
            continue
        if item is None or (isinstance(entry, Field) and _left_out(entry, item, reading)):
            continue
        before = len(reading.faults)
        try:
            if isinstance(entry, Field):
                result = entry.type.read(item, reading)
                if entry.merge:
                    found.update(result)  # type: ignore[call-overload]
                else:
                    found[entry.argument or snake(entry.name)] = result
            else:
                sound = _read_branch(item, entry, reading, found) and sound
        except RefusedError as refused:
            reading.note(refused)
            sound = False
        reading.lead(before, key)
    return sound


def _left_out(entry: Field, item: object, reading: Reading) -> bool:
    """Whether a value says nothing; who writes 0 by hand means it."""
    return entry.zero and (item == "" or (not reading.strict and type(item) is int and item == 0))


def _all_there(value: object, required: Sequence[tuple[Field, Path]], reading: Reading) -> bool:
    """Note the required fields that are not written. False if one of them is wrong or absent."""
    sound = True
    for own, path in required:
        part = value
        for step in path:
            part = part.get(step) if isinstance(part, dict) else None
        if part is None:
            hint = f"add `{own.name}: …` here"
            reading.faults.append(Fault(list(reversed(path)), REQUIRED, hint))
            sound = False
    return sound


def _unknown(key: str, known: Sequence[str], reading: Reading) -> Fault:
    return Fault([key], f'unknown field "{key}"', unknown_hint(key, known), key=reading.strict)


_SNAKE: dict[str, str] = {}


def snake(name: str) -> str:
    """`clusterIPs` as Python's style has it: `cluster_ips`."""
    known = _SNAKE.get(name)
    if known is None:
        import re

        words = re.findall(r"[a-z]+|IPv6|[A-Z]+s?(?![a-z])|[A-Z][a-z]+", name)
        known = _SNAKE[name] = "_".join(words).lower()
    return known


def _plain(value: object) -> JSON:
    """A default as JSON."""
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)
