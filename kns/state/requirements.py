"""What may be wanted of a machine: programs, and what the kernel must do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Need(StrEnum):
    """How much kns depends on a fact."""

    REQUIRED = "required"
    OPTIONAL = "optional"


# -- programs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tool:
    """A program, what wants it, and the arguments that make it tell its version."""

    program: str
    need: Need
    use: str
    version: tuple[str, ...] = ("--version",)


# -- kernel features -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Feature:
    """Something the kernel must do: `argv`, run in a netns of its own, succeeds if it can.

    `module` are the modules that bring it. Where a trial would tell nothing, it is known by the
    file `shown_by` below /proc, or by a module that can be loaded.
    """

    name: str
    need: Need
    use: str
    argv: tuple[str, ...] = ()
    module: str = ""
    text: str = ""
    shown_by: str = ""
