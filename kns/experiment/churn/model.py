"""What a change cost: losses by event, kind and cause; who answered when. Pure.

Times are seconds from the run's start.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kns.probe.load.model import Break, Cause, Exchange, Kind
from kns.probe.watch_model import Window, windows

#: what was sent so shortly before an event was under way when it came
IN_FLIGHT = 0.1
#: these are numbered: each its own connection or source port
STREAMS = (Kind.HELD, Kind.FLOW)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the lab."""

    at: float
    text: str
    #: the end of something, which costs nothing itself
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """What one kind lost after an event: from the first loss to the next answer after the last.

    `end` is the end of the run if no answer came any more.
    """

    kind: Kind
    causes: dict[Cause, int]
    start: float
    end: float

    @property
    def count(self) -> int:
        """How many were lost."""
        return sum(self.causes.values())

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "kind": str(self.kind),
            "lost": self.count,
            "causes": {str(cause): count for cause, count in self.causes.items()},
            "from_s": round(self.start, 3),
            "to_s": round(self.end, 3),
            "seconds": round(self.end - self.start, 3),
        }


@dataclass(frozen=True, slots=True)
class BackendSpan:
    """Who answered, when first and last, and how often before, during and after the change."""

    name: str
    #: "" where the server does not tell
    address: str
    first: float
    last: float
    before: int
    during: int
    after: int

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "name": self.name,
            "address": self.address,
            "first_s": round(self.first, 3),
            "last_s": round(self.last, 3),
            "before": self.before,
            "during": self.during,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class KindResult:
    """All exchanges of a kind, in the order in which they were due."""

    kind: Kind
    exchanges: tuple[Exchange, ...]
    windows: tuple[Window, ...]

    @property
    def answered(self) -> int:
        """How many were answered in time, and rightly."""
        return sum(item.answered for item in self.exchanges)

    @property
    def lost(self) -> int:
        """How many were not."""
        return len(self.exchanges) - self.answered

    @property
    def causes(self) -> dict[Cause, int]:
        """Why they were lost, most first."""
        return _causes(self.exchanges)

    @property
    def streams(self) -> int:
        """How many held connections or flows there were."""
        return len({item.stream for item in self.exchanges})

    def latencies(self) -> tuple[float, float, float]:
        """Median, 99th percentile and maximum of what was answered, in milliseconds."""
        return percentiles(item.latency_ms for item in self.exchanges if item.answered)

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "kind": str(self.kind),
            "streams": self.streams if self.kind in STREAMS else 0,
            "sent": len(self.exchanges),
            "answered": self.answered,
            "lost": self.lost,
            "causes": {str(cause): count for cause, count in self.causes.items()},
            "windows": [
                {
                    "from_s": round(window.start, 3),
                    "to_s": round(window.end, 3),
                    "seconds": round(window.seconds, 3),
                    "sent": window.sent,
                    "lost": window.lost,
                }
                for window in self.windows
            ],
            "latency_ms": _spread(self.latencies()),
        }


