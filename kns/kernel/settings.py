"""What links are set to beyond a Link's fields, held against a link that was just made.

Flags, limits, a bridge's and a port's attributes: the kernel gives a link dozens of them, and a lab
leaves them all as they are. What `ip link` calls them follows from their netlink names.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from shlex import quote

from pyroute2.netlink import nla
from pyroute2.netlink.rtnl import RTM_DELLINKPROP, RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import (
    IFF_ALLMULTI,
    IFF_DYNAMIC,
    IFF_MULTICAST,
    IFF_NOARP,
    IFF_PROMISC,
    ifinfmsg,
)

from kns.kernel import values
from kns.kernel.netlink import attribute, attributes, readdressed, repeated, wanted
from kns.state.model import Bridge, Deviation, Link, Vxlan

_IFINFO = struct.Struct("=BxHiII")
_BRIDGE_TABLE = ifinfmsg.ifinfo.data_map["bridge"]
_PORT_TABLE = ifinfmsg.ifinfo.bridge_slave_data
_VXLAN_TABLE = ifinfmsg.ifinfo.data_map["vxlan"]
_INFO = wanted(ifinfmsg.ifinfo, "IFLA_INFO_KIND", "IFLA_INFO_DATA", "IFLA_INFO_SLAVE_DATA")

#: flags by the word of `ip link set` that turns them on; NOARP is turned on by `arp off`
_FLAGS = {
    "promisc": IFF_PROMISC,
    "allmulticast": IFF_ALLMULTI,
    "multicast": IFF_MULTICAST,
    "arp": IFF_NOARP,
    "dynamic": IFF_DYNAMIC,
}
_EVERY_FLAG = IFF_PROMISC | IFF_ALLMULTI | IFF_MULTICAST | IFF_NOARP | IFF_DYNAMIC

#: attributes of every link by the words of `ip link set`
_LINK_WORDS = {
    "IFLA_BROADCAST": "broadcast",
    "IFLA_TXQLEN": "txqueuelen",
    "IFLA_GROUP": "group",
    "IFLA_LINKMODE": "mode",
    "IFLA_PROTO_DOWN": "protodown",
    "IFLA_GSO_MAX_SIZE": "gso_max_size",
    "IFLA_GSO_MAX_SEGS": "gso_max_segs",
    "IFLA_GRO_MAX_SIZE": "gro_max_size",
}
#: linux/if_link.h: younger than pyroute2's table
_YOUNGER = {63: "gso_ipv4_max_size", 64: "gro_ipv4_max_size"}
LINK = {
    **{number: _LINK_WORDS[name] for number, name in wanted(ifinfmsg, *_LINK_WORDS).items()},
    **_YOUNGER,
}
_MTU = dict.fromkeys(wanted(ifinfmsg, "IFLA_MTU"), "mtu")
XDP = wanted(ifinfmsg, "IFLA_XDP")
_XDP_ATTACHED, _XDP_FD = 2, 1
ALTNAMES = wanted(ifinfmsg, "IFLA_PROP_LIST")
#: linux/if_link.h IFLA_ALT_IFNAME
_ALTNAME = 53

#: of a bridge: what it counts, measures and elects by itself
_BRIDGE_MOVES = (
    "UNSPEC",
    "PAD",
    "TIMER",
    "ROOT",
    "BRIDGE_ID",
    "TOPOLOGY",
    "FLUSH",
    "VLAN_PROTOCOL",
)
#: of a VXLAN device: what a Vxlan says of it
_VXLAN_FIELDS = ("UNSPEC", "VXLAN_ID", "LINK", "LOCAL", "_PORT")
_PORT_MOVES = (
    "UNSPEC",
    "PAD",
    "TIMER",
    "ROOT",
    "BRIDGE_ID",
    "TOPOLOGY",
    "FLUSH",
    "DESIGNATED",
    "PENDING",
    "_ID",
    "PORT_NO",
    "SYNC",
    "RING_OPEN",
    "IN_OPEN",
    "_CNT",
    "N_GROUPS",
    "MODE",
    "_NHID",
    "EHT",
)
#: words that differ from the attributes' names
_OTHER_WORDS = {
    "last_member_cnt": "last_member_count",
    "startup_query_cnt": "startup_query_count",
    "intvl": "interval",
    "group_addr": "group_address",
    "fast_leave": "fastleave",
    "unicast_flood": "flood",
    "protect": "root_block",
    "proxyarp": "proxy_arp",
    "multicast_router": "mcast_router",
    "mcast_to_ucast": "mcast_to_unicast",
    "group6": "group",
    "label": "flowlabel",
}
#: of a port: switches, which `ip link` calls on and off
_SWITCHES = frozenset(
    {
        "guard", "root_block", "fastleave", "learning", "flood", "proxy_arp", "proxy_arp_wifi",
        "mcast_flood", "bcast_flood", "mcast_to_unicast", "vlan_tunnel", "neigh_suppress",
        "neigh_vlan_suppress", "isolated", "locked", "mab",
    }
)  # fmt: skip


def _words(table: type[nla], moving: tuple[str, ...]) -> dict[int, str]:
    """The attributes that stay as they are set, by number, in the words of `ip link`."""
    found = {}
    for row in table.nla_map:
        name = next(part for part in row if isinstance(part, str))
        if any(part in name for part in moving):
            continue
        (number,) = wanted(table, name)
        word = name.split("_", 2)[2].lower()
        for old, new in _OTHER_WORDS.items():
            word = word.replace(old, new)
        found[number] = word
    return found


_BITS = "boolopt"
#: linux/if_link.h IFLA_BR_MULTI_BOOLOPT, IFLA_BR_FDB_MAX_LEARNED
BRIDGE = {**_words(_BRIDGE_TABLE, _BRIDGE_MOVES), 46: _BITS, 49: "fdb_max_learned"}
#: linux/if_bridge.h BR_BOOLOPT_*, by their bit
_BOOLOPTS = ("no_linklocal_learn", "mcast_vlan_snooping", "mst_enabled")
PORT = _words(_PORT_TABLE, _PORT_MOVES)
#: linux/if_link.h IFLA_VXLAN_VNIFILTER, LOCALBYPASS
VXLAN = {**_words(_VXLAN_TABLE, _VXLAN_FIELDS), 30: "vnifilter", 31: "localbypass"}
#: those that can be changed (drivers/net/vxlan/vxlan_core.c vxlan_nl2conf)
_VXLAN_CHANGES = frozenset(
    {"group", "ttl", "tos", "learning", "ageing", "flowlabel", "df", "localbypass"}
)
_KINDS = {Bridge.type: BRIDGE, Vxlan.type: VXLAN}
(_GROUP6,) = wanted(_VXLAN_TABLE, "IFLA_VXLAN_GROUP6")
#: linux/if_bridge.h BR_STATE_FORWARDING
_FORWARDING = b"\3"
#: linux/if.h IF_OPER_UP
_UP = 6

_LINKINFO, _KIND, _DATA, _SLAVE_KIND, _SLAVE_DATA, _NESTED = 18, 1, 2, 4, 5, 0x8000


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What one link is set to, by the words of `ip link`; `own` is what its kind has.

    `made` can't be changed: what it was made with.
    """

    flags: int = 0
    link: Mapping[str, bytes] = field(default_factory=dict)
    own: Mapping[str, bytes] = field(default_factory=dict)
    made: Mapping[str, bytes] = field(default_factory=dict)
    port: Mapping[str, bytes] = field(default_factory=dict)
    xdp: bool = False
    altnames: tuple[str, ...] = ()


