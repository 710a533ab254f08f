"""`kns probe --for`: requests at a steady rate, so that what a fail-over costs can be measured.

Each request is a connection of its own, sent when its time has come and not when the one before
has been answered: a client that waits would send the fewer requests the longer the outage is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import assert_never
from urllib.parse import urlsplit

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.errors import UsageError
from kns.kernel import netns
from kns.kinds.common import Protocol
from kns.probe.addresses import in_url, owners
from kns.probe.ask.places import Places
from kns.probe.diagnose import explain
from kns.probe.load.connections import Connections
from kns.probe.load.model import DEFAULT_TIMEOUT, Cause, Exchange, Load
from kns.probe.load.pace import OpenLoop, precise_loop
from kns.probe.model import Attempt
from kns.probe.probe import candidates
from kns.probe.target import (
    DEFAULT_PATH,
    Target,
    TargetOptions,
    parse_source,
    parse_target,
    path_of,
)
from kns.probe.watch_model import Sample, WatchResult
from kns.promise.flow import Outcome
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise

Progress = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True)
class Watch:
    """What to ask, how often a second, for how many seconds; an answer after `timeout` is lost."""

    seconds: float
    rate: float
    port: str = ""
    timeout: float = DEFAULT_TIMEOUT


def watch(
    cluster: Cluster,
    places: Places,
    ends: tuple[str, str],
    wanted: Watch,
    report: Progress = lambda _second, _answered, _sent: None,
) -> WatchResult:
    """Ask from the first of `ends` to the second. `report` gets each second's counts."""
    start = parse_source(cluster, ends[0])
    goal = parse_target(cluster, start, ends[1], TargetOptions(wanted.port, Protocol.TCP))
    if goal.address is None or goal.port is None:
        raise UsageError(f"{ends[1]!r} has no address and port to watch", hint="name both")
    if goal.url.startswith("https:"):
        raise UsageError("only plain HTTP can be watched", hint="kns probe --count N speaks TLS")
    load = replace(tcp_load(goal, goal.address), rate=wanted.rate, timeout=wanted.timeout)
    seconds, exchanges = netns.call_in(places.netns_of(start), _run, load, wanted, report)
    lookup, known = Lookup(cluster), owners(cluster)
    attempts = tuple(_attempt(item, goal.address) for item in exchanges)
    answered = any(attempt.outcome is Outcome.CONNECTED for attempt in attempts)
    return WatchResult(
        source=start.label,
        target=goal.text,
        path=path_of(start, goal),
        address=goal.address,
        port=goal.port,
        rate=wanted.rate,
        seconds=seconds,
        samples=tuple(_sample(item, goal.address, known) for item in exchanges),
        candidates=_candidates(lookup, start, goal),
        reason="" if answered else explain(lookup, start, goal, attempts, places.drift),
    )


def _candidates(lookup: Lookup, start: Location, goal: Target) -> tuple[str, ...]:
    """Who may answer meanwhile: every ready endpoint, as another node may take the address over."""
    flow = goal.flow(start)
    frontend = promise(lookup, flow).frontend if flow is not None else None
    if frontend is None or flow is None or goal.by_ingress:
        return candidates(lookup, start, goal)
    endpoints = lookup.endpoints(frontend.service, frontend.port, flow.family).ready
    return tuple(dict.fromkeys(backend.name for backend in endpoints))


def tcp_load(goal: Target, address: IPAddress) -> Load:
    """HTTP requests to the target."""
    path, host = DEFAULT_PATH, f"{in_url(address)}:{goal.port}"
    if goal.url:
        parts = urlsplit(goal.url)
        path, host = parts.path or "/", parts.netloc
        path += f"?{parts.query}" if parts.query else ""
    return Load(str(address), goal.port or 0, path=path, host=host)


def answered_by(item: Exchange, address: IPAddress, known: Mapping[IPAddress, str]) -> str:
    """Who answered: in its own words, or whose address it is, unless it is a service's."""
    if item.backend or not item.answered:
        return item.backend
    owner = known.get(address, "")
    return "" if owner.startswith("svc/") else owner


def _sample(item: Exchange, address: IPAddress, known: Mapping[IPAddress, str]) -> Sample:
    client = ip_address(item.client) if item.client else None
    backend = answered_by(item, address, known)
    return Sample(item.planned, _outcome(item), item.latency_ms, backend, client)


def _attempt(item: Exchange, address: IPAddress) -> Attempt:
    return Attempt(_outcome(item), server_address=address, detail=item.detail)


def _outcome(item: Exchange) -> Outcome:
    match item.cause:
        case None | Cause.WRONG:  # whoever it is, it was connected to and answered
            return Outcome.CONNECTED
        case Cause.REFUSED:
            return Outcome.REFUSED
        case Cause.TIMEOUT:
            return Outcome.TIMEOUT
        case Cause.UNREACHABLE:
            return Outcome.UNREACHABLE
        case Cause.RESET | Cause.CLOSED | Cause.OTHER:
            return Outcome.OTHER
        case _:
            assert_never(item.cause)


# -- inside the source's netns ---------------------------------------------------------------------


def _run(load: Load, wanted: Watch, report: Progress) -> tuple[float, list[Exchange]]:
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(_ask(load, wanted, report))


async def _ask(load: Load, wanted: Watch, report: Progress) -> tuple[float, list[Exchange]]:
    """How long it took to send them all, and each request, its times counted from the start."""
    loop = asyncio.get_running_loop()
    found: list[Exchange] = []
    connections = Connections(load, found.append)
    start, total = loop.time(), max(1, round(wanted.seconds * wanted.rate))
    OpenLoop(start, 1 / wanted.rate, connections.send, count=total)
    end, second = start + total / wanted.rate, 1
    while (now := loop.time()) < end:
        await asyncio.sleep(min(end, start + second) - now)
        if loop.time() >= start + second:
            _report(found, start, second, report)
            second += 1
    spent = loop.time() - start
    await connections.drained()
    return max(spent, wanted.seconds), sorted(
        (_counted_from(start, exchange) for exchange in found), key=lambda item: item.planned
    )


def _counted_from(start: float, item: Exchange) -> Exchange:
    planned, sent, ended = item.planned - start, item.sent - start, item.ended - start
    return replace(item, planned=planned, sent=sent, ended=ended)


def _report(found: list[Exchange], start: float, second: int, report: Progress) -> None:
    """Counts of the requests that were sent in a second that is past their patience."""
    done = second - 1
    mine = [item for item in found if int(item.planned - start) == done - 1]
    if mine:
        report(done, sum(item.answered for item in mine), len(mine))
