"""Replies to questions that were seen before, byte for byte, with the addresses in turn.

What CoreDNS' cache and loadbalance plugins do. A client may ask for as many names as it likes, and
pad each question as it likes: the bytes that all entries take have a bound, too, and when it is
reached the cache begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kns.agent.serve.dns_wire import Query, WireAnswer, response

#: entries (CoreDNS' own capacity is 9984), and the bytes that they may take all together
MAX_ENTRIES = 10_000
MAX_BYTES = 16 * 1024 * 1024
#: a longer question is not kept: a name takes 255 bytes, what goes with it some dozens
MAX_QUESTION = 512
#: orders of the addresses that are kept for one question
MAX_TURNS = 16
#: roughly what Python takes for an entry, and for each record of its answer
_ENTRY_BYTES, _RECORD_BYTES = 1500, 400


@dataclass(slots=True)
class _Entry:
    """The replies to one question without their ids, one for each order of the addresses.

    Each is written when its turn comes for the first time.
    """

    query: Query
    answer: WireAnswer
    turns: int
    bodies: list[bytes] = field(default_factory=list)
    turn: int = -1


class ReplyCache:
    """The replies of one DNS server to UDP questions; a question's first two bytes are its id."""

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything: the records have changed."""
        self._entries.clear()
        self._bytes = 0

    def get(self, wire: bytes) -> bytes | None:
        """The reply whose turn it is; None if the question was not seen before."""
        entry = self._entries.get(wire[2:])
        return None if entry is None else wire[:2] + self._next(entry)

    def put(self, wire: bytes, query: Query, answer: WireAnswer) -> bytes:
        """Keep the answer to a question, unless that is too long; the first reply."""
        if len(wire) > MAX_QUESTION:
            return response(query, answer)
        if len(self._entries) >= MAX_ENTRIES or self._bytes > MAX_BYTES:
            self.clear()
        entry = _Entry(query, answer, min(answer.turns, MAX_TURNS))
        self._bytes += _ENTRY_BYTES + len(wire) + _RECORD_BYTES * answer.count
        self._entries[wire[2:]] = entry
        return wire[:2] + self._next(entry)

    def _next(self, entry: _Entry) -> bytes:
        entry.turn = (entry.turn + 1) % entry.turns
        if entry.turn == len(entry.bodies):
            body = response(entry.query, entry.answer, turn=entry.turn)[2:]
            self._bytes += len(body)
            entry.bodies.append(body)
        return entry.bodies[entry.turn]
