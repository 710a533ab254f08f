"""What a value in a document may be: types that read it, or tell every fault in it at once.

    SHAPE = Shape(ServicePort, Field("port", PORT, required=True), Field("name", LABEL_NAME))
    SHAPE.read({"port": 80}, reading) ─▶ ServicePort(80)       or faults in `reading`, and an error

A shape is the short form of an object, flat as the Lab document has it; a `Form` is the same shape
where a Kubernetes manifest keeps its fields (`metadata.name`, `spec.ports`). One shape reads both.
A field without a value (`ports:`) is one left out, as for the API server.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import Enum, StrEnum
from typing import Any, Generic, TypeAlias, TypeVar

from kns.labfile.document import Path
from kns.labfile.wording import RefusedError, did_you_mean, unsupported, wrong_type

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"
Schema: TypeAlias = dict[str, JSON]
#: the named parts of a schema
Definitions: TypeAlias = dict[str, Schema]


class DocumentKind(Enum):
    """Where a value stands, which decides how much of it is refused."""

    #: the Lab document: every unknown key is an error
    LAB = "lab"
    #: a manifest that somebody wrote: what kns has no use for is passed over
    MANIFEST = "manifest"
    #: what an API server printed: it has validated, defaulted and allocated
    SERVER = "server"


@dataclass(slots=True)
class Fault:
    """What is wrong at one place; `steps` lead there from the whole, the last step first."""

    steps: list[str | int]
    message: str
    hint: str = ""
    #: the key itself is wrong, not its value
    key: bool = False

    @property
    def path(self) -> Path:
        """The steps from the whole to the value."""
        return tuple(reversed(self.steps))


class Reading:
    """One object being read: where it comes from, and its faults so far."""

    __slots__ = ("faults", "served", "strict")

    def __init__(self, origin: DocumentKind = DocumentKind.LAB) -> None:
        self.strict = origin is DocumentKind.LAB
        self.served = origin is DocumentKind.SERVER
        self.faults: list[Fault] = []

    def note(self, refused: RefusedError) -> None:
        """Keep what an error says; one without a message was told before."""
        if refused.message:
            self.faults.append(Fault([], refused.message, refused.hint))

    def lead(self, first: int, step: str | int) -> None:
        """The faults from `first` on are below `step`."""
        for index in range(first, len(self.faults)):
            self.faults[index].steps.append(step)


class Type(ABC, Generic[T_co]):
    """A set of values."""

    @abstractmethod
    def read(self, value: object, reading: Reading) -> T_co:
        """The value as its type. RefusedError if it is none; without a message, see the faults."""

    @abstractmethod
    def schema(self, definitions: Definitions) -> Schema:
        """The JSON schema of what is read, named parts of it in `definitions`."""


# -- scalars ---------------------------------------------------------------------------------------


class Text(Type[str]):
    """A string to which `objection` has none; `hint` may know a better one.

    A server has made its own objections; that a name is there at all is `served`'s to say.
    """

    def __init__(
        self,
        objection: Callable[[str], str] | None = None,
        hint: Callable[[str], str] | None = None,
        *,
        served: Callable[[str], str] | None = None,
    ) -> None:
        self._objection, self._hint, self._served = objection, hint, served

    def read(self, value: object, reading: Reading) -> str:
        """The string itself."""
        if not isinstance(value, str):
            raise wrong_type("a string", value)
        objection = self._served if reading.served else self._objection
        if objection is not None and (found := objection(value)):
            if found == REQUIRED:
                raise RefusedError(REQUIRED)
            raise RefusedError.invalid(value, found, self._hint(value) if self._hint else "")
        return value

    def schema(self, _definitions: Definitions) -> Schema:
        """A string; what it must look like is told by messages alone."""
        return {"type": "string"}


#: an objection to an empty string where there must be one
REQUIRED = "Required value"


class Integer(Type[int]):
    """An integer within bounds."""

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def read(self, value: object, reading: Reading) -> int:
        """The number itself."""
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number and not reading.served:
            raise wrong_type("an integer", value)
        if isinstance(value, int) and is_number and self._low <= value <= self._high:
            return value
        objection = f"must be between {self._low} and {self._high}, inclusive"
        raise RefusedError.invalid(value, objection)

    def schema(self, _definitions: Definitions) -> Schema:
        """An integer with its bounds."""
        return {"type": "integer", "minimum": self._low, "maximum": self._high}


class Flag(Type[bool]):
    """`true` or `false`."""

    def read(self, value: object, _reading: Reading) -> bool:
        """The boolean itself."""
        if not isinstance(value, bool):
            raise wrong_type("true or false", value)
        return value

    def schema(self, _definitions: Definitions) -> Schema:
        """A boolean."""
        return {"type": "boolean"}


ChoiceT = TypeVar("ChoiceT", bound=str)


class Choice(Type[ChoiceT]):
    """One of a closed set of words."""

    def __init__(self, words: Iterable[ChoiceT]) -> None:
        self._words: dict[str, ChoiceT] = {str(word): word for word in words}

    def read(self, value: object, _reading: Reading) -> ChoiceT:
        """The word, or the member of an enumeration that it names."""
        word = self._words.get(value) if isinstance(value, str) else None
        if word is None:
            raise unsupported(value, tuple(self._words))
        return word

    def schema(self, _definitions: Definitions) -> Schema:
        """The words."""
        if len(self._words) == 1:
            return {"type": "string", "const": next(iter(self._words))}
        return {"type": "string", "enum": list(self._words)}


class Parsed(Type[T]):
    """What `parse` makes of a value, or `served` of one that an API server printed."""

    def __init__(
        self,
        parse: Callable[[object], T],
        schema: Mapping[str, JSON],
        *,
        served: Callable[[object], T] | None = None,
    ) -> None:
        self._parse, self._served, self._schema = parse, served or parse, schema

    def read(self, value: object, reading: Reading) -> T:
        """The parsed value."""
        return self._served(value) if reading.served else self._parse(value)

    def schema(self, _definitions: Definitions) -> Schema:
        """The schema that it was given."""
        return dict(self._schema)


SourceT = TypeVar("SourceT")


class Mapped(Type[T]):
    """What `make` makes of another type's value."""

    def __init__(self, source: Type[SourceT], make: Callable[[SourceT], T]) -> None:
        self._source: Type[Any] = source
        self._make = make

    def read(self, value: object, reading: Reading) -> T:
        """The value that is made."""
        return self._make(self._source.read(value, reading))

    def schema(self, definitions: Definitions) -> Schema:
        """The source's."""
        return self._source.schema(definitions)


