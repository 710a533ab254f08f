"""A netlink socket of one netns: many requests in one send, and dumps back.

pyroute2 has the messages (kns.kernel.shapes) and reads what is short. Two things are done here,
because they come by the thousand: requests go out in batches, where pyroute2's own sockets make a
round trip and an event loop's turn of each; and of a dump's attributes only those are looked at
that somebody wants (`wanted`, `attributes`), where pyroute2 makes an object of every one.

    Socket     opened in the calling thread's netns; belongs to that netns from then on
        .request(requests)  send all; what the kernel refused, by position
        .ask(message)       the one answer
        .dump(message)      all answers
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyroute2.netlink import (
    NETLINK_EXT_ACK,
    NETLINK_ROUTE,
    NLM_F_ACK,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    SOL_NETLINK,
    nla,
    nlmsg,
    nlmsgerr,
)

#: struct nlmsghdr: length, type, flags, sequence number, port
_HEADER = struct.Struct("=IHHII")
_SEQUENCE, _SEQUENCE_AT = struct.Struct("=I"), 8
_ERRNO = struct.Struct("=i")
#: struct nlattr: length, type
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF  # linux/netlink.h NLA_TYPE_MASK
#: where the body of a message begins
BODY = _HEADER.size

#: requests in one send: each answer occupies about 1 kB of the 208 kB receive buffer
BATCH = 64
#: bytes; the kernel fills at most half of it (linux/netlink.h: 32 kB for a dump), and Python takes
#: and gives back the memory of a greater one with each call
RECEIVE = 1 << 16
#: how often a dump that the kernel calls inconsistent is asked for again
DUMP_TRIES = 8


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the kernel refused a request: the errno, and its own words where it has any."""

    number: int
    words: str = ""

    @property
    def error(self) -> OSError:
        """The same as an exception."""
        text = os.strerror(self.number)
        return OSError(self.number, f"{text}: {self.words}" if self.words else text)


def wanted(kind: type[nlmsg] | type[nla], *names: str) -> Mapping[int, str]:
    """The attributes of these names by number, from pyroute2's table of the message or attribute.

    KeyError if the table has no such name.
    """
    table = {
        row[1] if isinstance(row[0], int) else row[0]: row[0] if isinstance(row[0], int) else n
        for n, row in enumerate(kind.nla_map)
    }
    return {table[name]: name for name in names}


def attributes(data: bytes, names: Mapping[int, str], offset: int = 0) -> dict[str, bytes]:
    """The `wanted` attributes in `data` from `offset` on, by name; the last of a name wins."""
    found: dict[str, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        name = names.get(kind & _TYPE_MASK)
        if name is not None:
            found[name] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def repeated(data: bytes, number: int) -> Iterator[bytes]:
    """What an attribute holds that stands in `data` several times, by its number."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            return
        if kind & _TYPE_MASK == number:
            yield data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def readdressed(body: bytes, kind: int, flags: int = 0) -> bytes:
    """A dumped message's body as a request of another kind: what `ip … flush` deletes by.

    The kernel compares all that the message says, whether or not anybody here can read it.
    """
    header = _HEADER.pack(BODY + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, 0, 0)
    return header + body


def attribute(number: int, raw: bytes) -> bytes:
    """One attribute, padded."""
    return (_ATTRIBUTE.pack(4 + len(raw), number) + raw).ljust((len(raw) + 7) & ~3, b"\0")


def without(body: bytes, numbers: Collection[int], offset: int) -> bytes:
    """The body of a message without the attributes of these numbers, which begin at `offset`."""
    kept = bytearray(body[:offset])
    while offset + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < 4:
            break
        end = offset + ((length + 3) & ~3)
        if kind & _TYPE_MASK not in numbers:
            kept += body[offset:end].ljust(end - offset, b"\0")
        offset = end
    return bytes(kept)


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """What one receive brought: type, flags, sequence number and the whole message of each."""
    offset = 0
    while offset + BODY <= len(data):
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < BODY:
            return
        yield kind, flags, sequence, data[offset : offset + length]
        offset += (length + 3) & ~3


class Socket:
    """A netlink socket of the netns in which the opening thread is."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._sequence = 0

    def close(self) -> None:
        """Close it; the netns may then vanish."""
        self._socket.close()

    def request(self, requests: Sequence[bytes]) -> dict[int, Refusal]:
        """Send the requests in order; what the kernel refused, by position in `requests`."""
        refused: dict[int, Refusal] = {}
        for start in range(0, len(requests), BATCH):
            answers = self._request(requests[start : start + BATCH])
            refused.update((start + position, refusal) for position, refusal in answers)
        return refused

    def _request(self, requests: Sequence[bytes]) -> list[tuple[int, Refusal]]:
        first = self._sequence + 1
        self._send(requests)
        refused = []
        left = len(requests)
        while left:
            for kind, _flags, sequence, data in messages(self._socket.recv(RECEIVE)):
                if kind == NLMSG_ERROR and sequence >= first:
                    left -= 1
                    refusal = _refusal(data)
                    if refusal is not None:
                        refused.append((sequence - first, refusal))
        return refused

    def ask(self, message: bytes) -> bytes:
        """The one answer to a request. Raises OSError."""
        (answer,) = self.dump(message)
        return answer

    def dump(self, message: bytes) -> list[bytes]:
        """All answers to a request, whole messages. Raises OSError.

        A dump during which something changed is marked by the kernel and asked for again.
        """
        found, consistent = self._dump(message)
        for _ in range(DUMP_TRIES):
            if consistent:
                break
            found, consistent = self._dump(message)
        return found

    def _dump(self, message: bytes) -> tuple[list[bytes], bool]:
        self._send([message])
        found: list[bytes] = []
        consistent = True
        while True:
            for kind, flags, sequence, data in messages(self._socket.recv(RECEIVE)):
                if sequence != self._sequence:
                    continue
                if flags & NLM_F_DUMP_INTR:
                    consistent = False
                if kind == NLMSG_DONE:
                    return found, consistent
                if kind == NLMSG_ERROR:
                    refusal = _refusal(data)
                    if refusal is not None:
                        raise refusal.error
                    return found, consistent  # the acknowledgement after a single answer
                found.append(data)

    def _send(self, requests: Sequence[bytes]) -> None:
        batch = bytearray(b"".join(requests))
        offset = 0
        for message in requests:
            self._sequence += 1
            _SEQUENCE.pack_into(batch, offset + _SEQUENCE_AT, self._sequence)
            offset += len(message)
        self._socket.send(batch)


def _refusal(answer: bytes) -> Refusal | None:
    """What an NLMSG_ERROR message says; None if it only acknowledges."""
    (number,) = _ERRNO.unpack_from(answer, BODY)
    if number == 0:
        return None
    message = nlmsgerr(answer)
    message.decode()
    return Refusal(-number, message.get_attr("NLMSGERR_ATTR_MSG") or "")
