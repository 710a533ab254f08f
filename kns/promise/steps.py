"""Turns the promise of a flow to a service into the step that proves it, and into words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.service import SessionAffinity, TrafficPolicy
from kns.promise.check import (
    PATIENCE,
    Ask,
    Check,
    Cover,
    Datagrams,
    Echo,
    Expectation,
    Http,
    Skip,
    Step,
    arrow,
)
from kns.promise.chisquare import requests_to_see_all
from kns.promise.deliver import in_words
from kns.promise.endpoints import is_external
from kns.promise.facts import proxy_facts
from kns.promise.flow import REFUSED, Flow, Frontend, Promise, Stage, Stop
from kns.promise.location import LocationKind

#: a name of the API server that its certificate has wherever it is asked
API_HOST, UNAUTHORIZED = "kubernetes.default.svc", 401
#: seconds to wait for it: the first answer of a new lab's agent takes a while
API_PATIENCE = 15.0
#: requests that show that affinity sticks: random choice of two would pass once in 2,048
STICKY_REQUESTS = 12
#: requests of a client that isn't meant to see every backend
FEW_REQUESTS = 20
#: requests to a service some of whose backends are kept away: each of those takes a second
SOME_REQUESTS = 4
#: more backends than this are not all waited for: it would take thousands of requests
MAX_COVERED = 60
#: REJECT answers within a round trip; the first retransmission of a dropped SYN comes after 1 s
AT_ONCE_MS = 900.0
#: seconds after which silence is taken for silence, where silence is what is promised
SHORT_PATIENCE = 1.0
#: IPVS schedulers that spread like random or round robin, and those that pick every backend
_EVEN_SCHEDULERS = ("rr", "wrr")
_SPREADING_SCHEDULERS = ("rr", "wrr", "lc", "wlc")


@dataclass(frozen=True, slots=True)
class Title:
    """Where a check stands in the report, and how hard it tries."""

    path: str
    kind: str
    target: str
    suffix: str = ""
    #: try often enough to see every backend
    is_thorough: bool = True
    #: after the sentence, if the promise has no note of its own
    note: str = ""


def service_check(cluster: Cluster, title: Title, promise: Promise) -> Check | Skip:
    """The check that decides the promise, or why it can't be decided."""
    stop = promise.stop
    if stop is None:
        step, expected = _answers(cluster, title, promise)
    elif not stop.outcomes:
        name = promise.frontend.label if promise.frontend is not None else title.target
        where = f"internet to {title.target}" if stop.stage is Stage.ROUTE else name
        return Skip(where, stop.reason)
    else:
        step, expected = stopped_step(promise.flow, stop), _why(promise, stop)
    note = promise.note or title.note
    return title_check(title, promise.flow, f"{expected} ({note})" if note else expected, step)


def title_check(title: Title, flow: Flow, expected: str, step: Step) -> Check:
    """The check of one step under its title."""
    name = arrow(flow.source, title.target, title.suffix)
    return Check(title.path, title.kind, name, flow.source, title.target, expected, (step,))


def ask_of(flow: Flow, count: int = 1, patience: float = PATIENCE) -> Ask:
    """The question for the flow's transport; a ping where it has no port."""
    if flow.port is None:
        return Echo(flow.destination)
    if flow.protocol is Protocol.TCP:
        return Http(flow.destination, flow.port, count=count, patience=patience)
    return Datagrams(flow.protocol, flow.destination, flow.port, count=count, patience=patience)


def stopped_step(flow: Flow, stop: Stop) -> Step:
    """A refusal must come, and at once; silence is taken for silence after a second.

    IPv6 has no limit: the ICMPv6 error is back within 0.1 ms, yet connect() is told only when the
    SYN is sent again, a second later (measured on Linux 6.18; IPv4 is told at once).
    """
    if stop.outcomes == REFUSED:
        within = AT_ONCE_MS if flow.family is IPFamily.IPV4 else None
        return Step(ask_of(flow), Expectation(outcomes=REFUSED, within_ms=within))
    return Step(ask_of(flow, patience=SHORT_PATIENCE), Expectation(outcomes=stop.outcomes))


def _why(promise: Promise, stop: Stop) -> str:
    if stop.outcomes != REFUSED:
        return f"no answer: {stop.reason}"
    # who is refused by a server that isn't there, or by a rule for unknown ports, needn't hurry
    is_rejected = promise.frontend is not None and stop.stage not in (Stage.DELIVER, Stage.RULES)
    at_once = " at once" if is_rejected and promise.flow.family is IPFamily.IPV4 else ""
    return f"refused{at_once}: {stop.reason}"


# -- who answers -----------------------------------------------------------------------------------


