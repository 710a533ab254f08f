"""Sends a load from one place to another while a change is made.

load client (a process in the source's netns) ── exchanges ──┐
change (a command, a scenario, nothing) ── events ───────────┴──▶ ChurnResult
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.engine.labs import RunningLab, running
from kns.errors import KnsError, PlatformError, UsageError
from kns.experiment.churn.model import ChurnResult, Event
from kns.experiment.churn.stale import endpoint_addresses, stale_flows
from kns.kernel import processes
from kns.kinds.common import Protocol as Transport
from kns.kinds.pod import Pod
from kns.probe.addresses import owners
from kns.probe.ask.places import Places, places_of
from kns.probe.load.model import (
    DEFAULT_TIMEOUT,
    SILENCE,
    Break,
    Cause,
    Exchange,
    Load,
    Told,
    read,
)
from kns.probe.probe import ICMP_BURST
from kns.probe.target import Target, TargetOptions, parse_source, parse_target, path_of
from kns.probe.watch import answered_by, tcp_load
from kns.promise.location import Location

#: seconds that the load client has to start, and to end after its last answer
PATIENCE = 20.0
#: as kube-proxy refuses (REJECT); without it a user would look for what drops the packets
LIMITED_REFUSALS = (
    f"refusals are ICMP errors, of which Linux sends a client {ICMP_BURST} at once and then one a"
    " second (icmp_ratelimit): the other ones look like timeouts"
)


class Mark(Protocol):
    """Tells that something happens now."""

    def __call__(self, text: str, *, is_end: bool = False) -> None:
        """`is_end`: it is the end of something."""


#: makes the change; it returns why it failed, or nothing
Change = Callable[[Mark], str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to send, and for how many seconds before and after the change."""

    rate: float
    held: int
    flows: int
    port: str = ""
    timeout: float = DEFAULT_TIMEOUT
    before: float = 1.0
    after: float = 2.0


def churn(lab: RunningLab, ends: tuple[str, str], wanted: Wanted, change: Change) -> ChurnResult:
    """Send from the first of `ends` to the second while the change is made.

    Raises UsageError if there is nothing to connect to.
    """
    start = parse_source(lab.cluster, ends[0], "churn")
    tcp, udp = goals(lab.cluster, start, ends[1], wanted.port)
    goal = tcp or udp
    if goal is None or goal.address is None:  # `goals` raises before
        raise UsageError(f"{ends[1]!r} has no address and port")
    load = _load(goal.address, tcp, udp, wanted)
    events: list[Event] = []

    def mark(text: str, *, is_end: bool = False) -> None:
        events.append(Event(time.monotonic(), text, is_end))

    failure = ""
    with load_client(places_of(lab.name, lab.paths), start, load) as client:
        began = time.monotonic()
        time.sleep(wanted.before)
        try:
            failure = change(mark)
        except KnsError as error:
            failure = str(error)
        time.sleep(wanted.after)
        spent = time.monotonic() - began
        told = client()
    after = running(lab.name)
    known = owners(lab.cluster)
    exchanges = [
        replace(item, backend=answered_by(item, goal.address, known))
        for item in told
        if isinstance(item, Exchange)
    ]
    judged = _judged(exchanges, goal, (lab.cluster, after.cluster))
    result = ChurnResult(
        source=start.label,
        target=goal.text,
        path=path_of(start, goal),
        address=str(goal.address),
        tcp_port=load.tcp_port,
        udp_port=load.udp_port,
        rate=load.rate,
        seconds=spent,
        exchanges=tuple(
            sorted((_from(began, item) for item in judged), key=lambda item: item.planned)
        ),
        breaks=tuple(_break_from(began, item) for item in told if isinstance(item, Break)),
        events=tuple(replace(event, at=event.at - began) for event in events),
        failure=failure,
        notes=stale_flows(after.cluster, goal, judged),
    )
    if result.has_limited_refusals:
        return replace(result, notes=(*result.notes, LIMITED_REFUSALS))
    return result


# -- what is sent ----------------------------------------------------------------------------------


def goals(
    cluster: Cluster, start: Location, text: str, port: str
) -> tuple[Target | None, Target | None]:
    """What is asked by TCP and by UDP; None: it does not offer the protocol.

    UsageError if it offers neither, or nothing at an address.
    """
    found: list[Target | None] = []
    errors: list[UsageError] = []
    for protocol in (Transport.TCP, Transport.UDP):
        try:
            goal = parse_target(cluster, start, text, TargetOptions(port, protocol))
        except UsageError as error:  # it has no port of this protocol
            errors.append(error)
            found.append(None)
        else:
            if goal.url.startswith("https:"):
                raise UsageError("only plain HTTP can be sent", hint="name the port of HTTP")
            found.append(goal if _offers(goal, protocol) else None)
    tcp, udp = found
    if tcp is None and udp is None:
        if errors:
            raise errors[0]
        raise UsageError(f"{text!r} has no address and port to connect to", hint="name both")
    return tcp, udp


