"""rtnetlink: messages as bytes, many in one send, and dumps back.

pyroute2 would serve, but its encoder and decoder take some 0.3 ms a message; a lab of 1,000 pods
is 6,000 messages, and its look-over as many again. What kns sends is a dozen kinds of message, so
they are packed here by struct; IPVS' generic netlink (kns.kernel.ipvs) uses the same socket.

    message()  one request without its header's sequence number
    Socket     opened in the calling thread's netns; belongs to that netns from then on
        .request(messages)  send all, return the errno of each (0: done)
        .dump(type, body)   the payloads of all answers
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

# linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x4, 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")

#: requests in one send: each answer occupies about 1 kB of the 208 kB receive buffer
BATCH = 64
#: how often a dump that the kernel calls inconsistent is asked for again
DUMP_TRIES = 8


@dataclass(frozen=True, slots=True)
class Message:
    """A request: type, flags beside REQUEST and ACK, and the body after the header."""

    type: int
    flags: int
    body: bytes


def attr(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def attr_u8(kind: int, value: int) -> bytes:
    """An attribute that holds a byte."""
    return attr(kind, bytes((value,)))


def attr_u16be(kind: int, value: int) -> bytes:
    """An attribute that holds two bytes in network order."""
    return attr(kind, value.to_bytes(2, "big"))


def attr_u32(kind: int, value: int) -> bytes:
    """An attribute that holds a 32-bit number in host order."""
    return _ATTRIBUTE.pack(8, kind) + value.to_bytes(4, sys.byteorder)


def attr_text(kind: int, value: str) -> bytes:
    """An attribute that holds a NUL-terminated text."""
    return attr(kind, value.encode() + b"\0")


def nest(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attr(kind | NLA_F_NESTED, b"".join(parts))


def parse_attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes in `data` from `offset` on, by type; the last of a type wins."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class Socket:
    """A netlink socket of the netns in which the opening thread is: NETLINK_ROUTE, or another."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        # answers of a dump may be larger than the default chunk; the kernel fills what it is given
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        # NETLINK_EXT_ACK is left off: errno and our own op say what failed
        self._sequence = 0

    def close(self) -> None:
        """Close it; the netns may then vanish."""
        self._socket.close()

    def request(self, messages: Sequence[Message]) -> list[int]:
        """Send the requests in order; the errno of each, 0 where the kernel did it."""
        results: list[int] = []
        for start in range(0, len(messages), BATCH):
            results += self._request(messages[start : start + BATCH])
        return results

    def _request(self, messages: Sequence[Message]) -> list[int]:
        first = self._sequence + 1
        chunks: list[bytes] = []
        for message in messages:
            self._sequence += 1
            flags = NLM_F_REQUEST | NLM_F_ACK | message.flags
            length = 16 + len(message.body)
            chunks.append(_HEADER.pack(length, message.type, flags, self._sequence, 0))
            chunks.append(message.body)
            chunks.append(bytes(-length % 4))
        self._socket.send(b"".join(chunks))
        results = [0] * len(messages)
        left = len(messages)
        while left:
            for kind, _flags, sequence, data in self._receive():
                if kind == NLMSG_ERROR and first <= sequence < first + len(results):
                    results[sequence - first] = -_ERRNO.unpack_from(data)[0]
                    left -= 1
        return results

    def ask(self, message: Message) -> bytes:
        """The body of the one answer to a request. Raises OSError."""
        self._sequence += 1
        header = _HEADER.pack(
            16 + len(message.body), message.type, NLM_F_REQUEST | message.flags, self._sequence, 0
        )
        self._socket.send(header + message.body)
        while True:
            for kind, _flags, sequence, data in self._receive():
                if sequence != self._sequence:
                    continue
                if kind == NLMSG_ERROR:
                    number = -_ERRNO.unpack_from(data)[0]
                    raise OSError(number, os.strerror(number))
                return data

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Ask for all objects of a type; the bodies of the answers. Raises OSError.

        A dump during which something changed is marked by the kernel and asked for again.
        """
        found, consistent = self._dump(kind, body)
        for _ in range(DUMP_TRIES):
            if consistent:
                break
            found, consistent = self._dump(kind, body)
        return found

    def _dump(self, kind: int, body: bytes) -> tuple[list[bytes], bool]:
        self._sequence += 1
        flags = NLM_F_REQUEST | NLM_F_DUMP
        header = _HEADER.pack(16 + len(body), kind, flags, self._sequence, 0)
        self._socket.send(header + body)
        found: list[bytes] = []
        consistent = True
        while True:
            for answer, answer_flags, _sequence, data in self._receive():
                if answer_flags & NLM_F_DUMP_INTR:
                    consistent = False
                if answer == NLMSG_DONE:
                    return found, consistent
                if answer == NLMSG_ERROR:
                    number = -_ERRNO.unpack_from(data)[0]
                    raise OSError(number, os.strerror(number))
                found.append(data)

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(1 << 18)
        offset = 0
        while offset + 16 <= len(data):
            length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
            yield kind, flags, sequence, data[offset + 16 : offset + length]
            offset += (length + 3) & ~3
