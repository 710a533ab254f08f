"""Carries trials out in the running lab: who answered connection by connection."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from kns.cluster.model import Cluster
from kns.compile.lab import compile_node
from kns.errors import KnsError
from kns.experiment.bench.sync import timed_sync
from kns.experiment.migrate.kinds import DifferenceKind
from kns.experiment.migrate.trial import (
    HELD,
    Affinity,
    BackendChoice,
    HeldConnections,
    HeldFlow,
    Trial,
    choice_of,
    shares,
)
from kns.kernel import netns
from kns.kinds.service import Service
from kns.probe.ask.asking import Asker
from kns.probe.load.answers import datagram_answer, take_answer
from kns.probe.verify import CheckResult
from kns.promise.flow import Flow
from kns.promise.steps import STICKY_REQUESTS, ask_of

#: seconds to wait for an answer, and for how many datagrams that are lost
PATIENCE, DATAGRAMS = 2.0, 5
#: seconds for a connection, of many that are opened on a machine that may be busy
CONNECTING = 10.0
#: connections by which it is seen that a client is remembered, before the ones that count
FEW = 3
_REFUSED = "refused"
_LOST = "no answer"
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Claim:
    """What must come of a trial, in words; `target` is the Service."""

    kind: DifferenceKind
    target: str
    words: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of a trial in words."""

    ok: bool
    actual: str
    evidence: str


def carry_out(asker: Asker, cluster: Cluster, trial: Trial, claim: Claim) -> CheckResult:
    """Try it in the lab of `cluster`."""
    flow = trial.first if isinstance(trial, Affinity) else trial.flow
    try:
        seen = _carry_out(asker, cluster, trial)
    except (KnsError, OSError) as error:
        seen = _Seen(False, f"could not be tried: {error}", "no evidence")
    source = flow.source.label
    return CheckResult(
        id=f"migrate/{claim.kind}/{source}->{claim.target}",
        path="migrate",
        source=source,
        target=claim.target,
        expected=claim.words,
        actual=seen.actual,
        ok=seen.ok,
        evidence=seen.evidence,
    )


def _carry_out(asker: Asker, cluster: Cluster, trial: Trial) -> _Seen:
    match trial:
        case HeldConnections():
            return _held_connections(asker, trial)
        case Affinity():
            return _affinity(asker, trial)
        case HeldFlow():
            return _held_flow(asker, cluster, trial)
        case _:
            assert_never(trial)


# -- affinity --------------------------------------------------------------------------------------


def _affinity(asker: Asker, trial: Affinity) -> _Seen:
    """By the first address, another client by the second, by the second, by the first again."""
    before = _who(asker, trial.first, FEW)
    other = _who(asker, trial.other, FEW)
    second = _who(asker, trial.second, STICKY_REQUESTS)
    after = _who(asker, trial.first, STICKY_REQUESTS)
    sticks = len({*before, *after}) == len(set(second)) == len(set(other)) == 1
    is_same = before[0] == second[0]
    name = trial.first.source.label
    evidence = "; ".join(
        f"{flow.source.label} by {_address(flow)}: {shares(found)}"
        for flow, found in (
            (trial.first, (*before, *after)),
            (trial.other, other),
            (trial.second, second),
        )
    )
    if not sticks:
        return _Seen(False, "several backends for one client at one address", evidence)
    words = "one backend by both addresses" if is_same else "another backend by each address"
    wrong = (trial.follows and not is_same) or (trial.is_moved and is_same)
    return _Seen(not wrong, f"{name} has {words}", evidence)


def _who(asker: Asker, flow: Flow, count: int) -> tuple[str, ...]:
    seen = asker.observe(flow.source, ask_of(flow, count))
    assert isinstance(seen, tuple)  # noqa: S101 - connections and datagrams are attempts
    return tuple(attempt.backend or str(attempt.outcome) for attempt in seen)


def _address(flow: Flow) -> str:
    return f"{flow.destination} port {flow.port}"


# -- connections that stay open --------------------------------------------------------------------


def _held_connections(asker: Asker, trial: HeldConnections) -> _Seen:
    flow = trial.flow
    target = (str(flow.destination), flow.port or 0)
    backends = netns.call_in(asker.places.netns_of(flow.source), _hold, target)
    choice = choice_of(backends)
    evidence = f"{len(backends)} open connections: {shares(backends)}"
    return _Seen(choice is trial.choice, _CHOICES[choice], evidence)


_CHOICES = {
    BackendChoice.BY_CHANCE: "endpoints in no order",
    BackendChoice.IN_TURN: "one endpoint after the other, in turn",
    BackendChoice.ALWAYS_ONE: "always the same endpoint",
}


def _hold(target: tuple[str, int]) -> list[str]:
    """Who answers on each connection; all of them stay open till the last has been answered."""
    with contextlib.ExitStack() as opened:
        return [
            _hello(opened.enter_context(socket.create_connection(target, CONNECTING)))
            for _ in range(HELD)
        ]


def _hello(sock: socket.socket) -> str:
    sock.sendall(b"GET /whoami HTTP/1.1\r\nHost: kns\r\n\r\n")
    buffer = bytearray()
    while (answer := take_answer(buffer)) is None:
        piece = sock.recv(_CHUNK)
        if not piece:
            return ""
        buffer += piece
    return answer.backend


# -- a UDP flow whose endpoint goes ----------------------------------------------------------------


def _held_flow(asker: Asker, cluster: Cluster, trial: HeldFlow) -> _Seen:
    with netns.call_in(asker.places.netns_of(trial.flow.source), _socket, trial.flow) as sock:
        before = _ask(sock, "before")
        with _without_endpoints(cluster, trial.service):
            after = _ask(sock, "after")
    evidence = f"one socket: {before}, and {after} when no endpoint was left"
    if before in (_REFUSED, _LOST):
        return _Seen(False, f"{before} while it had endpoints", evidence)
    if after in (_REFUSED, _LOST):
        return _Seen(trial.is_refused and after == _REFUSED, after, evidence)
    is_old = after == before
    return _Seen(is_old and not trial.is_refused, f"still led to {before}", evidence)


def _socket(flow: Flow) -> socket.socket:
    family = socket.AF_INET6 if flow.destination.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sock.settimeout(PATIENCE)
    sock.connect((str(flow.destination), flow.port or 0))
    return sock


def _ask(sock: socket.socket, word: str) -> str:
    """Who answers `word`. A refusal may be lost, of ICMP errors Linux sends but some a second."""
    for number in range(DATAGRAMS):
        try:
            with contextlib.suppress(PermissionError):  # a rule of the client's own host took it
                sock.send(f"whoami {word}{number}".encode())
            while True:
                found = datagram_answer(sock.recv(_CHUNK))
                if found is not None and found[0] == f"{word}{number}":
                    return found[1].backend
        except TimeoutError:
            continue
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                return _REFUSED
            raise
    return _LOST


@contextlib.contextmanager
def _without_endpoints(cluster: Cluster, service: Service) -> Iterator[None]:
    """Every node's rules as if the Service had no endpoint; its pods go on serving."""
    gone = {id(item) for item in cluster.slices_of(service)}
    slices = tuple(
        replace(item, endpoints=()) if id(item) in gone else item
        for item in cluster.endpoint_slices
    )
    bare = replace(cluster, endpoint_slices=slices)
    _converge(cluster, bare)
    try:
        yield
    finally:
        _converge(bare, cluster)


def _converge(before: Cluster, after: Cluster) -> None:
    for node in before.nodes:
        pods = before.pods_on(node.name)
        timed_sync(partial(compile_node, after, node, pods), compile_node(before, node, pods))
