"""Listening sockets inside a netns: a socket belongs to the netns in which it was opened."""

from __future__ import annotations

import os
import socket
import stat
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from kns.kernel import netns

IPAddress = IPv4Address | IPv6Address

_KINDS = {
    "tcp": (socket.SOCK_STREAM, 0),
    "udp": (socket.SOCK_DGRAM, 0),
    "sctp": (socket.SOCK_STREAM, 132),  # IPPROTO_SCTP
}
#: connections that may wait for accept; a test sends hundreds at once
BACKLOG = 512


def open_here(address: str, port: int, *, protocol: str = "tcp") -> socket.socket:
    """Open, bind and listen in the calling thread's netns; non-blocking. Raises OSError.

    An IPv6 socket is bound with IPV6_V6ONLY, so that both families can be served on one port.
    """
    kind, number = _KINDS[protocol]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, number)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def listen(name: str, address: str, port: int, *, protocol: str = "tcp") -> socket.socket:
    """`open_here` inside the netns `name`, from any thread."""
    return netns.call_in(name, open_here, address, port, protocol=protocol)


def listen_unix(path: Path) -> socket.socket:
    """A listening unix socket, mode 0600; what a killed process has left there is replaced."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(before)
    sock.listen(BACKLOG)
    return sock


def inherited() -> socket.socket | None:
    """The listening socket that this process was given as its standard input, if it was.

    As inetd hands one on. It is moved away from there: a child must not inherit it.
    """
    if not stat.S_ISSOCK(os.fstat(0).st_mode):
        return None
    sock = socket.socket(fileno=os.dup(0))
    sock.setblocking(False)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return sock
