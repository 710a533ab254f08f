"""What is said of a machine."""

from __future__ import annotations

from dataclasses import dataclass

from kns.state.requirements import Need


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is so on this machine, or not.

    `use` is what in kns wants it, `found` what was seen, `mend` the command that puts it right.
    """

    area: str
    name: str
    need: Need
    ok: bool
    use: str
    found: str
    mend: str = ""
