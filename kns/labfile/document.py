"""What is read of YAML: plain data, with the place of every value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kns.errors import Problem

Path = tuple[str | int, ...]
Mark = tuple[int, int]

#: what to do with a file of Helm's or Kustomize's
TEMPLATE_HINT = "run helm template (or kustomize build) first, and give kns what it prints"


@dataclass(slots=True)
class Marks:
    """The place of a mapping or sequence and of what is in it."""

    mark: Mark
    keys: dict[str, Mark] = field(default_factory=dict)
    values: dict[str | int, Marks | Mark] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its plain data, and where each part of them stands in `file`."""

    file: str
    data: object
    marks: Marks | Mark

    def mark(self, path: Path = (), *, key: bool = False) -> Mark:
        """Line and column, from 1, of the value at `path` (of its key with `key`).

        Where the path leaves what is written, the last part that is written counts.
        """
        here: Marks | Mark = self.marks
        for index, step in enumerate(path):
            if not isinstance(here, Marks) or step not in here.values:
                break
            if key and index == len(path) - 1 and isinstance(step, str):
                return here.keys[step]
            here = here.values[step]
        return here.mark if isinstance(here, Marks) else here

    def problem(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """An error at `path`."""
        line, column = self.mark(path, key=key)
        if '"{{' in message:
            hint = TEMPLATE_HINT
        return Problem(self.file, line, column, path_text(path), message, hint)


@dataclass(frozen=True, slots=True)
class Stream:
    """The documents of a file, and the errors that did not stop the reading."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]


def path_text(path: Path) -> str:
    """`services[0].ports[1].port`; a key that is no plain word is bracketed, as Kubernetes does."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int) or not re.fullmatch(r"[\w-]+", step):
            parts.append(f"[{step}]")
        else:
            parts.append(f".{step}" if parts else step)
    return "".join(parts)
