"""Ranges of numbers: addresses and ports. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kns.addresses import IPNetwork

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The numbers from `first` to `last`, both included, and whose they are in words."""

    first: int
    last: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Piece(Generic[T]):
    """A part of the numbers in which one and the same of several owners comes first."""

    span: Span
    owner: T


def of_block(cidr: IPNetwork, excluded: Iterable[IPNetwork], note: str) -> tuple[Span, ...]:
    """The addresses of a block without those of the networks inside it that are excluded."""
    found: list[Span] = []
    first = int(cidr.network_address)
    for hole in sorted(excluded, key=lambda item: int(item.network_address)):
        start, end = int(hole.network_address), int(hole.broadcast_address)
        if first < start:
            found.append(Span(first, start - 1, note))
        first = max(first, end + 1)
    if first <= int(cidr.broadcast_address):
        found.append(Span(first, int(cidr.broadcast_address), note))
    return tuple(found)


def disjoint(owned: Sequence[tuple[Span, T]]) -> tuple[Piece[T], ...]:
    """The numbers that somebody owns, cut so that no two pieces overlap; the first owner has it.

    A sweep over the ends of the spans, with those that are open at each place.
    """
    edges: list[tuple[int, int]] = []
    for index, (span, _) in enumerate(owned):
        edges += [(span.first, index), (span.last + 1, index)]
    edges.sort()
    pieces: list[Piece[T]] = []
    active: set[int] = set()
    for position, (place, index) in enumerate(edges):
        active ^= {index}
        following = edges[position + 1][0] if position + 1 < len(edges) else place
        if not active or following == place:
            continue
        span, owner = owned[min(active)]
        pieces.append(Piece(Span(place, following - 1, span.note), owner))
    return tuple(_merged(pieces))


def _merged(pieces: Sequence[Piece[T]]) -> list[Piece[T]]:
    """Neighbours of one owner and one note are one piece."""
    found: list[Piece[T]] = []
    for piece in pieces:
        before = found[-1] if found else None
        if (
            before is not None
            and before.owner == piece.owner
            and before.span.note == piece.span.note
            and before.span.last + 1 == piece.span.first
        ):
            span = Span(before.span.first, piece.span.last, piece.span.note)
            found[-1] = Piece(span, piece.owner)
        else:
            found.append(piece)
    return found
