"""`kns probe --for`: requests at a steady rate, so that what a fail-over costs can be measured.

Each request is a connection of its own, sent when its time has come and not when the one before
has been answered: a client that waits would send the fewer requests the longer the outage is.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.errors import UsageError
from kns.kernel import netns
from kns.kinds.common import Protocol
from kns.probe.addresses import in_url, owners
from kns.probe.ask.places import Places
from kns.probe.diagnose import explain
from kns.probe.identify import identify
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

#: a lost SYN is sent again after one second (TCP_TIMEOUT_INIT): an answer to that comes too late
DEFAULT_TIMEOUT = 0.95
#: what a server's answer may weigh
_MOST = 1 << 16

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
    request = _request(goal, goal.address)
    began, samples = netns.call_in(
        places.netns_of(start), _run, (str(goal.address), goal.port), request, wanted, report
    )
    lookup, known = Lookup(cluster), owners(cluster)
    attempts = tuple(attempt for _, attempt in samples)
    answered = any(attempt.outcome is Outcome.CONNECTED for attempt in attempts)
    return WatchResult(
        source=start.label,
        target=goal.text,
        path=path_of(start, goal),
        address=goal.address,
        port=goal.port,
        rate=wanted.rate,
        seconds=began,
        samples=tuple(_named(at, attempt, known) for at, attempt in samples),
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


def _request(goal: Target, address: IPAddress) -> bytes:
    path, host = DEFAULT_PATH, f"{in_url(address)}:{goal.port}"
    if goal.url:
        parts = urlsplit(goal.url)
        path, host = parts.path or "/", parts.netloc
        path += f"?{parts.query}" if parts.query else ""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def _named(at: float, attempt: Attempt, known: dict[IPAddress, str]) -> Sample:
    who = identify(attempt, known)
    return Sample(at, who.outcome, who.latency_ms or 0.0, who.backend, who.client_address_seen)


# -- inside the source's netns ---------------------------------------------------------------------


def _run(
    server: tuple[str, int], request: bytes, wanted: Watch, report: Progress
) -> tuple[float, list[tuple[float, Attempt]]]:
    return asyncio.run(_Client(server, request, wanted).run(report))


class _Client:
    """Sends on time, whatever has come back; sockets are of the thread's netns."""

    def __init__(self, server: tuple[str, int], request: bytes, wanted: Watch) -> None:
        self._server = server
        self._request = request
        self._wanted = wanted
        self._found: list[tuple[float, Attempt]] = []

    async def run(self, report: Progress) -> tuple[float, list[tuple[float, Attempt]]]:
        """How long it took to send them all, and each request with the time of its sending."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        total = max(1, round(self._wanted.seconds * self._wanted.rate))
        tasks: set[asyncio.Task[None]] = set()
        shown = 0
        for number in range(total):
            pause = start + number / self._wanted.rate - loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
            task = loop.create_task(self._one(loop.time() - start))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            second = int(loop.time() - start)
            if second > shown:
                shown = second
                self._report(report, second)
        spent = loop.time() - start
        if tasks:
            await asyncio.wait(set(tasks))
        self._found.sort(key=lambda item: item[0])
        return max(spent, self._wanted.seconds), self._found

    def _report(self, report: Progress, second: int) -> None:
        """Counts of the requests that were sent in a second that is past their patience."""
        done = second - 1
        mine = [attempt for at, attempt in self._found if int(at) == done - 1]
        if mine:
            answered = sum(attempt.outcome is Outcome.CONNECTED for attempt in mine)
            report(done, answered, len(mine))

    async def _one(self, at: float) -> None:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(self._wanted.timeout):
                body = await self._ask()
            attempt = _answer(body)
        except TimeoutError:
            attempt = Attempt(Outcome.TIMEOUT)
        except OSError as error:
            attempt = Attempt(_outcome(error), detail=str(error))
        spent = (time.perf_counter() - begun) * 1000
        server = ip_address(self._server[0])
        self._found.append((at, replace(attempt, latency_ms=spent, server_address=server)))

    async def _ask(self) -> bytes:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self._server[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            await loop.sock_connect(sock, self._server)
            await loop.sock_sendall(sock, self._request)
            parts: list[bytes] = []
            while chunk := await loop.sock_recv(sock, _MOST):
                parts.append(chunk)
            return b"".join(parts)


def _answer(raw: bytes) -> Attempt:
    head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        return Attempt(Outcome.OTHER, detail="the connection was closed without an answer")
    return Attempt(Outcome.CONNECTED, status=int(words[1]), body=body.decode(errors="replace"))


def _outcome(error: OSError) -> Outcome:
    match error.errno:
        case errno.ECONNREFUSED:
            return Outcome.REFUSED
        case errno.EHOSTUNREACH | errno.ENETUNREACH:
            return Outcome.UNREACHABLE
        case errno.ETIMEDOUT:
            return Outcome.TIMEOUT
        case _:
            return Outcome.OTHER