def _offers(goal: Target, protocol: Transport) -> bool:
    if goal.address is None or goal.port is None:
        return False
    if goal.service is not None:
        numbers = {(p.protocol, n) for p in goal.service.ports for n in (p.port, p.node_port)}
        return (protocol, goal.port) in numbers
    if isinstance(goal.item, Pod) and protocol is not Transport.TCP:
        every = [port for container in goal.item.containers for port in container.ports]
        return any(port.protocol is protocol and port.port == goal.port for port in every)
    return protocol is Transport.TCP


def _load(address: IPAddress, tcp: Target | None, udp: Target | None, wanted: Wanted) -> Load:
    load = tcp_load(tcp, address) if tcp is not None else Load(str(address))
    return replace(
        load,
        udp_port=(udp.port or 0) if udp is not None else 0,
        rate=wanted.rate,
        held=wanted.held,
        flows=wanted.flows,
        timeout=wanted.timeout,
        silence=max(SILENCE, wanted.timeout),
    )


@contextlib.contextmanager
def load_client(places: Places, start: Location, load: Load) -> Iterator[Callable[[], list[Told]]]:
    """The load client sends when the block begins; calling the value ends it and reads all.

    What it tells goes to a file in memory: it never waits for us.
    """
    order, writer = os.pipe()
    told, errors = os.memfd_create("told"), os.memfd_create("errors")
    try:
        process = processes.spawn(
            [sys.executable, "-P", "-m", "kns.probe.load"],
            context=processes.Context(places.netns_of(start), folder="/"),
            stdin=order,
            stdout=told,
            stderr=errors,
        )
    finally:
        os.close(order)
    try:
        os.write(writer, f"{load.to_json()}\n".encode())
        _wait(lambda: os.fstat(told).st_size > 0, process, errors)

        def end() -> list[Told]:
            nonlocal writer
            os.close(writer)
            writer = -1
            _wait(lambda: process.poll() is not None, process, errors, load.timeout)
            return list(read(_content(told)))

        yield end
    finally:
        if writer >= 0:
            os.close(writer)
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(told)
        os.close(errors)


def _wait(
    is_done: Callable[[], bool], process: processes.Process, errors: int, more: float = 0.0
) -> None:
    """Until then, at most PATIENCE and `more` seconds; PlatformError after that."""
    patience = PATIENCE + more
    deadline = time.monotonic() + patience
    while not is_done():
        if process.poll() not in (None, 0):
            last = _content(errors).strip().splitlines()[-1:]
            raise PlatformError(f"the load client ended: {' '.join(last) or 'without a word'}")
        if time.monotonic() > deadline:
            raise PlatformError(f"the load client hangs for {patience:.0f} s")
        time.sleep(0.005)


def _content(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")


# -- what came of it -------------------------------------------------------------------------------


def _from(began: float, item: Exchange) -> Exchange:
    planned, sent, ended = item.planned - began, item.sent - began, item.ended - began
    return replace(item, planned=max(planned, 0.0), sent=sent, ended=ended)


def _break_from(began: float, item: Break) -> Break:
    opened, heard, ended = item.opened - began, item.heard - began, item.ended - began
    return replace(item, opened=opened, heard=heard, ended=ended)


def _judged(
    exchanges: list[Exchange], goal: Target, clusters: tuple[Cluster, Cluster]
) -> list[Exchange]:
    """An answer by a pod that is no endpoint of the service, before or after, is a wrong one.

    Pods that came and went within the run are in neither cluster: nobody can tell.
    """
    service = goal.service
    if service is None or goal.by_ingress:
        return exchanges
    pods = {str(a) for cluster in clusters for pod in cluster.pods for a in pod.addresses}
    endpoints = {str(a) for cluster in clusters for a in endpoint_addresses(cluster, service)}
    return [
        replace(item, cause=Cause.WRONG, detail=f"{item.backend} is no endpoint")
        if item.answered and item.server in pods - endpoints
        else item
        for item in exchanges
    ]


# -- changes ---------------------------------------------------------------------------------------


def command_change(line: str, lab: str) -> Change:
    """The change that a shell command makes; in it `kns` is this one, and the lab is this lab."""
    folder = str(Path(sys.executable).parent)
    variables = (f"PATH={os.environ.get('PATH', os.defpath)}:{folder}", f"KNS_LAB={lab}")

    def make(mark: Mark) -> str:
        mark(f"starts: {line}")
        done = processes.run(["env", *variables, "sh", "-c", line], timeout=3600.0)
        ending = f"ends with exit code {done.returncode}" if done.returncode else "ends"
        mark(ending, is_end=True)
        return f"{line}: {done.failure}" if done.failure else ""

    return make


def waiting(seconds: float) -> Change:
    """No change of ours: somebody else makes one."""

    def make(_mark: Mark) -> str:
        time.sleep(seconds)
        return ""

    return make
