"""An object of a document: its plain data, and the place of every part for what is said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from kns.errors import Problem, Severity
from kns.labfile.document import Document, Path
from kns.labfile.reader import Fault

PartT_co = TypeVar("PartT_co", covariant=True)
_NOWHERE: Mapping[str, Path] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """An object that stands at `base` of a document.

    A path begins with a field of the short form; `paths` tells where a manifest keeps that field.
    """

    document: Document
    base: Path = ()
    paths: Mapping[str, Path] = field(default_factory=lambda: _NOWHERE)

    def problem(
        self, path: Path, message: str, hint: str = "", *, warning: bool = False
    ) -> Problem:
        """An error, or a warning, at `path` of this object."""
        problem = self.document.problem(self.base + self._written(path), message, hint)
        return replace(problem, severity=Severity.WARNING) if warning else problem

    def problems(self, faults: Iterable[Fault]) -> list[Problem]:
        """What a reading found wrong; its paths are those that are written."""
        return [
            self.document.problem(self.base + fault.path, fault.message, fault.hint, key=fault.key)
            for fault in faults
        ]

    def get(self, *path: str | int) -> object:
        """What is written there, or None."""
        part: object = self.document.data
        for step in self.base + self._written(path):
            if isinstance(part, dict):
                part = part.get(step)
            elif isinstance(part, list) and isinstance(step, int) and step < len(part):
                part = part[step]
            else:
                return None
        return part

    def has(self, *path: str | int) -> bool:
        """Whether something is written there; null is nothing."""
        return self.get(*path) is not None

    @property
    def line(self) -> int:
        """The line where the object begins."""
        return self.document.mark(self.base)[0]

    def text(self, *path: str | int) -> str:
        """Where that part of the object stands: `lab.yaml:14`."""
        return f"{self.document.file}:{self.document.mark(self.base + self._written(path))[0]}"

    def seen_from(self, other: Place) -> str:
        """Where the object begins, for a message at another one: `on line 3`, or `at b.yaml:3`."""
        same = self.document.file == other.document.file
        return f"on line {self.line}" if same else f"at {self.document.file}:{self.line}"

    def _written(self, path: Path) -> Path:
        return self.paths.get(str(path[0]), path[:1]) + path[1:] if path else ()


@dataclass(frozen=True, slots=True)
class Located(Generic[PartT_co]):
    """What was read of an object, and its place."""

    value: PartT_co
    place: Place
