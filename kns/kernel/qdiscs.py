"""Queueing disciplines, which no lab's links have but the kernel's own."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_DELQDISC, RTM_GETQDISC
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from kns.kernel import values
from kns.kernel.netlink import BODY, Socket, attribute, attributes, readdressed, wanted
from kns.kernel.shapes import encoded, request
from kns.state.model import Deviation

_TCMSG = struct.Struct("=BxHiIIi")
_KIND = wanted(tcmsg, "TCA_KIND")
#: linux/pkt_sched.h TC_H_ROOT, TC_H_INGRESS (clsact's too): where one hangs on its link
_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_GET_QDISCS = encoded(request(tcmsg, RTM_GETQDISC, NLM_F_DUMP))


def read(sock: Socket, names: Mapping[int, str]) -> Iterator[Deviation]:
    """What takes off every queueing discipline that somebody has put on a link.

    The kernel's own has no handle. Filters and classes go with theirs.
    """
    for data in sock.dump(_GET_QDISCS):
        _family, _pad, index, handle, parent, _info = _TCMSG.unpack_from(data, BODY)
        if not handle or parent not in (_ROOT, _INGRESS) or index not in names:
            continue
        kind = attributes(data, _KIND, BODY + _TCMSG.size)["TCA_KIND"]
        (number,) = _KIND
        body = data[BODY : BODY + _TCMSG.size] + attribute(number, kind)
        where = "root" if parent == _ROOT else values.text(kind)
        command = f"tc qdisc del dev {names[index]} {where}"
        yield Deviation(command, readdressed(body, RTM_DELQDISC))
