"""What a netns and links of this kernel are like from the start: the measure of what was changed.

Releases and builds of Linux differ in it. So it is read, once a process, from netns of its own that
nobody else sees: one for each set of sysctls that a lab wants, since they decide what the links are
like that are made after them.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from pyroute2.netlink.rtnl import RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg

from kns.kernel import address_labels, link_dumps, links, netns, policy_rules, syscalls, sysctls
from kns.kernel.link_dumps import FoundLink
from kns.kernel.netlink import Socket
from kns.kernel.shapes import encoded, request
from kns.state.model import Bridge, Dummy, Link, Sysctl, VethPeer, Vxlan

_BRIDGE, _PORT, _END, _VXLAN, _DUMMY = "bridge", "port", "end", "vxlan", "dummy"
#: the ifindexes that they are made with, clear of the kernel's own
_INDEXES = {name: 100 + n for n, name in enumerate((_BRIDGE, _PORT, _END, _VXLAN, _DUMMY))}


@dataclass(frozen=True, slots=True)
class Fresh:
    """A fresh netns, with a link of each kind that labs have.

    `rules` are its routing rules, `labels` its address labels, `fallback` the links that it has
    besides `lo`, `links` one of each kind, `sysctls` what is read of it. `file` keeps the netns.
    """

    rules: tuple[policy_rules.Body, ...]
    labels: tuple[address_labels.Body, ...]
    fallback: frozenset[str]
    links: Mapping[str, FoundLink]
    sysctls: Mapping[str, str]
    file: int

    def like(self, link: Link) -> FoundLink | None:
        """The fresh link of the same kind, and a port like it; None if there is none."""
        if isinstance(link.kind, VethPeer):
            return self.links.get(_PORT if link.master else _END)
        return self.links.get("lo" if link.name == "lo" else link.kind.type)

    def read_sysctls(self, keys: Callable[[], tuple[str, ...]]) -> Mapping[str, str]:
        """More of its sysctls, by keys that are computed inside."""

        def body() -> Mapping[str, str]:
            syscalls.setns(self.file, syscalls.CLONE_NEWNET)
            return sysctls.read(keys())

        return netns.in_thread(body)


@functools.cache
def fresh(given: tuple[Sysctl, ...] = (), *, whole: bool = False) -> Fresh:
    """What a netns is like in which the sysctls were written; `whole`: read all others, too."""
    return netns.in_thread(_read, given, whole=whole)


def _read(given: tuple[Sysctl, ...], *, whole: bool) -> Fresh:
    syscalls.unshare(syscalls.CLONE_NEWNET)
    with contextlib.closing(Socket()) as sock:
        names = {item.link.name for item in link_dumps.read(sock)}
        for sysctl in given:
            with contextlib.suppress(OSError):
                (sysctls.FOLDER / sysctl.key).write_text(sysctl.value, encoding="ascii")
        _make_links(sock)
        found = {item.link.name: item for item in link_dumps.read(sock, whole=whole)}
        return Fresh(
            policy_rules.bodies(sock),
            address_labels.bodies(sock),
            frozenset(names - {"lo"}),
            {name: found[name] for name in ("lo", *_INDEXES) if name in found},
            sysctls.read(sysctls.every() if whole else sysctls.CHIEF),
            os.open(netns.OWN_NETNS, os.O_RDONLY | os.O_CLOEXEC),
        )


def _make_links(sock: Socket) -> None:
    """Make a link of each kind; a kind that this kernel lacks is in no lab of its either."""
    here = os.open(netns.OWN_NETNS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        bridge, end = (
            Link(_BRIDGE, Bridge()),
            Link(_END, VethPeer("", _PORT), mac="02:00:00:00:00:01"),
        )
        port = Link(_PORT, VethPeer("", _END), mac="02:00:00:00:00:02", master=_BRIDGE)
        vxlan = Link(_VXLAN, Vxlan(1, ip_address("192.0.2.1"), device=_END), mtu=1450)
        index = _INDEXES
        pair = (index[_PORT], index[_END], index[_BRIDGE], here)
        sock.request(
            [
                links.create_link(bridge, index[_BRIDGE], index),
                links.create_veth(port, end, *pair),
                links.create_link(vxlan, index[_VXLAN], index),
                links.create_link(Link(_DUMMY, Dummy()), index[_DUMMY], index),
                *(_up(number) for number in (1, *index.values())),
            ]
        )
    finally:
        os.close(here)


def _up(index: int) -> bytes:
    return encoded(request(ifinfmsg, RTM_NEWLINK, 0, index=index, flags=IFF_UP, change=IFF_UP))
