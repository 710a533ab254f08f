"""Addresses of a netns: those that a lab can have as values, all that is amiss as what to undo.

The kernel's own are 127.0.0.1 and ::1 on `lo`, and each link's link-local one.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_interface

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_DELADDR, RTM_GETADDR, rt_scope
from pyroute2.netlink.rtnl.ifaddrmsg import (
    IFA_F_DADFAILED,
    IFA_F_DEPRECATED,
    IFA_F_HOMEADDRESS,
    IFA_F_MANAGETEMPADDR,
    IFA_F_MCAUTOJOIN,
    IFA_F_NOPREFIXROUTE,
    IFA_F_PERMANENT,
    IFA_F_TEMPORARY,
    ifaddrmsg,
)

from kns.addresses import IPInterface
from kns.kernel import links, values
from kns.kernel.link_dumps import FoundLink
from kns.kernel.netlink import BODY, Socket, attributes, readdressed, wanted
from kns.kernel.shapes import encoded, request
from kns.state.model import Address, Deviation

_IFADDR = struct.Struct("=BBBBI")
_PARTS = wanted(
    ifaddrmsg,
    "IFA_ADDRESS",
    "IFA_BROADCAST",
    "IFA_CACHEINFO",
    "IFA_FLAGS",
    "IFA_LABEL",
    "IFA_LOCAL",
    "IFA_RT_PRIORITY",
)
#: what no lab's address has: it would not be preferred, or bring no route
_UNUSUAL = (
    IFA_F_DEPRECATED
    | IFA_F_HOMEADDRESS
    | IFA_F_DADFAILED
    | IFA_F_MANAGETEMPADDR
    | IFA_F_NOPREFIXROUTE
    | IFA_F_MCAUTOJOIN
)
_GET_ADDRESSES = encoded(request(ifaddrmsg, RTM_GETADDR, NLM_F_DUMP))
#: struct ifa_cacheinfo: lifetimes, then when made and when changed, in 1/100 s since the boot
_CACHEINFO = struct.Struct("=IIII")
#: seconds that the kernel may take to make the routes of a new IPv6 address: its work queue does,
#: which waits its turn for the lock of all networks. 0.13 were seen while others made links.
_PATIENCE = 5
_LOOPBACKS = (ip_interface("127.0.0.1/8"), ip_interface("::1/128"))


@dataclass(frozen=True, slots=True)
class Addresses:
    """What was read: what a lab can have, the kernel's own, those of other kinds; what to undo.

    By `settled`, of the monotonic clock, the kernel has made the routes of them all.
    """

    given: tuple[Address, ...]
    own: tuple[Address, ...]
    unusual: tuple[Address, ...]
    undone: tuple[Deviation, ...]
    settled: float

    @property
    def usual(self) -> tuple[Address, ...]:
        """All that a lab's netns can have."""
        return (*self.given, *self.own)

    @property
    def every(self) -> tuple[Address, ...]:
        """All that there are."""
        return (*self.usual, *self.unusual)


def read(sock: Socket, found: Iterable[FoundLink]) -> Addresses:
    """The addresses of the links that were found in the netns."""
    by_index = {item.index: item for item in found}
    given: list[Address] = []
    own: list[Address] = []
    unusual: list[Address] = []
    undone: list[Deviation] = []
    newest = 0.0
    for data in sock.dump(_GET_ADDRESSES):
        index = _IFADDR.unpack_from(data, BODY)[-1]
        item = by_index.get(index)
        if item is None:
            continue
        address, usual, made = _address(data, item)
        if address.interface.version == 6:
            newest = max(newest, made)
        if not usual:
            words = f"{address.interface} dev {address.ifname}"
            message = readdressed(data[BODY:], RTM_DELADDR)
            unusual.append(address)
            undone.append(Deviation(f"ip addr del {words}", message))
        elif _is_own(address.interface, item):
            own.append(address)
        else:
            given.append(address)
    undone += _missing(by_index, own)
    return Addresses(tuple(given), tuple(own), tuple(unusual), tuple(undone), newest + _PATIENCE)


def _address(data: bytes, item: FoundLink) -> tuple[Address, bool, float]:
    """An address, whether it is as those of labs and the kernel's own are, and when it was made."""
    _family, length, flags, scope, _index = _IFADDR.unpack_from(data, BODY)
    parts = attributes(data, _PARTS, BODY + _IFADDR.size)
    flags |= values.number(parts.get("IFA_FLAGS", b""))
    far = parts["IFA_ADDRESS"]
    near = parts.get("IFA_LOCAL", far)
    name = item.link.name
    v4 = len(near) == 4
    usual = (
        near == far
        and flags & IFA_F_PERMANENT
        and not flags & (_UNUSUAL if v4 else _UNUSUAL | IFA_F_TEMPORARY)
        and "IFA_BROADCAST" not in parts
        and not values.number(parts.get("IFA_RT_PRIORITY", b""))
        and values.text(parts.get("IFA_LABEL", name.encode())) == name
    )
    address = Address(name, ip_interface((values.ip(near), length)))
    if v4 and scope != rt_scope["host" if address.interface == _LOOPBACKS[0] else "universe"]:
        usual = False
    return address, bool(usual), _made(parts.get("IFA_CACHEINFO", b""))


def _made(raw: bytes) -> float:
    """When an address was made, of the monotonic clock; the kernel's own count of it wraps."""
    if len(raw) < _CACHEINFO.size:
        return 0.0
    now = time.monotonic()
    ahead = 100  # the kernel's clock ticks, and may be one tick before ours
    made: int = _CACHEINFO.unpack_from(raw)[2]
    age = (int(now * 100) + ahead - made) % (1 << 32) - ahead
    return now - age / 100


def link_local(mac: str) -> IPInterface:
    """The link-local address that the kernel makes of a MAC address (RFC 4291, EUI-64)."""
    raw = bytes.fromhex(mac.replace(":", ""))
    low = bytes([raw[0] ^ 2, *raw[1:3], 0xFF, 0xFE, *raw[3:6]])
    return ip_interface((IPv6Address(b"\xfe\x80" + bytes(6) + low), 64))


def _own(item: FoundLink) -> Iterator[IPInterface]:
    """The addresses that the kernel has given the link by now."""
    if item.link.name == "lo":
        yield from (
            one for one, on in zip(_LOOPBACKS, (item.link.up, item.ipv6), strict=True) if on
        )
    elif item.ipv6 and item.link.mac:
        yield link_local(item.link.mac)


def _is_own(interface: IPInterface, item: FoundLink) -> bool:
    if item.link.name == "lo":
        return interface in _LOOPBACKS
    if not interface.is_link_local or interface.version == 4 or not item.link.mac:
        return False
    # other ways to make them than of the MAC address are random to us
    return not item.eui64 or interface == link_local(item.link.mac)


def _missing(by_index: Mapping[int, FoundLink], own: list[Address]) -> Iterator[Deviation]:
    for index, item in by_index.items():
        name = item.link.name
        have = {address.interface for address in own if address.ifname == name}
        for interface in _own(item):
            if interface in have or (have and not item.eui64 and name != "lo"):
                continue
            nodad = " nodad" if interface.version == 6 else ""
            message = links.add_address(Address(name, interface), index)
            yield Deviation(f"ip addr add {interface} dev {name}{nodad}", message)
