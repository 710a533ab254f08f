"""What a probe found: the outcome of each attempt, who answered, and which address it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kns.promise.flow import Outcome


@dataclass(frozen=True, slots=True)
class Attempt:
    """One connection, datagram or echo request. Empty strings: not known.

    `backend` is the pod (or host) that answered, `client_address_seen` the source address that it
    saw: both are the server's own words, not deductions.
    """

    outcome: Outcome
    backend: str = ""
    server_address: str = ""
    client_address_seen: str = ""
    status: int | None = None
    latency_ms: float | None = None
    detail: str = ""
    body: str = ""
    container: str = ""
    #: what the resolver took, where there was a name to resolve
    lookup_ms: float | None = None
    #: where a redirect leads
    location: str = ""

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "outcome": str(self.outcome),
            "backend": self.backend or None,
            "server_address": self.server_address or None,
            "client_address_seen": self.client_address_seen or None,
            "status": self.status,
            "latency_ms": self.latency_ms,
        }


@dataclass(frozen=True, slots=True)
class PingResult:
    """What `ping` counted; `average_ms` is None when nothing came back."""

    address: str
    outcome: Outcome
    sent: int
    received: int
    average_ms: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One `kns probe`: a source, a target, and what every attempt found."""

    source: str
    target: str
    path: str
    outcome: Outcome
    reason: str
    address: str
    attempts: tuple[Attempt, ...]
    #: the ping that went before, for people; not part of the documented JSON
    ping: PingResult | None = None
    #: which owner each address belongs to ("10.244.1.2" → "pod1"), for people
    owners: Mapping[str, str] | None = None
    #: all backends the target may be answered by, those that did not answer too
    candidates: tuple[str, ...] = ()
    #: further plain sentences: what was seen and what it means
    notes: tuple[str, ...] = ()
    protocol: str = "tcp"
    port: int | None = None
    #: the DNS name that was connected to, if one was
    hostname: str = ""

    @property
    def ok(self) -> bool:
        """True if every attempt connected."""
        return self.outcome is Outcome.CONNECTED

    @property
    def backends(self) -> dict[str, int]:
        """How many attempts each backend answered, most first."""
        counted = Counter(attempt.backend for attempt in self.attempts if attempt.backend)
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "source": self.source,
            "target": self.target,
            "path": self.path,
            "ok": self.ok,
            "outcome": str(self.outcome),
            "reason": self.reason,
            "address": self.address,
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "backends": self.backends,
        }


def overall(outcomes: tuple[Outcome, ...]) -> Outcome:
    """The outcome of several attempts: CONNECTED if all did, else the most frequent failure."""
    failures = Counter(outcome for outcome in outcomes if outcome is not Outcome.CONNECTED)
    if not failures:
        return Outcome.CONNECTED if outcomes else Outcome.OTHER
    return min(failures, key=lambda outcome: (-failures[outcome], outcome))
