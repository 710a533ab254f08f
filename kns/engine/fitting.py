"""Which of a cluster's objects can be had together, where not all can."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kns.errors import Problem, SpecError
from kns.kinds.common import Object
from kns.kinds.objects import Ref, text

Made = TypeVar("Made")

#: what making a cluster of objects that don't go together raises
REFUSALS = (SpecError, ValueError, LookupError, ArithmeticError)
#: without these no other object has a place; they come first where everything is in doubt
_GROUND = frozenset({"Lab", "Namespace", "Node"})


@dataclass(frozen=True, slots=True)
class Fitted(Generic[Made]):
    """What was made, of which objects, and why the others could not be among them."""

    made: Made
    objects: Mapping[Ref, Object]
    refused: Mapping[Ref, Exception]


def fit(
    items: Mapping[Ref, Object],
    suspects: Collection[Ref],
    before: Mapping[Ref, Object],
    make: Callable[[Mapping[Ref, Object]], Made],
) -> Fitted[Made]:
    """Make as much of the objects as can be had together, the earlier first.

    What can't be had is among the `suspects`, or else anywhere. It stays as it was `before`, if
    it was there, or is left out. Raises what `make` does where nothing can be had.
    """
    try:
        return Fitted(make(items), items, {})
    except REFUSALS:
        pass
    doubted = [ref for ref in items if ref in suspects]
    try:
        return _Search(items, before, make).admit(doubted)
    except REFUSALS:
        doubted = [ref for ref in items if ref[0] not in _GROUND]
        return _Search(items, {}, make).admit(doubted)


@dataclass(slots=True)
class _Search(Generic[Made]):
    items: Mapping[Ref, Object]
    before: Mapping[Ref, Object]
    make: Callable[[Mapping[Ref, Object]], Made]
    refused: dict[Ref, Exception] = field(default_factory=dict)

    def admit(self, doubted: Sequence[Ref]) -> Fitted[Made]:
        """Everything but the doubted, and of these what goes with it: by halves."""
        found = self._attempt(frozenset(doubted))
        waiting = [list(doubted)]
        out = frozenset(doubted)
        while waiting:
            part = waiting.pop()
            try:
                found = self._attempt(out - frozenset(part))
            except REFUSALS as error:
                if len(part) == 1:
                    self.refused[part[0]] = error
                else:
                    half = len(part) // 2
                    waiting += (part[half:], part[:half])
            else:
                out -= frozenset(part)
        return found

    def _attempt(self, out: frozenset[Ref]) -> Fitted[Made]:
        chosen = replaced(self.items, out, self.before)
        return Fitted(self.make(chosen), chosen, self.refused)


def replaced(
    items: Mapping[Ref, Object], out: Collection[Ref], before: Mapping[Ref, Object]
) -> dict[Ref, Object]:
    """The items; instead of those that are `out` what they were `before`, if they were there."""
    found: dict[Ref, Object] = {}
    for ref, item in items.items():
        old = before.get(ref)
        if ref not in out:
            found[ref] = item
        elif old is not None and _uid(old) == _uid(item):
            found[ref] = old
    return found


def reborn_pods(items: Mapping[Ref, Object], before: Mapping[Ref, Object]) -> frozenset[Ref]:
    """The pods that were another pod of the same name before, as those of a StatefulSet."""
    return frozenset(
        ref
        for ref, item in items.items()
        if ref[0] == "Pod"
        and (old := before.get(ref, item)) is not item
        and _uid(old) != _uid(item)
    )


def message_of(error: Exception) -> str:
    """What an error says; of a file's, what is wrong rather than in how many places."""
    if isinstance(error, SpecError):
        return words_of(error.problems)
    return str(error)


def words_of(problems: Iterable[Problem]) -> str:
    """What is wrong with an object, without its name."""
    return "; ".join(f"{each.path}: {each.message}".removeprefix(": ") for each in problems)


def _uid(item: Object) -> str:
    return text(item, "metadata", "uid")
