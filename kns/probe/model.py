"""What a probe found: the outcome of each attempt, who answered, and which address it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kns.addresses import IPAddress
from kns.promise.flow import Outcome


@dataclass(frozen=True, slots=True)
class Attempt:
    """One connection, datagram or echo request. None and empty strings: not known.

    `backend` is the pod (or host) that answered, `client_address_seen` the source address that it
    saw: both are the server's own words, not deductions.
    """

    outcome: Outcome
    backend: str = ""
    server_address: IPAddress | None = None
    client_address_seen: IPAddress | None = None
    status: int | None = None
    latency_ms: float | None = None
    detail: str = ""
    body: str = ""
    container: str = ""
    #: what the resolver took, where there was a name to resolve
    lookup_ms: float | None = None
    #: where a redirect leads
    location: str = ""
    #: where the client that did not connect tried to
    tried: IPAddress | None = None

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "outcome": str(self.outcome),
            "backend": self.backend or None,
            "server_address": text_of(self.server_address),
            "client_address_seen": text_of(self.client_address_seen),
            "status": self.status,
            "latency_ms": self.latency_ms,
        }


@dataclass(frozen=True, slots=True)
class PingResult:
    """What `ping` counted; `average_ms` is None when nothing came back."""

    address: IPAddress
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
    #: of a failure: what it means, and what to look at
    reason: str
    address: IPAddress | None
    attempts: tuple[Attempt, ...]
    #: the ping that went before, for people; not part of the documented JSON
    ping: PingResult | None = None
    #: which owner each address belongs to ("10.244.1.2" → "pod1"), for people
    owners: Mapping[IPAddress, str] | None = None
    #: all backends the target may be answered by, those that did not answer too
    candidates: tuple[str, ...] = ()
    #: further plain sentences: what was seen and what it means
    notes: tuple[str, ...] = ()
    protocol: str = "tcp"
    port: int | None = None
    #: the DNS name that was connected to, if one was
    hostname: str = ""
    #: /etc/hosts of the source has the name: no server was asked
    by_hosts_file: bool = False
    #: the program that answers where nobody says who it is
    server: str = ""
    #: of a failure: the command that shows the packet's way
    trace: str = ""

    @property
    def ok(self) -> bool:
        """True if every attempt connected."""
        return self.outcome is Outcome.CONNECTED

    @property
    def refusals(self) -> dict[int, int]:
        """HTTP statuses that say no (400 and above), and how often each came."""
        counted = Counter(a.status for a in self.attempts if a.status and a.status >= 400)
        return dict(sorted(counted.items()))

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
            "address": text_of(self.address) or "",
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "backends": self.backends,
        }


def text_of(address: IPAddress | None) -> str | None:
    """The address as JSON has it."""
    return None if address is None else str(address)


def overall(outcomes: tuple[Outcome, ...]) -> Outcome:
    """The outcome of several attempts: CONNECTED if all did, else the most frequent failure."""
    failures = Counter(outcome for outcome in outcomes if outcome is not Outcome.CONNECTED)
    if not failures:
        return Outcome.CONNECTED if outcomes else Outcome.OTHER
    return min(failures, key=lambda outcome: (-failures[outcome], outcome))