def read(flags: int, parts: Mapping[str, bytes], *, lo: bool) -> LinkSettings:
    """The settings in a link's message, of whose attributes `parts` has LINK's and more.

    The MTU, elsewhere a link's own field, is one of `lo`'s.
    """
    info = attributes(parts.get("IFLA_LINKINFO", b""), _INFO)
    table = _KINDS.get(values.text(info.get("IFLA_INFO_KIND", b"")), {})
    own = attributes(info["IFLA_INFO_DATA"], table) if table else {}
    made = own.keys() - _VXLAN_CHANGES if table is VXLAN else frozenset()
    port = attributes(info.get("IFLA_INFO_SLAVE_DATA", b""), PORT)
    state = port.pop("state", _FORWARDING)
    # a port is not forwarding for as long as its link has no carrier, and until the kernel has
    # learned of it; what somebody sets by hand stays
    if state != _FORWARDING and (state != b"\0" or values.number(parts["IFLA_OPERSTATE"]) == _UP):
        port["state"] = state
    xdp = attributes(parts.get("IFLA_XDP", b""), {_XDP_ATTACHED: "attached"})
    link = {word: parts[word] for word in LINK.values() if word in parts}
    if lo:
        link["mtu"] = parts["IFLA_MTU"]
    return LinkSettings(
        flags=flags & _EVERY_FLAG,
        link=link,
        own={word: raw for word, raw in own.items() if word not in made},
        made={word: own[word] for word in made},
        port=port,
        xdp=bool(values.number(xdp.get("attached", b""))),
        altnames=tuple(map(values.text, repeated(parts.get("IFLA_PROP_LIST", b""), _ALTNAME))),
    )