def _answers(cluster: Cluster, title: Title, promise: Promise) -> tuple[Step, str]:
    assert promise.frontend is not None  # noqa: S101 - a service answers
    if api_answers(cluster, promise):
        return _api_step(promise.flow)
    names = promise.names
    if promise.denied:
        return _some_answer(promise)
    count, cover, is_even = _effort(cluster, title, promise, promise.frontend)
    pairs = tuple((a.backend.name, source) for a in promise.answers for source in a.sources)
    every_source = cover is Cover.ALL and len(set(pairs)) > len(names)
    if every_source:
        count = max(count, requests_to_see_all(len(set(pairs))))
    expectation = Expectation(
        backends=names,
        cover=cover,
        is_even=is_even and promise.is_even,
        seen=pairs,
        every_source=every_source,
    )
    step = Step(ask_of(promise.flow, count), expectation)
    return step, f"{_who(names, cover)}; {_seen(promise)}"


def api_answers(cluster: Cluster, promise: Promise) -> bool:
    """Whether it is the API server, and nobody else, that answers the flow."""
    server = cluster.api_server
    backends = [answer.backend for answer in promise.answers]
    return bool(backends) and all(
        server is not None and server.is_at(backend.address, backend.port) for backend in backends
    )


def _api_step(flow: Flow) -> tuple[Step, str]:
    """It shows a certificate for the Service's name, and tells nothing to who has no token."""
    assert flow.port is not None  # noqa: S101 - services have ports
    ask = Http(
        flow.destination,
        flow.port,
        path="/api",
        host=API_HOST,
        scheme="https",
        patience=API_PATIENCE,
    )
    expected = "the API server, with a certificate for its name: 401 without a token"
    return Step(ask, Expectation(status=UNAUTHORIZED)), expected


def _some_answer(promise: Promise) -> tuple[Step, str]:
    """Policies or faults keep some of the backends away: who is led there hears nothing."""
    pairs = tuple((a.backend.name, source) for a in promise.answers for source in a.sources)
    expectation = Expectation(
        outcomes=promise.outcomes, backends=promise.names, cover=Cover.SUBSET, seen=pairs
    )
    step = Step(ask_of(promise.flow, SOME_REQUESTS, SHORT_PATIENCE), expectation)
    silent = in_words([item.backend.name for item in promise.denied])
    reason = promise.denied[0].reason
    return step, f"none but {in_words(promise.names)}; silence from {silent}: {reason}"


def _effort(
    cluster: Cluster, title: Title, promise: Promise, frontend: Frontend
) -> tuple[int, Cover, bool]:
    """How many requests, what they must show of the backends, and whether shares are even."""
    backends = len(promise.names)
    if frontend.service.session_affinity is SessionAffinity.CLIENT_IP:
        sticks = promise.sticks and not _is_torn(cluster, promise.flow, frontend)
        return STICKY_REQUESTS, Cover.ONE if sticks else Cover.SUBSET, False
    has_schedulers = proxy_facts(cluster).has_schedulers
    scheduler = cluster.network.kube_proxy.ipvs.scheduler
    spreads = not has_schedulers or scheduler in _SPREADING_SCHEDULERS
    is_even = not has_schedulers or scheduler in _EVEN_SCHEDULERS
    if not title.is_thorough or not spreads or backends > MAX_COVERED:
        few = backends <= MAX_COVERED or not title.is_thorough
        count = FEW_REQUESTS if few else 10 * backends
        return count, Cover.SUBSET, is_even and count >= 5 * backends
    return max(requests_to_see_all(backends), 3), Cover.ALL, is_even


def _is_torn(cluster: Cluster, flow: Flow, frontend: Frontend) -> bool:
    """True if the checks of one client that run beside each other move its affinity.

    With internal policy Local the cluster IP offers a client in the cluster this node's endpoints,
    the outer addresses offer it all, and kube-proxy remembers clients by endpoint, whatever the
    address they came by. IPVS remembers by address.
    """
    return (
        flow.source.kind is not LocationKind.INTERNET
        and frontend.service.internal_traffic_policy is TrafficPolicy.LOCAL
        and is_external(frontend.service)
        and not proxy_facts(cluster).affinity_by_address
    )


def _who(names: Sequence[str], cover: Cover) -> str:
    if len(names) == 1:
        return f"{names[0]}, nobody else"
    match cover:
        case Cover.ALL:
            return f"{in_words(names)}, nobody else"
        case Cover.SUBSET:
            return f"none but {in_words(names)}"
        case Cover.ONE:
            return f"always the same one of {in_words(names)}"


def _seen(promise: Promise) -> str:
    by_sources: dict[tuple[IPAddress, ...], list[str]] = {}
    for answer in promise.answers:
        by_sources.setdefault(answer.sources, []).append(answer.backend.name)
    if len(by_sources) == 1:
        verb = "sees" if len(promise.answers) == 1 else "all see"
        return f"{verb} {_either(next(iter(by_sources)))}"
    parts = [
        f"{in_words(who)} {'sees' if len(who) == 1 else 'see'} {_either(sources)}"
        for sources, who in by_sources.items()
    ]
    return ", ".join(parts)


def _either(sources: Sequence[IPAddress]) -> str:
    return " or ".join(map(str, sources))
