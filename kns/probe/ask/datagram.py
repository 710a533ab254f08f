"""UDP and SCTP probes: a tiny client in a thread inside the netns.

A connected UDP socket gets the ICMP errors of its own flow, so refused, unreachable and lost are
told apart as for TCP. Each attempt uses a socket (and source port) of its own: a new flow, so a
new choice of endpoint.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from kns.addresses import IPAddress
from kns.errors import PlatformError
from kns.kernel import netns
from kns.probe.model import Attempt
from kns.promise.flow import Outcome

#: a server of the lab answers with the JSON of /whoami
PAYLOAD = b"whoami"
#: IANA's number; Python's socket module has no constant on every build
IPPROTO_SCTP = 132
_ANSWER_MAX = 65_535
_REFUSED = {errno.ECONNREFUSED, errno.ECONNRESET}
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
#: sendto() tells the sender that a rule of its own host dropped the packet; nothing went out
_DROPPED_HERE = {errno.EPERM, errno.ETIMEDOUT}
_OWN_ANSWER_SECONDS = 0.2
_UNSUPPORTED = {errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EAFNOSUPPORT}


@dataclass(frozen=True, slots=True)
class Datagram:
    """What to send where, from which netns."""

    netns: str
    address: IPAddress
    port: int
    count: int = 1
    timeout: float = 2.0
    payload: bytes = PAYLOAD
    #: 0: the kernel chooses
    source_port: int = 0


def udp(request: Datagram) -> tuple[Attempt, ...]:
    """One datagram an attempt, sent again half-way: a lost datagram is not a broken path."""
    return netns.call_in(request.netns, _each, request, _udp_exchange)


def sctp(request: Datagram) -> tuple[Attempt, ...]:
    """One association an attempt. PlatformError if this kernel has no SCTP."""
    return netns.call_in(request.netns, _each, request, _sctp_exchange)


@cache
def has_sctp() -> bool:
    """True if this kernel can open an SCTP socket; opening one loads the module if it is there."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


def _each(request: Datagram, exchange: Callable[[Datagram], bytes]) -> tuple[Attempt, ...]:
    return tuple(_attempt(request, exchange) for _ in range(request.count))


def _attempt(request: Datagram, exchange: Callable[[Datagram], bytes]) -> Attempt:
    start = time.monotonic()
    try:
        answer = exchange(request)
    except TimeoutError as error:
        return Attempt(Outcome.TIMEOUT, detail=str(error))
    except OSError as error:
        return Attempt(_outcome(error), detail=error.strerror or str(error))
    return Attempt(
        Outcome.CONNECTED,
        server_address=request.address,
        latency_ms=round((time.monotonic() - start) * 1000, 3),
        body=answer.decode(errors="replace"),
    )


def _outcome(error: OSError) -> Outcome:
    if error.errno in _REFUSED:
        return Outcome.REFUSED
    if error.errno in _UNREACHABLE:
        return Outcome.UNREACHABLE
    if error.errno in _DROPPED_HERE:
        return Outcome.TIMEOUT
    if error.errno in _UNSUPPORTED:
        raise PlatformError(
            f"this kernel lacks the protocol: {error.strerror}", hint="modprobe sctp"
        ) from error
    return Outcome.OTHER


def _udp_exchange(request: Datagram) -> bytes:
    with socket.socket(_family(request), socket.SOCK_DGRAM) as sock:
        _bind(sock, request)
        sock.connect((str(request.address), request.port))
        sock.settimeout(request.timeout / 2)
        _send(sock, request.payload)
        try:
            return sock.recv(_ANSWER_MAX)
        except TimeoutError:
            _send(sock, request.payload)
            return sock.recv(_ANSWER_MAX)


def _send(sock: socket.socket, payload: bytes) -> None:
    try:
        sock.send(payload)
    except PermissionError:
        # a rule of this host took the packet: if by REJECT, the ICMP error comes over its loopback
        sock.settimeout(_OWN_ANSWER_SECONDS)
        with contextlib.suppress(TimeoutError):
            sock.recv(1)
        raise


def _sctp_exchange(request: Datagram) -> bytes:
    with socket.socket(_family(request), socket.SOCK_STREAM, IPPROTO_SCTP) as sock:
        sock.settimeout(request.timeout)
        _bind(sock, request)
        sock.connect((str(request.address), request.port))
        sock.sendall(request.payload + b"\n")
        return sock.recv(_ANSWER_MAX)


def _bind(sock: socket.socket, request: Datagram) -> None:
    if request.source_port:
        sock.bind(("", request.source_port))


def _family(request: Datagram) -> socket.AddressFamily:
    return socket.AF_INET6 if request.address.version == 6 else socket.AF_INET
