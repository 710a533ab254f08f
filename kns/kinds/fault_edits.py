"""What commands make of a lab's faults. Pure."""

from __future__ import annotations

from dataclasses import replace

from kns.kinds.faults import FaultEnd, Faults


def with_link_down(faults: Faults, *ends: FaultEnd) -> Faults:
    """The links of these pods and nodes are down, too."""
    return replace(faults, links_down=_with(faults.links_down, ends))


def with_link_up(faults: Faults, *ends: FaultEnd) -> Faults:
    """Nothing takes the links of these pods and nodes down."""
    return replace(faults, links_down=_without(faults.links_down, ends))


def with_unready(faults: Faults, *ends: FaultEnd) -> Faults:
    """These pods are not ready, too."""
    return replace(faults, unready=_with(faults.unready, ends))


def with_ready(faults: Faults, *ends: FaultEnd) -> Faults:
    """Nothing makes these pods not ready."""
    return replace(faults, unready=_without(faults.unready, ends))


def _with(before: tuple[FaultEnd, ...], ends: tuple[FaultEnd, ...]) -> tuple[FaultEnd, ...]:
    return (*before, *(item for item in dict.fromkeys(ends) if not _among(item, before)))


def _without(before: tuple[FaultEnd, ...], ends: tuple[FaultEnd, ...]) -> tuple[FaultEnd, ...]:
    return tuple(item for item in before if not _among(item, ends))


def _among(item: FaultEnd, others: tuple[FaultEnd, ...]) -> bool:
    return any(_same(item, other) for other in others)


def _same(one: FaultEnd, other: FaultEnd) -> bool:
    """Whether both mean the same: the kind may be left out."""
    kinds = {one.kind, other.kind} - {None}
    return (one.namespace, one.name) == (other.namespace, other.name) and len(kinds) < 2
