"""Faults in words."""

from __future__ import annotations

from collections.abc import Iterator

from kns.kinds.faults import FaultEnd, FaultEndKind, Faults


def fault_words(faults: Faults) -> Iterator[str]:
    """What is broken, kind by kind."""
    if faults.links_down:
        yield f"link down: {_names(faults.links_down)}"
    for partition in faults.partitions:
        yield f"apart: {_names(partition.one)} | {_names(partition.other)}"
    for item in faults.netem:
        ends = f"{_end(item.source)} → {_end(item.target)}"
        words = (f"{name} {value}" for name, value in item.impairment.to_document().items())
        yield f"netem {ends}: {', '.join(words)}"
    if faults.unready:
        yield f"not ready: {_names(faults.unready)}"
    if faults.no_conntrack_cleanup:
        yield "no clean-up of conntrack"


def each_in_words(faults: Faults) -> tuple[str, ...]:
    """What is broken, each end of it by itself."""
    parts = (
        *(Faults(links_down=(item,)) for item in faults.links_down),
        *(Faults(partitions=(item,)) for item in faults.partitions),
        *(Faults(netem=(item,)) for item in faults.netem),
        *(Faults(unready=(item,)) for item in faults.unready),
        Faults(no_conntrack_cleanup=faults.no_conntrack_cleanup),
    )
    return tuple(line for part in parts for line in fault_words(part))


def _names(ends: tuple[FaultEnd, ...]) -> str:
    return ", ".join(map(_end, ends))


def _end(item: FaultEnd | None) -> str:
    """Its name; that a Service is one is said: it stands for its pods."""
    if item is None:
        return "any"
    is_service = item.kind is FaultEndKind.SERVICE
    return str(item) if is_service else str(item).removeprefix(f"{item.kind}/")