# -- collections -----------------------------------------------------------------------------------


class ListOf(Type[tuple[T, ...]]):
    """A list; `filled` demands an item.

    In a manifest an object that is null is one without fields: Go's zero value, as encoding/json
    decodes it, so that the API server takes `ingress: [null]` for a rule that allows everything.
    """

    def __init__(self, item: Type[T], *, filled: bool = False) -> None:
        self.item, self._filled = item, filled

    def read(self, value: object, reading: Reading) -> tuple[T, ...]:
        """The items."""
        if not isinstance(value, list | tuple):
            raise wrong_type("a list", value)
        if self._filled and not value and not reading.served:
            raise RefusedError("Required value: at least one item")
        found: list[T] = []
        for index, item in enumerate(value):
            before = len(reading.faults)
            if item is None and isinstance(self.item, Shape) and not reading.strict:
                item = {}  # noqa: PLW2901
            try:
                found.append(self.item.read(item, reading))
            except RefusedError as refused:
                reading.note(refused)
            reading.lead(before, index)
        if len(found) < len(value):
            raise RefusedError
        return tuple(found)

    def schema(self, definitions: Definitions) -> Schema:
        """An array."""
        filled: Schema = {"minItems": 1} if self._filled else {}
        return {"type": "array", "items": self.item.schema(definitions), **filled}


class MapOf(Type[Mapping[str, str]]):
    """A mapping of strings that passes `check`."""

    def __init__(self, check: Callable[[Mapping[str, str]], None] | None = None) -> None:
        self._check = check

    def read(self, value: object, reading: Reading) -> Mapping[str, str]:
        """The mapping itself: what the document holds is never changed."""
        if not isinstance(value, dict):
            raise wrong_type("a mapping", value)
        sound = True
        for key, item in value.items():
            if not isinstance(item, str):
                refused = wrong_type("a string", item)
                reading.faults.append(Fault([key], refused.message, refused.hint))
                sound = False
        if not sound:
            raise RefusedError
        if self._check is not None and not reading.served:
            self._check(value)
        return value

    def schema(self, _definitions: Definitions) -> Schema:
        """An object of strings."""
        return {"type": "object", "additionalProperties": {"type": "string"}}


class AnyMapping(Type[Mapping[str, object]]):
    """A mapping of which kns uses nothing but that it is there."""

    def read(self, value: object, _reading: Reading) -> Mapping[str, object]:
        """The mapping itself."""
        if not isinstance(value, dict):
            raise wrong_type("a mapping", value)
        return value

    def schema(self, _definitions: Definitions) -> Schema:
        """Any object."""
        return {"type": "object"}


class Either(Type[T]):
    """A field of two forms: the mapping that Kubernetes has, or a scalar that stands for it."""

    def __init__(self, long: Type[T], short: Type[T]) -> None:
        self._long, self._short = long, short

    def read(self, value: object, reading: Reading) -> T:
        """By the form that is written."""
        chosen = self._long if isinstance(value, dict) else self._short
        return chosen.read(value, reading)

    def schema(self, definitions: Definitions) -> Schema:
        """One of the two."""
        return {"oneOf": [self._long.schema(definitions), self._short.schema(definitions)]}


# -- objects ---------------------------------------------------------------------------------------

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
            if reading.strict or (branch.closed and not reading.served):
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
    hint = did_you_mean(key, known)
    if not hint and known:
        hint = f"known fields: {', '.join(known)}"
    return Fault([key], f'unknown field "{key}"', hint, key=reading.strict)


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
