"""How links look for their neighbors, by one netlink dump: what /proc/sys/net/*/neigh/LINK says."""

from __future__ import annotations

import socket

from pyroute2.netlink import NLM_F_DUMP

from kns.kernel import values
from kns.kernel.netlink import BODY, Socket, attributes, readdressed, without

#: linux/rtnetlink.h, linux/neighbour.h: which pyroute2 has no names for
_GET_TABLES, _PARMS, _IFINDEX = 66, 6, 1
_NDTMSG = 4  # struct ndtmsg
#: NDTPA_IFINDEX, how often it is used, and a time that the kernel makes at random
_MOVING = frozenset({_IFINDEX, 2, 3})
_GROUPS = {int(socket.AF_INET): "ipv4/neigh", int(socket.AF_INET6): "ipv6/neigh"}
_REQUEST = readdressed(bytes(_NDTMSG), _GET_TABLES, NLM_F_DUMP)


def read(sock: Socket) -> dict[int, dict[str, bytes]]:
    """The values of each link, by ifindex and group; equal bytes are equal values."""
    found: dict[int, dict[str, bytes]] = {}
    for data in sock.dump(_REQUEST):
        group = _GROUPS.get(data[BODY])
        parms = attributes(data, {_PARMS: "parms"}, BODY + _NDTMSG).get("parms", b"")
        index = attributes(parms, {_IFINDEX: "index"}).get("index")
        if group and index:
            found.setdefault(values.number(index), {})[group] = without(parms, _MOVING, 0)
    return found
