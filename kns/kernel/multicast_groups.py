"""A bridge's table of multicast groups: which ports somebody has entered by hand.

With an entry a group goes to its ports alone. IPv6 asks for a neighbor by a multicast: one wrong
port, and the neighbor is not found.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Mapping

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_GETMDB

from kns.kernel import values
from kns.kernel.netlink import BODY, Socket, attributes, readdressed
from kns.state.model import Deviation

#: linux/if_bridge.h struct br_port_msg: family, ifindex of the bridge
_BR_PORT = struct.Struct("=BxxxI")
#: struct br_mdb_entry: ifindex of the port, state, VLAN, group, its protocol in network order
_ENTRY = struct.Struct("=IBxH16sH2x")
_ATTRIBUTES_AT = 28
_PERMANENT = 1
#: MDBA_MDB, within it MDBA_MDB_ENTRY, within that MDBA_MDB_ENTRY_INFO
_LEVEL = 1
#: MDBA_MDB_EATTR_SOURCE
_SOURCE = {4: "source"}
_FAMILY_LENGTH = {socket.htons(0x0800): 4, socket.htons(0x86DD): 16}
_GET = readdressed(_BR_PORT.pack(socket.AF_BRIDGE, 0), RTM_GETMDB, NLM_F_DUMP)
_ATTRIBUTE = struct.Struct("=HH")


def deviations(sock: Socket, names: Mapping[int, str]) -> Iterator[Deviation]:
    """What removes every permanent entry; those that a bridge has learned go by themselves."""
    with contextlib.suppress(OSError):  # a kernel without snooping
        for data in sock.dump(_GET):
            _family, bridge = _BR_PORT.unpack_from(data, BODY)
            for table in _nested(data[BODY + _BR_PORT.size :]):
                for entry in _nested(table):
                    for raw in _nested(entry):
                        yield from _removal(names.get(bridge, ""), raw, names)


def _removal(bridge: str, raw: bytes, names: Mapping[int, str]) -> Iterator[Deviation]:
    port, state, vlan, group, protocol = _ENTRY.unpack_from(raw)
    if state != _PERMANENT:
        return
    length = _FAMILY_LENGTH.get(protocol)
    shown = str(values.ip(group[:length])) if length else values.mac(group[:6])
    source = attributes(raw, _SOURCE, _ATTRIBUTES_AT).get("source")
    words = [f"grp {shown}"]
    if source:
        words.append(f"src {values.ip(source)}")
    if vlan:
        words.append(f"vid {vlan}")
    yield Deviation(f"bridge mdb del dev {bridge} port {names.get(port, bridge)} {' '.join(words)}")


def _nested(data: bytes) -> Iterator[bytes]:
    """The attributes of that level, each of which may come many times."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        if kind & 0x3FFF == _LEVEL:
            yield data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