@dataclass(frozen=True, slots=True)
class ChurnResult:
    """One `kns churn`. `exchanges` and `breaks` are in order, their times from the start."""

    source: str
    target: str
    path: str
    address: str
    tcp_port: int
    udp_port: int
    rate: float
    seconds: float
    exchanges: tuple[Exchange, ...]
    breaks: tuple[Break, ...]
    events: tuple[Event, ...]
    #: why the change itself failed; empty if it did not
    failure: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if the change was made, and nothing was lost or broken."""
        answered = all(item.answered for item in self.exchanges)
        return bool(self.exchanges) and answered and not self.breaks and not self.failure

    @property
    def kinds(self) -> tuple[KindResult, ...]:
        """What was sent, by kind."""
        return tuple(self._kind(kind) for kind in Kind if self._of(kind))

    def _of(self, kind: Kind) -> tuple[Exchange, ...]:
        return tuple(item for item in self.exchanges if item.kind is kind)

    def _kind(self, kind: Kind) -> KindResult:
        mine = self._of(kind)
        return KindResult(kind, mine, windows(mine, self.seconds))

    @property
    def losses(self) -> tuple[tuple[Loss, ...], ...]:
        """What was lost: before the first event, then after each."""
        found: dict[tuple[int, Kind], list[Exchange]] = {}
        for item, number in self._lost_by_event():
            found.setdefault((number, item.kind), []).append(item)
        return tuple(
            tuple(self._loss(kind, found[number, kind]) for kind in Kind if (number, kind) in found)
            for number in range(len(self.events) + 1)
        )

    def _lost_by_event(self) -> Iterator[tuple[Exchange, int]]:
        """Each loss with the number, from 1, of the event that it belongs to: the last before it.

        What a stream loses until it is well again belongs to the event of its first loss.
        """
        broken: dict[tuple[Kind, int], int] = {}
        for item in self.exchanges:
            stream = (item.kind, item.stream)
            if item.answered:
                broken.pop(stream, None)
                continue
            number = self._event_before(item)
            if item.kind in STREAMS:
                number = broken.setdefault(stream, number)
            yield item, number

    def _event_before(self, item: Exchange) -> int:
        known = min(item.ended, item.sent + IN_FLIGHT)
        causes = (n for n, event in enumerate(self.events, start=1) if not event.is_end)
        return max((n for n in causes if self.events[n - 1].at <= known), default=0)

    def _loss(self, kind: Kind, lost: Sequence[Exchange]) -> Loss:
        return Loss(kind, _causes(lost), lost[0].planned, self.restored(kind, lost))

    def restored(self, kind: Kind, lost: Sequence[Exchange]) -> float:
        """When the next request was due that was answered; the end of the run if none was.

        Of streams each has to be well again.
        """
        last: dict[int, float] = {}
        for item in lost:
            last[item.stream] = item.planned
        ends = [
            next((i.planned for i in self._stream(kind, n) if i.planned > at and i.answered), None)
            for n, at in last.items()
        ]
        return max(self.seconds if end is None else end for end in ends)

    def _stream(self, kind: Kind, number: int) -> Iterable[Exchange]:
        return (i for i in self.exchanges if i.kind is kind and i.stream == number)

    @property
    def backends(self) -> tuple[BackendSpan, ...]:
        """Who answered, in the order of their first answer."""
        start = self.events[0].at if self.events else self.seconds
        end = self.events[-1].at if self.events else self.seconds
        found: dict[tuple[str, str], list[Exchange]] = {}
        for item in self.exchanges:
            if item.backend:
                found.setdefault((item.backend, item.server), []).append(item)
        return tuple(
            BackendSpan(
                *who,
                min(i.ended for i in items),
                max(i.ended for i in items),
                sum(i.ended < start for i in items),
                sum(start <= i.ended < end for i in items),
                sum(i.ended >= end for i in items),
            )
            for who, items in sorted(found.items(), key=lambda f: min(i.ended for i in f[1]))
        )

    @property
    def lateness(self) -> tuple[float, float, float]:
        """By how much the client itself was late, in milliseconds: median, 99%, maximum."""
        return percentiles(i.late * 1000 for i in self.exchanges if i.kind is not Kind.HELD)

    def again(self, item: Break) -> float | None:
        """For how many seconds a held connection was away, from its last word; None: for good."""
        beats = (i for i in self._stream(Kind.HELD, item.stream) if i.answered)
        back = next((i.ended for i in beats if i.ended > item.ended), None)
        return None if back is None else back - item.heard

    @property
    def has_limited_refusals(self) -> bool:
        """True if of the requests of an event some were refused and some found silence.

        Each of them is a new choice, and nothing else makes one of them silent and the next not.
        """
        new = (Kind.CONNECTION, Kind.QUERY)
        found = (set(item.causes) for lost in self.losses for item in lost if item.kind in new)
        return any({Cause.REFUSED, Cause.TIMEOUT} <= causes for causes in found)

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        before, *after = self.losses
        return {
            "source": self.source,
            "target": self.target,
            "path": self.path,
            "ok": self.ok,
            "failure": self.failure,
            "address": self.address,
            "tcp_port": self.tcp_port,
            "udp_port": self.udp_port,
            "rate": self.rate,
            "seconds": round(self.seconds, 3),
            "kinds": [item.to_json() for item in self.kinds],
            "lost_before": [item.to_json() for item in before],
            "events": [
                {
                    "at_s": round(event.at, 3),
                    "event": event.text,
                    "lost": [item.to_json() for item in lost],
                }
                for event, lost in zip(self.events, after, strict=True)
            ],
            "breaks": [self._break_json(item) for item in self.breaks],
            "backends": [item.to_json() for item in self.backends],
            "client_late_ms": _spread(self.lateness),
            "notes": list(self.notes),
        }

    def _break_json(self, item: Break) -> dict[str, object]:
        again = self.again(item)
        return {
            "connection": item.stream + 1,
            "backend": item.backend,
            "address": item.server,
            "how": str(item.how),
            "opened_s": round(item.opened, 3),
            "heard_s": round(item.heard, 3),
            "ended_s": round(item.ended, 3),
            "away_seconds": None if again is None else round(again, 3),
        }


def _causes(items: Iterable[Exchange]) -> dict[Cause, int]:
    counted = Counter(item.cause for item in items if item.cause is not None)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def percentiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Median, 99th percentile and maximum; zeros of nothing."""
    found = sorted(values)
    if not found:
        return 0.0, 0.0, 0.0
    return statistics.median(found), found[(len(found) - 1) * 99 // 100], found[-1]


def _spread(values: tuple[float, float, float]) -> dict[str, object]:
    return {name: round(v, 3) for name, v in zip(("p50", "p99", "max"), values, strict=True)}
