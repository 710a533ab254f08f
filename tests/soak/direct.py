"""HTTP probes by this process' own sockets: curl's start takes longer than what it asks.

In place of `kns.probe.ask.curl.get` for what a soak asks hundreds of times after each operation.
"""

from __future__ import annotations

import errno
import socket
import time
from ipaddress import ip_address
from urllib.parse import urlsplit

from kns.addresses import IPAddress
from kns.kernel import netns, processes
from kns.probe.ask.curl import CONNECTED_THEN_SILENT, CurlRequest
from kns.probe.ask.curl import get as get_by_curl
from kns.probe.model import Attempt
from kns.promise.flow import Outcome

#: what is read in one go
CHUNK = 1 << 16
_OUTCOMES = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
}


def get(request: CurlRequest, context: processes.Context) -> tuple[Attempt, ...]:
    """The attempts that curl would make of the request; what is not plain HTTP is left to curl."""
    url = urlsplit(request.url)
    if url.scheme != "http" or request.resolve or request.connect_to or request.source_port:
        return get_by_curl(request, context)
    lines = (
        f"GET {url.path or '/'}{f'?{url.query}' if url.query else ''} HTTP/1.1",
        f"Host: {url.netloc}",
        "Connection: close",
        *request.headers,
    )
    head = "".join(f"{line}\r\n" for line in (*lines, "")).encode()
    where = (str(url.hostname), url.port or 80)
    return netns.call_in(context.netns, _attempts, request, where, head)


def _attempts(request: CurlRequest, where: tuple[str, int], head: bytes) -> tuple[Attempt, ...]:
    found = []
    for _ in range(request.count):
        found.append(_attempt(request, where, head))
        if request.is_eager and found[-1].outcome is not Outcome.CONNECTED:
            break
    return tuple(found)


def _attempt(request: CurlRequest, where: tuple[str, int], head: bytes) -> Attempt:
    started = time.monotonic()
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    connected = False
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.settimeout(request.connect_timeout)
            sock.connect(where)
            connected = True
            sock.sendall(head)
            answer = _answer(sock, started + request.timeout)
        except TimeoutError:
            return Attempt(Outcome.TIMEOUT, detail=CONNECTED_THEN_SILENT if connected else "")
        except OSError as error:
            outcome = _OUTCOMES.get(error.errno or 0, Outcome.OTHER)
            if connected or outcome is Outcome.TIMEOUT:
                return Attempt(Outcome.OTHER if connected else outcome, detail=str(error))
            return Attempt(outcome, latency_ms=_since(started), detail=error.strerror or "")
    return _read(answer, ip_address(where[0]), _since(started))


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


def _answer(sock: socket.socket, deadline: float) -> bytes:
    """All that the server sends until it closes the connection; TimeoutError at the deadline."""
    pieces: list[bytes] = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(CHUNK)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def _read(answer: bytes, address: IPAddress, latency_ms: float) -> Attempt:
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        return Attempt(Outcome.OTHER, server_address=address, detail="no HTTP answer")
    return Attempt(
        Outcome.CONNECTED,
        server_address=address,
        status=int(words[1]),
        latency_ms=latency_ms,
        body=body.decode(errors="replace"),
    )
