"""Neighbor and forwarding entries of a netns: those that a lab can have, and what to undo."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_GETNEIGH
from pyroute2.netlink.rtnl.ndmsg import NTF_SELF, NUD_PERMANENT, ndmsg

from kns.kernel import values
from kns.kernel.netlink import BODY, Socket, attributes, wanted
from kns.kernel.shapes import encoded, request
from kns.state.model import FdbEntry, Neighbor

_NEIGHBOR = struct.Struct("=BxxxiHBB")
_NEIGHBOR_PARTS = wanted(ndmsg, "NDA_DST", "NDA_LLADDR")
_GET_NEIGHBORS = encoded(request(ndmsg, RTM_GETNEIGH, NLM_F_DUMP))
_GET_FDB = encoded(request(ndmsg, RTM_GETNEIGH, NLM_F_DUMP, family=socket.AF_BRIDGE))


def neighbors(sock: Socket, names: Mapping[int, str]) -> tuple[Neighbor, ...]:
    """Permanent ARP and NDP entries."""
    found = []
    for data in sock.dump(_GET_NEIGHBORS):
        family, index, state, _flags, _kind = _NEIGHBOR.unpack_from(data, BODY)
        if not state & NUD_PERMANENT or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        parts = attributes(data, _NEIGHBOR_PARTS, BODY + _NEIGHBOR.size)
        if index in names and "NDA_LLADDR" in parts:
            address = values.ip(parts["NDA_DST"])
            found.append(Neighbor(names[index], address, values.mac(parts["NDA_LLADDR"])))
    return tuple(found)


def fdb(sock: Socket, devices: set[int], names: Mapping[int, str]) -> tuple[FdbEntry, ...]:
    """Forwarding entries of the VXLAN devices with the indexes `devices`."""
    found = []
    for data in sock.dump(_GET_FDB):
        _family, index, _state, flags, _kind = _NEIGHBOR.unpack_from(data, BODY)
        parts = attributes(data, _NEIGHBOR_PARTS, BODY + _NEIGHBOR.size)
        if index in devices and flags & NTF_SELF and "NDA_DST" in parts:
            mac = values.mac(parts["NDA_LLADDR"])
            found.append(FdbEntry(names[index], mac, values.ip(parts["NDA_DST"])))
    return tuple(found)
