"""IPv6's address labels, by which a source address is chosen (RFC 6724), by one netlink dump."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address

from pyroute2.netlink import NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL
from pyroute2.netlink.rtnl import RTM_DELADDRLABEL, RTM_GETADDRLABEL, RTM_NEWADDRLABEL

from kns.kernel import values
from kns.kernel.netlink import BODY, Socket, attributes, readdressed
from kns.state.model import Deviation

#: linux/if_addrlabel.h struct ifaddrlblmsg: family, prefix length, ifindex, sequence number
_IFADDRLBL = struct.Struct("=BxBxII")
_SEQUENCE_AT = 8
_PARTS = {1: "address", 2: "label"}
_GET = readdressed(_IFADDRLBL.pack(socket.AF_INET6, 0, 0, 0), RTM_GETADDRLABEL, NLM_F_DUMP)

#: a label's message without its header and sequence number
Body = bytes


def bodies(sock: Socket) -> tuple[Body, ...]:
    """Every label of the netns; none where the kernel has no IPv6."""
    with contextlib.suppress(OSError):
        return tuple(_body(data) for data in sock.dump(_GET))
    return ()


def _body(data: bytes) -> Body:
    """The sequence number counts the changes of the table."""
    body = bytearray(data[BODY:])
    body[_SEQUENCE_AT : _IFADDRLBL.size] = bytes(4)
    return bytes(body)


def deviations(
    found: tuple[Body, ...], fresh: tuple[Body, ...], names: Mapping[int, str]
) -> Iterator[Deviation]:
    """What takes away the labels that a `fresh` netns has not, and puts back those that it has."""
    for body in found:
        if body not in fresh:
            yield Deviation(_command("del", body, names), readdressed(body, RTM_DELADDRLABEL))
    for body in fresh:
        if body not in found:
            message = readdressed(body, RTM_NEWADDRLABEL, NLM_F_CREATE | NLM_F_EXCL)
            yield Deviation(_command("add", body, names), message)


def _command(verb: str, body: Body, names: Mapping[int, str]) -> str:
    _family, length, index, _sequence = _IFADDRLBL.unpack_from(body)
    parts = attributes(body, _PARTS, _IFADDRLBL.size)
    where = f" dev {names.get(index, index)}" if index else ""
    prefix = f"{IPv6Address(parts['address'])}/{length}"
    return f"ip addrlabel {verb} prefix {prefix}{where} label {values.number(parts['label'])}"
