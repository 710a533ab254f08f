"""Neighbor and forwarding entries of a netns: those that a lab can have, and what to undo."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_DELNEIGH, RTM_GETNEIGH
from pyroute2.netlink.rtnl.ndmsg import (
    NTF_MASTER,
    NTF_PROXY,
    NTF_SELF,
    NUD_DELAY,
    NUD_INCOMPLETE,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
    NUD_STALE,
    ndmsg,
)

from kns.addresses import IPAddress
from kns.kernel import netns, values
from kns.kernel.link_dumps import FoundLink
from kns.kernel.netlink import BODY, Socket, attributes, readdressed, wanted
from kns.kernel.shapes import encoded, request
from kns.state.model import Bridge, Deviation, FdbEntry, Link, Neighbor, Vxlan

_NEIGHBOR = struct.Struct("=BxxxiHBB")
_PARTS = wanted(
    ndmsg, "NDA_DST", "NDA_IFINDEX", "NDA_LLADDR", "NDA_MASTER", "NDA_PORT", "NDA_VLAN", "NDA_VNI"
)
_GET_NEIGHBORS = encoded(request(ndmsg, RTM_GETNEIGH, NLM_F_DUMP))
_GET_PROXIES = encoded(request(ndmsg, RTM_GETNEIGH, NLM_F_DUMP, flags=NTF_PROXY))
_GET_FDB = encoded(request(ndmsg, RTM_GETNEIGH, NLM_F_DUMP, family=socket.AF_BRIDGE))
#: what stays as somebody has set it: in a bridge's table static entries are NOARP
_SET_BY_HAND = NUD_PERMANENT | NUD_NOARP
#: what holds a MAC address that somebody has answered with
_LEARNED = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE
#: linux/rtnetlink.h RTN_UNICAST, linux/neighbour.h NTF_EXT_LEARNED: entered by another program
_UNICAST, NTF_EXT_LEARNED = 1, 1 << 4
#: struct ndmsg: where the flags stand
_FLAGS_AT = 10


def neighbors(
    sock: Socket, names: Mapping[int, str]
) -> tuple[tuple[Neighbor, ...], tuple[Deviation, ...]]:
    """Permanent ARP and NDP entries, and what undoes others that stay as somebody has set them.

    The kernel itself asks nobody (NOARP) for multicast and broadcast addresses, and on `lo`.
    """
    found: list[Neighbor] = []
    undone: list[Deviation] = []
    for data in sock.dump(_GET_NEIGHBORS):
        family, index, state, flags, kind = _NEIGHBOR.unpack_from(data, BODY)
        if family not in (socket.AF_INET, socket.AF_INET6) or names.get(index, "lo") == "lo":
            continue
        is_permanent = bool(state & NUD_PERMANENT)
        is_unasked = bool(state & NUD_NOARP) and kind == _UNICAST
        if not is_permanent and not is_unasked and not flags & NTF_EXT_LEARNED:
            continue
        parts = attributes(data, _PARTS, BODY + _NEIGHBOR.size)
        address = values.ip(parts["NDA_DST"])
        if is_permanent and "NDA_LLADDR" in parts:
            found.append(Neighbor(names[index], address, values.mac(parts["NDA_LLADDR"])))
        elif not is_permanent:
            command = f"ip neigh del {address} dev {names[index]}"
            undone.append(Deviation(command, readdressed(data[BODY:], RTM_DELNEIGH)))
    return tuple(found), tuple(undone)


def forget(names: Iterable[str]) -> None:
    """Delete the MAC addresses that each netns has learned of its neighbors.

    Who is being asked for (INCOMPLETE) is asked for on: with that entry, every packet that waits
    for the answer would be told EHOSTUNREACH (neigh_invalidate in net/core/neighbour.c), a new
    connection to an address that is about to come among them.
    Moves the calling thread into the netns.
    """
    for name in names:
        netns.enter(name)
        with contextlib.closing(Socket()) as sock:
            sock.request([_deletion(data) for data in sock.dump(_GET_NEIGHBORS) if _learned(data)])


def asking(names: Iterable[str], addresses: Collection[IPAddress]) -> tuple[str, ...]:
    """The netns that wait for an answer to who has one of the addresses (INCOMPLETE).

    Moves the calling thread into the netns.
    """
    found = []
    for name in names:
        netns.enter(name)
        with contextlib.closing(Socket()) as sock:
            if any(_asked_for(data) in addresses for data in sock.dump(_GET_NEIGHBORS)):
                found.append(name)
    return tuple(found)


def _asked_for(data: bytes) -> IPAddress | None:
    if not _NEIGHBOR.unpack_from(data, BODY)[2] & NUD_INCOMPLETE:
        return None
    return values.ip(attributes(data, _PARTS, BODY + _NEIGHBOR.size)["NDA_DST"])


def _learned(data: bytes) -> bool:
    family, _index, state, _flags, _kind = _NEIGHBOR.unpack_from(data, BODY)
    return family in (socket.AF_INET, socket.AF_INET6) and bool(state & _LEARNED)


def _deletion(data: bytes) -> bytes:
    return readdressed(data[BODY:], RTM_DELNEIGH)


def proxies(sock: Socket, names: Mapping[int, str]) -> Iterator[Deviation]:
    """What takes away every address that a link answers for in somebody else's place."""
    for data in sock.dump(_GET_PROXIES):
        family, index, _state, _flags, _kind = _NEIGHBOR.unpack_from(data, BODY)
        parts = attributes(data, _PARTS, BODY + _NEIGHBOR.size)
        if family in (socket.AF_INET, socket.AF_INET6) and index in names and "NDA_DST" in parts:
            command = f"ip neigh del proxy {values.ip(parts['NDA_DST'])} dev {names[index]}"
            yield Deviation(command, readdressed(data[BODY:], RTM_DELNEIGH))


