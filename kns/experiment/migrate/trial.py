"""What no single flow shows: which connections do, and what must come of them. Pure.

affinity    one client by several of the Service's addresses, another one between
scheduler   connections that stay open, one after the other
stale UDP   a socket that goes on sending while the Service loses its endpoints
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kns.experiment.migrate.differences import BehaviourChange, refuses_orphaned_udp
from kns.experiment.migrate.flows import NODE, PODS, Case, service_cases
from kns.experiment.migrate.kinds import DifferenceKind
from kns.kinds.common import Protocol
from kns.kinds.service import Service, SessionAffinity
from kns.promise.facts import proxy_facts
from kns.promise.flow import Flow, FrontendKind
from kns.promise.location import label
from kns.promise.lookup import Lookup
from kns.promise.promise import promise

#: connections that stay open: two endpoints come in turn by chance once in a million times
HELD = 40
#: seconds of an affinity that surely doesn't end between two connections
LONG_ENOUGH = 60
#: schedulers that keep the numbers of open connections even where all weights are
_IN_TURN = ("rr", "wrr", "lc", "wlc", "sed", "nq")
#: schedulers that lead a client to the same endpoint again
_STEADY = ("sh", "dh")


class BackendChoice(StrEnum):
    """How endpoints are chosen for connections that stay open."""

    BY_CHANCE = "by chance"
    IN_TURN = "in turn"
    ALWAYS_ONE = "always the same one"


@dataclass(frozen=True, slots=True)
class HeldConnections:
    """Connections of one client to one address."""

    flow: Flow
    choice: BackendChoice


@dataclass(frozen=True, slots=True)
class Affinity:
    """One client asks by two addresses, `other` by the second one between.

    `follows`: the client is remembered by endpoint, whichever address it came by. Otherwise each
    address remembers by itself, and `is_moved` where the client is then led to somebody else.
    """

    first: Flow
    second: Flow
    other: Flow
    follows: bool
    is_moved: bool


@dataclass(frozen=True, slots=True)
class HeldFlow:
    """A UDP flow to a Service that loses its endpoints; is it refused then, or still answered?"""

    flow: Flow
    service: Service
    is_refused: bool


Trial = HeldConnections | Affinity | HeldFlow


def trial_of(lookup: Lookup, change: BehaviourChange) -> Trial | str:
    """What shows a change that no single flow shows, or why nothing does: of the Service, why."""
    service = next(
        (item for item in lookup.cluster.services if item.full_name == change.service), None
    )
    if service is not None:
        match change.kind:
            case DifferenceKind.SESSION_AFFINITY:
                return _affinity(lookup, service)
            case DifferenceKind.SCHEDULER:
                return _scheduler(lookup, service)
            case DifferenceKind.STALE_UDP:
                return _stale_udp(lookup, service)
            case _:
                pass
    return "from outside no route of the lab leads to that address at that node"


# -- which connections -----------------------------------------------------------------------------


def _served(
    lookup: Lookup, service: Service, protocols: Sequence[Protocol], least: int
) -> tuple[tuple[Case, tuple[str, ...]], ...]:
    """What pods, then nodes, may ask of the Service, and which `least` or more endpoints answer."""
    return tuple(
        (case, found.names)
        for case in _asked(lookup, service)
        if case.flow.protocol in protocols
        and (found := promise(lookup, case.flow)).stop is None
        and not found.denied
        and len(found.names) >= least
    )


def _asked(lookup: Lookup, service: Service) -> list[Case]:
    """What pods, then nodes, may ask of the Service."""
    cases = [
        case
        for case in service_cases(lookup, service, lookup.cluster.nodes)
        if case.client.label in (NODE, PODS)
        and not case.flow.destination.is_loopback
        and not case.frontend.is_other_address
    ]
    return sorted(cases, key=lambda case: case.client.label != PODS)


def _unserved(lookup: Lookup, service: Service, otherwise: str) -> str:
    """Why nobody can be told apart: as the promise says it, or `otherwise`."""
    stops = (promise(lookup, case.flow).stop for case in _asked(lookup, service))
    reasons = (stop.reason for stop in stops if stop is not None)
    return f"{label(service)}: {next(reasons, otherwise)}"


def _scheduler(lookup: Lookup, service: Service) -> Trial | str:
    if service.session_affinity is SessionAffinity.CLIENT_IP:
        return f"{label(service)}: session affinity hides it"
    scheduler = lookup.cluster.network.kube_proxy.ipvs.scheduler
    choice = BackendChoice.BY_CHANCE
    if proxy_facts(lookup.cluster).has_schedulers:
        if scheduler not in (*_IN_TURN, *_STEADY):
            return f"what the scheduler {scheduler} chooses depends on more than who asks"
        choice = BackendChoice.IN_TURN if scheduler in _IN_TURN else BackendChoice.ALWAYS_ONE
    for case, _names in _served(lookup, service, (Protocol.TCP,), 2):
        if case.frontend.kind is FrontendKind.CLUSTER_IP:
            return HeldConnections(case.flow, choice)
    return _unserved(lookup, service, "no TCP port of it has two endpoints")


def _affinity(lookup: Lookup, service: Service) -> Trial | str:
    if service.session_affinity_timeout < LONG_ENOUGH:
        return f"{label(service)}: it lasts {service.session_affinity_timeout} s only"
    follows = not proxy_facts(lookup.cluster).affinity_by_address
    is_moved = not follows and lookup.cluster.network.kube_proxy.ipvs.scheduler == "rr"
    cases = _served(lookup, service, (Protocol.TCP, Protocol.UDP), 2)
    for first, names in cases:
        if first.client.label != PODS or first.frontend.kind is not FrontendKind.CLUSTER_IP:
            continue
        others = [
            case
            for case, own in cases
            if (case.node, case.flow.protocol) == (first.node, first.flow.protocol)
            and case.frontend.kind is not FrontendKind.CLUSTER_IP
            and own == names
        ]
        for second in (case for case in others if case.client.label == PODS):
            asked = second.flow.destination, second.flow.port
            for between in (case for case in others if case.client.label == NODE):
                if (between.flow.destination, between.flow.port) == asked:
                    return Affinity(first.flow, second.flow, between.flow, follows, is_moved)
    return _unserved(lookup, service, "no pod of the lab reaches two endpoints by two addresses")


def _stale_udp(lookup: Lookup, service: Service) -> Trial | str:
    for case, _names in _served(lookup, service, (Protocol.UDP,), 1):
        if case.frontend.kind is FrontendKind.CLUSTER_IP:
            return HeldFlow(case.flow, service, refuses_orphaned_udp(lookup.cluster))
    return _unserved(lookup, service, "it has no endpoint that could go")


# -- what came of them -----------------------------------------------------------------------------


def choice_of(backends: Sequence[str]) -> BackendChoice:
    """How these endpoints, in the order of the connections, were chosen."""
    if len(set(backends)) <= 1:
        return BackendChoice.ALWAYS_ONE
    counts = dict.fromkeys(backends, 0)
    for name in backends:
        counts[name] += 1
        if max(counts.values()) - min(counts.values()) > 1:
            return BackendChoice.BY_CHANCE
    return BackendChoice.IN_TURN


def shares(backends: Sequence[str]) -> str:
    """`web1 ×20, web2 ×20`."""
    counted = sorted(Counter(backends).items())
    return ", ".join(f"{name or 'somebody unknown'} ×{count}" for name, count in counted)