def deviations(
    link: Link, index: int, found: LinkSettings, usual: LinkSettings
) -> Iterator[Deviation]:
    """What sets the link back to what is usual."""
    name = link.name
    for word, flag in _FLAGS.items():
        if (found.flags ^ usual.flags) & flag:
            on = bool(usual.flags & flag) != (flag == IFF_NOARP)
            command = f"ip link set {name} {word} {'on' if on else 'off'}"
            yield Deviation(command, _request(index, flags=usual.flags & flag, change=flag))
    for word, raw in _differences(found.link, usual.link):
        number = _number(LINK | _MTU, word)
        command = f"ip link set {name} {word} {_shown(word, raw)}"
        yield Deviation(command, _request(index, attribute(number, raw)))
    for word, raw in _differences(found.own, usual.own):
        yield _of_kind(link, index, word, _bits(found.own[word], raw) if word == _BITS else raw)
    for word, raw in _differences(found.port, {**usual.port, "state": _FORWARDING}):
        yield _port(name, index, word, raw)
    if found.xdp:
        (number,) = XDP
        detach = attribute(number | _NESTED, attribute(_XDP_FD, struct.pack("=i", -1)))
        yield Deviation(f"ip link set {name} xdp off", _request(index, detach))
    for altname in found.altnames:
        yield _altname(name, index, altname)


def _bits(found: bytes, usual: bytes) -> bytes:
    """The usual ones of those bits that differ: which others there are a kernel may refuse to hear.

    Both halves of linux/if_bridge.h struct br_boolopt_multi: the values, and which are meant.
    """
    size = len(usual) // 2
    want = int.from_bytes(usual[:size], sys.byteorder)
    differing = want ^ int.from_bytes(found[:size], sys.byteorder)
    return b"".join(part.to_bytes(size, sys.byteorder) for part in (want & differing, differing))


def _altname(name: str, index: int, altname: str) -> Deviation:
    (number,) = ALTNAMES
    names = attribute(number | _NESTED, attribute(_ALTNAME, f"{altname}\0".encode()))
    body = _IFINFO.pack(0, 0, index, 0, 0) + names
    command = f"ip link property del dev {name} altname {quote(altname)}"
    return Deviation(command, readdressed(body, RTM_DELLINKPROP))


def _differences(
    found: Mapping[str, bytes], usual: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """The usual values of what differs. A backup port, which only some have, has 0 as its usual."""
    for word, raw in found.items():
        want = usual.get(word, bytes(len(raw)))
        if raw != want:
            yield word, want


def _number(table: Mapping[int, str], word: str) -> int:
    return next(number for number, known in table.items() if known == word)


def _of_kind(link: Link, index: int, word: str, raw: bytes) -> Deviation:
    kind = link.kind.type
    number = _number(_KINDS[kind], word)
    if word == "group" and len(raw) == 16:
        number = _GROUP6
    data = attribute(_KIND, f"{kind}\0".encode()) + attribute(
        _DATA | _NESTED, attribute(number, raw)
    )
    # `ip` wants the number of a VXLAN device said again
    again = f" id {link.kind.vni}" if isinstance(link.kind, Vxlan) else ""
    command = f"ip link set {link.name} type {kind}{again} {_words_of_kind(word, raw)}"
    return Deviation(command, _request(index, attribute(_LINKINFO | _NESTED, data)))


def _words_of_kind(word: str, raw: bytes) -> str:
    if word == _BITS:
        bits, mask = values.number(raw[:4]), values.number(raw[4:])
        known = ((1 << n, name) for n, name in enumerate(_BOOLOPTS))
        return " ".join(f"{name} {int(bool(bits & bit))}" for bit, name in known if mask & bit)
    if word == "group":
        return f"group {values.ip(raw)}"
    return f"{word} {values.mac(raw) if word == 'group_address' else values.number(raw)}"


def _port(name: str, index: int, word: str, raw: bytes) -> Deviation:
    number = _number(PORT, word)
    data = attribute(_SLAVE_KIND, b"bridge\0")
    data += attribute(_SLAVE_DATA | _NESTED, attribute(number, raw))
    value = str(values.number(raw))
    if word in _SWITCHES:
        value = "on" if raw[0] else "off"
    command = f"ip link set {name} type bridge_slave {word} {value}"
    if word == "backup_port":
        command = f"ip link set {name} type bridge_slave nobackup_port"
    return Deviation(command, _request(index, attribute(_LINKINFO | _NESTED, data)))


def _shown(word: str, raw: bytes) -> str:
    if word == "broadcast":
        return values.mac(raw)
    if word == "protodown":
        return "on" if raw[0] else "off"
    if word == "mode":
        return "dormant" if raw[0] else "default"
    return str(values.number(raw))


def _request(index: int, attributes: bytes = b"", *, flags: int = 0, change: int = 0) -> bytes:
    return readdressed(_IFINFO.pack(0, 0, index, flags, change) + attributes, RTM_NEWLINK)
