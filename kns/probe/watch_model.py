"""What a watched target did over time: each request, the windows in which some were lost. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kns.addresses import IPAddress
from kns.promise.flow import Outcome

#: lost requests that are closer than this belong to one window: with two ways, one of them dead,
#: answered and lost requests alternate
WINDOW_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when it was sent, in seconds from the start, and what came of it."""

    at: float
    outcome: Outcome
    latency_ms: float = 0.0
    backend: str = ""
    client_address_seen: IPAddress | None = None

    @property
    def answered(self) -> bool:
        """True if the answer came in time."""
        return self.outcome is Outcome.CONNECTED


class Timed(Protocol):
    """A request, when it was due, and whether it was answered in time."""

    @property
    def at(self) -> float:
        """Seconds from the start."""

    @property
    def answered(self) -> bool:
        """True if the answer came in time."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which requests were lost: from the first of them to the next one after the last."""

    start: float
    end: float
    sent: int
    lost: int

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class WatchResult:
    """All requests of a watch, in the order in which they were sent."""

    source: str
    target: str
    path: str
    address: IPAddress
    port: int
    rate: float
    seconds: float
    samples: tuple[Sample, ...]
    #: who may answer; empty: not known
    candidates: tuple[str, ...] = ()
    #: why nothing at all was answered
    reason: str = ""

    @property
    def ok(self) -> bool:
        """True if every request was answered, and by nobody else than who may."""
        return bool(self.samples) and not self.lost and not self.wrong

    @property
    def answered(self) -> int:
        """How many requests were answered in time."""
        return sum(sample.answered for sample in self.samples)

    @property
    def lost(self) -> int:
        """How many were not."""
        return len(self.samples) - self.answered

    @property
    def wrong(self) -> dict[str, int]:
        """Who answered without being a backend, and how often."""
        if not self.candidates:
            return {}
        return {name: n for name, n in self.backends.items() if name not in self.candidates}

    @property
    def backends(self) -> dict[str, int]:
        """How many requests each backend answered, most first."""
        counted = Counter(sample.backend for sample in self.samples if sample.answered)
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    @property
    def windows(self) -> tuple[Window, ...]:
        """The times in which requests were lost."""
        return windows(self.samples, self.seconds)

    def latencies(self) -> tuple[float, float, float]:
        """Median, 99th percentile and maximum of what was answered, in milliseconds."""
        found = sorted(sample.latency_ms for sample in self.samples if sample.answered)
        if not found:
            return 0.0, 0.0, 0.0
        return statistics.median(found), found[(len(found) - 1) * 99 // 100], found[-1]

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        median, p99, slowest = self.latencies()
        return {
            "source": self.source,
            "target": self.target,
            "path": self.path,
            "ok": self.ok,
            "reason": self.reason,
            "address": str(self.address),
            "port": self.port,
            "rate": self.rate,
            "seconds": round(self.seconds, 3),
            "sent": len(self.samples),
            "answered": self.answered,
            "lost": self.lost,
            "wrong": self.wrong,
            "outcomes": dict(Counter(str(sample.outcome) for sample in self.samples)),
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
            "latency_ms": {
                "p50": round(median, 3),
                "p99": round(p99, 3),
                "max": round(slowest, 3),
            },
            "backends": self.backends,
            "client_addresses_seen": sorted(
                {str(s.client_address_seen) for s in self.samples if s.client_address_seen}
            ),
        }


def windows(samples: Sequence[Timed], end: float) -> tuple[Window, ...]:
    """The windows of loss in samples that are in order; one that is still open ends at `end`."""
    found: list[Window] = []
    lost = [number for number, sample in enumerate(samples) if not sample.answered]
    while lost:
        count = 1
        while count < len(lost) and _is_near(samples, lost[count - 1], lost[count]):
            count += 1
        first, last = lost[0], lost[count - 1]
        after = samples[last + 1].at if last + 1 < len(samples) else max(end, samples[last].at)
        found.append(Window(samples[first].at, after, last - first + 1, count))
        lost = lost[count:]
    return tuple(found)


def _is_near(samples: Sequence[Timed], one: int, other: int) -> bool:
    return samples[other].at - samples[one].at < WINDOW_PAUSE
