"""What commands make of a lab's faults. Pure."""

from __future__ import annotations

from dataclasses import replace

from kns.kinds.faults import FaultEnd, Faults, NetemFault, Partition


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


def with_netem(faults: Faults, fault: NetemFault) -> Faults:
    """The packets of this way are impaired so, however they were before."""
    others = without_netem(faults, fault.source, fault.target).netem
    return replace(faults, netem=(*others, fault))


def without_netem(
    faults: Faults, source: FaultEnd | None = None, target: FaultEnd | None = None
) -> Faults:
    """Nothing impairs the packets of this way; of no ends, of any."""
    if source is None and target is None:
        return replace(faults, netem=())
    kept = (
        item
        for item in faults.netem
        if not (_maybe_same(item.source, source) and _maybe_same(item.target, target))
    )
    return replace(faults, netem=tuple(kept))


def with_partition(faults: Faults, partition: Partition) -> Faults:
    """Nothing passes between its sides, too."""
    others = without_partition(faults, partition).partitions
    return replace(faults, partitions=(*others, partition))


def without_partition(faults: Faults, partition: Partition | None = None) -> Faults:
    """These sides are not apart, whichever was named first; None: none are."""
    kept = (item for item in faults.partitions if partition and not _same_sides(item, partition))
    return replace(faults, partitions=tuple(kept))


def _same_sides(one: Partition, other: Partition) -> bool:
    straight = _same_ends(one.one, other.one) and _same_ends(one.other, other.other)
    return straight or (_same_ends(one.one, other.other) and _same_ends(one.other, other.one))


def _same_ends(one: tuple[FaultEnd, ...], other: tuple[FaultEnd, ...]) -> bool:
    return not _without(one, other) and not _without(other, one)


def _maybe_same(one: FaultEnd | None, other: FaultEnd | None) -> bool:
    return one is other if one is None or other is None else _same(one, other)


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
