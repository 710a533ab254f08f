"""What a change leaves in neighbor tables: addresses that have moved, and questions in vain."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence

from kns.addresses import IPAddress
from kns.kernel import neighbors, netns
from kns.plan.ops import Add, Change, CreateNetns, Delete, DeleteNetns, Op, Undo, VethPair
from kns.state.model import Address, HostState, Link, Netns

#: seconds after which a question was asked again: each second (net.ipv4.neigh.*.retrans_time_ms)
_ASKED_AGAIN, _PAUSE = 1.5, 0.02


def forget_neighbors(before: HostState, state: HostState, ops: Sequence[Op]) -> None:
    """Have every netns ask anew who has an address, if links or addresses beside it have changed.

    A node or pod that was made anew has another MAC address behind the old IP address. Who still
    has the old one in its neighbor table sends into the void until it probes again: 47 to 53
    seconds (gc_stale_time, and its probes).
    """
    present = outdated(before, state, ops)
    if present:
        netns.in_thread(neighbors.forget, present)


def await_answers(
    before: HostState, state: HostState, ops: Sequence[Op], back: Collection[IPAddress]
) -> None:
    """Wait until those have an answer who have asked for addresses while nobody could answer.

    `back` are the addresses that are there again. Until the kernel asks anew, packets to them wait.
    """
    names = outdated(before, state, ops) if back else ()
    deadline = time.monotonic() + _ASKED_AGAIN
    while names and time.monotonic() < deadline:
        names = netns.in_thread(neighbors.asking, names, back)
        time.sleep(_PAUSE if names else 0)


def outdated(before: HostState, state: HostState, ops: Sequence[Op]) -> tuple[str, ...]:
    """The netns whose neighbor tables may lead to a MAC address that is no longer there."""
    changed = {op.netns for op in ops if _moves_addresses(op)}
    asking = _neighborhood(before, changed) | _neighborhood(state, changed)
    return tuple(space.name for space in state.netns if space.name in asking)


def _moves_addresses(op: Op) -> bool:
    """Whether another MAC address may stand behind an IP address: not by a route, or a shaper.

    Where a shaper loses packets or holds them back, questions and answers are among them.
    """
    match op:
        case Add() | Delete():
            return isinstance(op.item, Link | VethPair | Address)
        case _:
            return isinstance(op, CreateNetns | DeleteNetns | Change | Undo)


def _neighborhood(state: HostState, changed: set[str]) -> set[str]:
    """The netns, and who has a cable to them or is on a bridge with them."""
    spaces = {space.name: space for space in state.netns}
    found = set(changed)
    for name in changed & spaces.keys():
        for link in spaces[name].links:
            if link.peer is not None:
                found.add(link.peer.netns)
                found.update(_on_its_bridge(spaces, link))
    return found


def _on_its_bridge(spaces: Mapping[str, Netns], link: Link) -> Iterator[str]:
    """Who else is on the bridge that the far end of a veth is a port of."""
    if link.peer is None or link.peer.netns not in spaces:
        return
    links = spaces[link.peer.netns].links
    master = next((far.master for far in links if far.name == link.peer.name), "")
    if master:
        yield from (far.peer.netns for far in links if far.peer and far.master == master)
