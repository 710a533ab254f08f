"""Which two dumped veth ends belong together.

A veth tells the ifindex of its far end in the far netns, and that netns by a number of its own
(nsid). kns chooses ifindexes that are unique in a lab, so that two ends find each other by them
alone. Veths that somebody else made (a script, `ip link`) may have any: for those, and only for
those, each netns is asked what it calls the others.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence

from pyroute2.netlink.rtnl import RTM_GETNSID
from pyroute2.netlink.rtnl.nsidmsg import nsidmsg

from kns.kernel import netns
from kns.kernel.link_dumps import FoundLink
from kns.kernel.netlink import Socket
from kns.kernel.shapes import encoded, request

#: what the kernel answers where it has no number: NETNSA_NSID_NOT_ASSIGNED, -1 without its sign
_NO_NUMBER = 0xFFFFFFFF

#: an end: its netns and name
End = tuple[str, str]


def veth_peers(found: Mapping[str, Sequence[FoundLink]]) -> dict[End, End]:
    """The far end of each veth whose far end is in one of the netns."""
    by_indexes: dict[tuple[int, int], list[tuple[str, FoundLink]]] = {}
    for name, links in found.items():
        for item in links:
            if item.peer_index:
                by_indexes.setdefault((item.index, item.peer_index), []).append((name, item))
    ambiguous = any(len(ends) > 1 for ends in by_indexes.values())
    numbers = netns.in_thread(_numbers, tuple(found)) if ambiguous else {}
    peers: dict[End, End] = {}
    for (index, peer_index), ends in by_indexes.items():
        candidates = by_indexes.get((peer_index, index), [])
        for name, item in ends:
            far = [
                (other, there.link.name)
                for other, there in candidates
                if not ambiguous or _leads_to(numbers, name, item, other)
            ]
            if len(far) == 1:
                peers[name, item.link.name] = far[0]
    return peers


def _leads_to(numbers: Mapping[End, int], name: str, item: FoundLink, other: str) -> bool:
    if item.peer_nsid is None:
        return name == other
    return numbers.get((name, other)) == item.peer_nsid


def _numbers(names: Sequence[str]) -> dict[End, int]:
    """What each netns calls each other: (here, there) to nsid, where it has a number for it."""
    numbers: dict[End, int] = {}
    with contextlib.ExitStack() as stack:
        files = {}
        for name in names:
            files[name] = os.open(netns.path_of(name), os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, files[name])
        for here in names:
            netns.enter(here)
            with contextlib.closing(Socket()) as sock:
                for there, fd in files.items():
                    number = _nsid(sock, fd)
                    if number != _NO_NUMBER:
                        numbers[here, there] = number
    return numbers


def _nsid(sock: Socket, fd: int) -> int:
    answer = nsidmsg(sock.ask(encoded(request(nsidmsg, RTM_GETNSID, 0, [("NETNSA_FD", fd)]))))
    answer.decode()
    return int(answer.get_attr("NETNSA_NSID"))
