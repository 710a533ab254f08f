"""What a value in a document may be: types that read it, or tell every fault in it at once.

    ListOf(Integer(1, 65535)).read([80, 443], reading) ─▶ (80, 443)
                                                          or faults in `reading`, and an error

Scalars and collections; objects are in `shape`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar

from kns.labfile.document import Path
from kns.labfile.wording import RefusedError, unsupported, wrong_type

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

    #: an object of which nothing is written may be meant all the same
    is_object = False

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
            if item is None and self.item.is_object and not reading.strict:
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
