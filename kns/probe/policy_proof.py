"""What real traffic says of the connections that network policies allow and deny."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.probe.addresses import owners
from kns.probe.ask import datagram
from kns.probe.ask.asking import Asker
from kns.probe.ask.curl import CONNECTED_THEN_SILENT
from kns.probe.ask.places import Places
from kns.probe.model import Attempt, PingResult
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


@dataclass(frozen=True, slots=True)
class PolicyProof:
    """What was tried, and how many were not, by the reason."""

    proven: tuple[ProvenContact, ...] = ()
    untried: tuple[tuple[str, int], ...] = ()


def prove(
    cluster: Cluster,
    places: Places,
    contacts: Sequence[Contact],
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> PolicyProof:
    """Try each of the connections in the running lab, where silence would mean denied."""
    asker = Asker(places, owners(cluster))
    found: list[ProvenContact] = []
    reasons = [_untried(contact) for contact in contacts]
    contacts = tuple(item for item, why in zip(contacts, reasons, strict=True) if not why)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        for proven in pool.map(lambda contact: _tried(asker, contact), contacts):
            found.append(proven)
            report(len(found), len(contacts))
    return PolicyProof(tuple(found), tuple(Counter(filter(None, reasons)).items()))


def _untried(contact: Contact) -> str:
    """Why the connection is not tried; nothing: it is."""
    pod, port = contact.destination.pod, contact.port
    if pod is None or port.port is None or port.protocol is Protocol.TCP:
        return ""
    if port.protocol is Protocol.SCTP and not datagram.has_sctp():
        return "SCTP, which this kernel does not have: modprobe sctp"
    if serves_http(pod, port.port, port.protocol) is None:
        return "datagrams that nothing there may answer"  # silence would not mean denied
    return ""


def _tried(asker: Asker, contact: Contact) -> ProvenContact:
    source, target, port = contact.source.pod, contact.destination.address, contact.port
    assert source is not None  # noqa: S101 - a matrix is of pods
    flow = Flow(Location(source), target, port.port, port.protocol)
    seen = asker.observe(flow.source, ask_of(flow, patience=SHORT_PATIENCE))
    match seen:
        case (Attempt(detail=detail), *_) if detail == CONNECTED_THEN_SILENT:
            return ProvenContact(contact, Outcome.CONNECTED)
        case PingResult(outcome=outcome) | (Attempt(outcome=outcome), *_):
            return ProvenContact(contact, outcome)
        case _:
            return ProvenContact(contact, Outcome.OTHER)