def fdb(
    sock: Socket, found: Collection[FoundLink]
) -> tuple[tuple[FdbEntry, ...], tuple[Deviation, ...]]:
    """Forwarding entries of the VXLAN devices, and what undoes all others that somebody made.

    A bridge's own are the MAC addresses of its ports and of itself.
    """
    by_index = {item.index: item.link for item in found}
    entries: list[FdbEntry] = []
    undone: list[Deviation] = []
    for data in sock.dump(_GET_FDB):
        _family, index, state, flags, _kind = _NEIGHBOR.unpack_from(data, BODY)
        link = by_index.get(index)
        parts = attributes(data, _PARTS, BODY + _NEIGHBOR.size)
        if link is None or not state & _SET_BY_HAND:
            continue
        mac = values.mac(parts["NDA_LLADDR"])
        if isinstance(link.kind, Vxlan) and flags & NTF_SELF:
            if "NDA_DST" in parts and not parts.keys() & {"NDA_IFINDEX", "NDA_PORT", "NDA_VNI"}:
                entries.append(FdbEntry(link.name, mac, values.ip(parts["NDA_DST"])))
            else:
                undone.append(_entry(data, link, mac, parts, "self"))
        elif not flags & NTF_SELF and "NDA_MASTER" in parts and mac not in _own(link, found):
            where = "self" if isinstance(link.kind, Bridge) else "master"
            undone.append(_entry(data, link, mac, parts, where))
    return tuple(entries), tuple(undone)


def _own(link: Link, found: Iterable[FoundLink]) -> Iterator[str]:
    """The MAC addresses that a bridge itself enters for its port, or for itself."""
    yield link.mac
    yield from (item.link.mac for item in found if item.link.name == link.master)


def _entry(data: bytes, link: Link, mac: str, parts: Mapping[str, bytes], where: str) -> Deviation:
    vlan = f" vlan {values.number(parts['NDA_VLAN'])}" if "NDA_VLAN" in parts else ""
    far = f" dst {values.ip(parts['NDA_DST'])}" if "NDA_DST" in parts else ""
    body = bytearray(data[BODY:])
    body[_FLAGS_AT] = NTF_SELF if where == "self" else NTF_MASTER
    command = f"bridge fdb del {mac} dev {link.name}{far} {where}{vlan}"
    return Deviation(command, readdressed(bytes(body), RTM_DELNEIGH))
