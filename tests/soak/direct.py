"""HTTP and ICMP by this process' own sockets: curl's and ping's start takes longer than they ask.

For what a soak asks hundreds of times after each operation.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address
from unittest.mock import patch
from urllib.parse import urlsplit

from kns.addresses import IPAddress
from kns.kernel import netns, processes
from kns.probe.ask import curl, ping
from kns.probe.ask.curl import CONNECTED_THEN_SILENT, CurlRequest
from kns.probe.model import Attempt, PingResult
from kns.promise.flow import Outcome

#: what is read in one go
CHUNK = 1 << 16
_OUTCOMES = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
    # a queue of this host discards it
    errno.ENOBUFS: Outcome.TIMEOUT,
}
#: linux/in.h: ICMP errors about what a socket has sent are errnos of its next calls
IP_RECVERR = 11
#: the source ports of connections, one after the other. The kernel's own choice soon comes back to
#: one whose SYN a fault left unanswered: for 120 s conntrack (nf_conntrack_tcp_timeout_syn_sent)
#: sends what comes by it to the pod of then, and kube-proxy deletes no entry of TCP.
PORTS = range(33_000, 61_000)
_ports: dict[str, Iterator[int]] = {}
#: type, code, checksum, identifier, sequence number
_ECHO = struct.Struct("!BBHHH")
_REQUEST, _REPLY = 8, 0
_identifiers = itertools.count(1)
_get_by_curl, _ping_by_program = curl.get, ping.ping


@contextlib.contextmanager
def own_sockets() -> Iterator[None]:
    """As long as it lasts, probes start no program for what sockets can ask."""
    with patch.object(curl, "get", get), patch.object(ping, "ping", echo):
        yield


def get(request: CurlRequest, context: processes.Context) -> tuple[Attempt, ...]:
    """The attempts that curl would make of the request; what is not plain HTTP is left to curl."""
    url = urlsplit(request.url)
    if url.scheme != "http" or request.resolve or request.connect_to or request.source_port:
        return _get_by_curl(request, context)
    lines = (
        f"GET {url.path or '/'}{f'?{url.query}' if url.query else ''} HTTP/1.1",
        f"Host: {url.netloc}",
        "Connection: close",
        *request.headers,
    )
    head = "".join(f"{line}\r\n" for line in (*lines, "")).encode()
    where = (str(url.hostname), url.port or 80)
    ports = _ports.setdefault(context.netns, itertools.cycle(PORTS))
    return netns.call_in(context.netns, _attempts, request, where, head, ports)


def _attempts(
    request: CurlRequest, where: tuple[str, int], head: bytes, ports: Iterator[int]
) -> tuple[Attempt, ...]:
    found = []
    for _ in range(request.count):
        found.append(_attempt(request, where, head, ports))
        if request.is_eager and found[-1].outcome is not Outcome.CONNECTED:
            break
    return tuple(found)


def _attempt(
    request: CurlRequest, where: tuple[str, int], head: bytes, ports: Iterator[int]
) -> Attempt:
    started = time.monotonic()
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    connected = False
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            _bind(sock, ports)
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


def _bind(sock: socket.socket, ports: Iterator[int]) -> None:
    """Take the next port that nobody has."""
    for port in ports:
        try:
            sock.bind(("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return


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


def echo(
    address: IPAddress, context: processes.Context, *, count: int = 1, wait: float = 1.0
) -> PingResult:
    """What ping finds; over IPv6 ping itself is asked."""
    if address.version == 6:
        return _ping_by_program(address, context, count=count, wait=wait)
    return netns.call_in(context.netns, _echoes, address, count, wait)


def _echoes(address: IPAddress, count: int, wait: float) -> PingResult:
    identifier, received, started = next(_identifiers) & 0xFFFF, 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        try:
            sock.connect((str(address), 0))
            for number in range(count):
                sock.send(_request(identifier, number))
                _await(sock, _ECHO.pack(_REPLY, 0, 0, identifier, number), wait)
                received += 1
        except TimeoutError:
            return PingResult(address, Outcome.TIMEOUT, count, received)
        except PermissionError:  # a rule of this host drops it
            return PingResult(address, Outcome.TIMEOUT, count, received)
        except OSError as error:
            outcome = _OUTCOMES.get(error.errno or 0, Outcome.OTHER)
            return PingResult(address, outcome, count, received, None, error.strerror or "")
    return PingResult(address, Outcome.CONNECTED, count, received, _since(started) / count)


def _request(identifier: int, number: int) -> bytes:
    total = (_REQUEST << 8) + identifier + number
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return _ECHO.pack(_REQUEST, 0, checksum, identifier, number)


def _await(sock: socket.socket, reply: bytes, wait: float) -> None:
    """Read until the reply is there; others hear of the same socket's peer, too."""
    deadline = time.monotonic() + wait
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        packet = sock.recv(CHUNK)
        message = packet[(packet[0] & 0xF) * 4 :]
        if message[:2] + message[4:8] == reply[:2] + reply[4:8]:
            return
