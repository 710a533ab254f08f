"""Queueing disciplines: the shapers of links, and what somebody else has put there."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_DELQDISC, RTM_GETQDISC

from kns.kernel import traffic, values
from kns.kernel.netlink import BODY, Socket, attribute, attributes, readdressed
from kns.state.model import Deviation
from kns.state.traffic import Shaper

_TCMSG = struct.Struct("=BxHiIIi")
#: linux/rtnetlink.h; pyroute2's tcmsg brings forty modules along, one for each discipline
_PARTS = {traffic.KIND: "kind", traffic.OPTIONS: "options"}
#: linux/pkt_sched.h TC_H_INGRESS (clsact's too)
_INGRESS = 0xFFFFFFF1
_GET_QDISCS = readdressed(bytes(_TCMSG.size), RTM_GETQDISC, NLM_F_DUMP)


def read(
    sock: Socket, names: Mapping[int, str]
) -> tuple[tuple[Shaper, ...], tuple[Deviation, ...]]:
    """The shapers of the links, and what takes off every other qdisc that somebody has put there.

    The kernel's own has no handle. Filters and classes go with theirs.
    """
    roots: list[tuple[int, int, int, str, bytes]] = []
    leaves: dict[int, dict[int, tuple[str, bytes]]] = {}
    for data in sock.dump(_GET_QDISCS):
        _family, _pad, index, handle, parent, _info = _TCMSG.unpack_from(data, BODY)
        if not handle or index not in names:
            continue
        parts = attributes(data, _PARTS, BODY + _TCMSG.size)
        kind, options = values.text(parts["kind"]), parts.get("options", b"")
        if parent in (traffic.ROOT, _INGRESS):
            roots.append((index, handle, parent, kind, options))
        else:
            leaves.setdefault(index, {})[parent] = (kind, options)
    shapers, deviations = [], []
    for index, handle, parent, kind, options in roots:
        found = None
        if (kind, handle, parent) == ("htb", traffic.HANDLE, traffic.ROOT):
            found = traffic.read_shaper(sock, index, names[index], options, leaves.get(index, {}))
        if found is not None:
            shapers.append(found)
        else:
            deviations.append(_removal(index, names[index], handle, parent, kind))
    return tuple(shapers), tuple(deviations)


def _removal(index: int, ifname: str, handle: int, parent: int, kind: str) -> Deviation:
    body = _TCMSG.pack(0, 0, index, handle, parent, 0)
    body += attribute(traffic.KIND, f"{kind}\0".encode())
    where = "root" if parent == traffic.ROOT else kind
    return Deviation(f"tc qdisc del dev {ifname} {where}", readdressed(body, RTM_DELQDISC))
