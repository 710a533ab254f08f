"""Queueing disciplines, which no lab's links have but the kernel's own."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_DELQDISC, RTM_GETQDISC

from kns.kernel import values
from kns.kernel.netlink import BODY, Socket, attribute, attributes, readdressed
from kns.state.model import Deviation

_TCMSG = struct.Struct("=BxHiIIi")
#: linux/rtnetlink.h; pyroute2's tcmsg brings forty modules along, one for each discipline
_TCA_KIND = 1
#: linux/pkt_sched.h TC_H_ROOT, TC_H_INGRESS (clsact's too): where one hangs on its link
_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_GET_QDISCS = readdressed(bytes(_TCMSG.size), RTM_GETQDISC, NLM_F_DUMP)


def read(sock: Socket, names: Mapping[int, str]) -> Iterator[Deviation]:
    """What takes off every queueing discipline that somebody has put on a link.

    The kernel's own has no handle. Filters and classes go with theirs.
    """
    for data in sock.dump(_GET_QDISCS):
        _family, _pad, index, handle, parent, _info = _TCMSG.unpack_from(data, BODY)
        if not handle or parent not in (_ROOT, _INGRESS) or index not in names:
            continue
        kind = attributes(data, {_TCA_KIND: "kind"}, BODY + _TCMSG.size)["kind"]
        body = data[BODY : BODY + _TCMSG.size] + attribute(_TCA_KIND, kind)
        where = "root" if parent == _ROOT else values.text(kind)
        command = f"tc qdisc del dev {names[index]} {where}"
        yield Deviation(command, readdressed(body, RTM_DELQDISC))
