"""Faults in words."""

from __future__ import annotations

from collections.abc import Iterator

from kns.kinds.faults import FaultEnd, Faults


def fault_words(faults: Faults) -> Iterator[str]:
    """What is broken, kind by kind."""
    if faults.links_down:
        yield f"link down: {_names(faults.links_down)}"
    if faults.unready:
        yield f"not ready: {_names(faults.unready)}"


def _names(ends: tuple[FaultEnd, ...]) -> str:
    return ", ".join(str(item).removeprefix(f"{item.kind}/") for item in ends)
