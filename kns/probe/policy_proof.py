"""What real traffic says of the connections that network policies allow and deny."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.probe.addresses import owners
from kns.probe.ask.asking import Asker
from kns.probe.ask.curl import CONNECTED_THEN_SILENT
from kns.probe.ask.places import Places
from kns.probe.model import Attempt, PingResult
from kns.promise.check import Ask, Echo
from kns.promise.endpoints import serves_http
from kns.promise.flow import Flow, Outcome
from kns.promise.location import Location
from kns.promise.policy_matrix import Contact
from kns.promise.steps import SHORT_PATIENCE, ask_of

#: connections at once; most of them wait for an answer that doesn't come
WORKERS = 24


@dataclass(frozen=True, slots=True)
class ProvenContact:
    """A connection as it is decided, and how it went."""

    contact: Contact
    outcome: Outcome

    @property
    def keeps(self) -> bool:
        """True if it went as decided. A refusal is an answer: nothing listens, nobody denies."""
        passed = self.outcome in (Outcome.CONNECTED, Outcome.REFUSED)
        return passed is self.contact.allowed


def prove(
    cluster: Cluster,
    places: Places,
    contacts: Sequence[Contact],
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[ProvenContact, ...]:
    """Try each of the connections in the running lab; where no answer would tell, none is tried."""
    asker = Asker(places, owners(cluster))
    found: list[ProvenContact] = []
    contacts = tuple(filter(_tells, contacts))
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        for proven in pool.map(lambda contact: _tried(asker, contact), contacts):
            found.append(proven)
            report(len(found), len(contacts))
    return tuple(found)


def _tells(contact: Contact) -> bool:
    """Whether silence means denied: a datagram to a program of its own may find no answer."""
    pod, port = contact.destination.pod, contact.port
    if pod is None or port.port is None or port.protocol is Protocol.TCP:
        return True
    return serves_http(pod, port.port, port.protocol) is not None


def _tried(asker: Asker, contact: Contact) -> ProvenContact:
    source, target, port = contact.source.pod, contact.destination.address, contact.port
    assert source is not None  # noqa: S101 - a matrix is of pods
    flow = Flow(Location(source), target, port.port, port.protocol)
    ask: Ask = Echo(target) if port.port is None else ask_of(flow, patience=SHORT_PATIENCE)
    seen = asker.observe(flow.source, ask)
    match seen:
        case (Attempt(detail=detail), *_) if detail == CONNECTED_THEN_SILENT:
            return ProvenContact(contact, Outcome.CONNECTED)
        case PingResult(outcome=outcome) | (Attempt(outcome=outcome), *_):
            return ProvenContact(contact, outcome)
        case _:
            return ProvenContact(contact, Outcome.OTHER)
