"""Read the kernel: which netns a lab has, and what is in them, as a HostState.

Rules and sysctls are read only where somebody asks for them (`Interest`): an `iptables-save` is a
process, and most netns have no rules.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event

from kns.kernel import (
    contents,
    features,
    ipsets,
    iptables,
    link_dumps,
    netns,
    nftables,
    routes,
)
from kns.kernel.contents import Interest
from kns.kernel.link_dumps import FoundLink
from kns.kernel.netlink import Socket
from kns.kernel.peers import veth_peers
from kns.state.model import (
    Bridge,
    HostState,
    Link,
    Netns,
    Route,
    RuleNames,
    VethPeer,
)


@dataclass(frozen=True, slots=True)
class Observation:
    """What was read, and the ifindex of each link by netns and name."""

    state: HostState
    indexes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def interests(state: HostState, rules: RuleNames) -> Mapping[str, Interest]:
    """What must be read of each netns to compare it with what is desired there.

    Rules of all systems are read where any are desired: what wrote them may have written others
    before.
    """
    return {space.name: _interest(space, rules) for space in state.netns}


def _interest(space: Netns, rules: RuleNames) -> Interest:
    node = bool(space.iptables or space.nftables or space.ipsets)
    return Interest(
        sysctls=space.sysctls,
        whole=node or any(isinstance(link.kind, Bridge) for link in space.links),
        iptables=node,
        nft=node,
        ipvs=node,
        rules=rules,
        learned=space.learned,
    )


def observe(names: Iterable[str], interests: Mapping[str, Interest]) -> Observation:
    """Read the named netns. A name without a netns on it (left by a crash) reads as absent."""
    present = [name for name in names if netns.is_netns(name)]
    stray = netns.strays(present)
    present = [name for name in present if name not in stray]
    lost = tuple(Netns(name, links=(), stray=True) for name in stray)
    if not present:
        return Observation(HostState(lost))
    with ThreadPoolExecutor(max_workers=4) as pool, _stopped_by_errors() as stop:
        # the slow part is other programs: they run while this thread decodes dumps
        slow = {
            name: pool.submit(netns.call_in, name, _read_rules, name, interests[name], stop)
            for name in present
            if name in interests and _has_rules(interests[name])
        }
        found = netns.in_thread(_read_all, present, interests)
        merged = {}
        for name, (space, links) in found.items():
            complete = slow[name].result()(space) if name in slow else space
            merged[name] = (complete, links)
    found_all = _joined(merged)
    return replace(found_all, state=HostState((*found_all.state.netns, *lost)))


@contextlib.contextmanager
def _stopped_by_errors() -> Iterator[Event]:
    """An event that is set when the block is left by an exception, as by a signal.

    Without it a program that hangs would be waited for, to the end of its time.
    """
    stop = Event()
    try:
        yield stop
    except BaseException:
        stop.set()
        raise


def _has_rules(interest: Interest) -> bool:
    return interest.iptables or interest.nft or interest.ipvs


class _RuleReader:
    """Adds the rules that were read to a netns."""

    def __init__(self, **parts: object) -> None:
        self._parts = parts

    def __call__(self, space: Netns) -> Netns:
        return replace(space, **self._parts)  # type: ignore[arg-type]


def _read_rules(name: str, interest: Interest, stop: Event) -> _RuleReader:
    """Runs in a thread that is inside the netns."""
    parts: dict[str, object] = {}
    if interest.iptables:
        parts["iptables"] = iptables.read_here(stop, counters=interest.counters)
    if interest.nft:
        parts["nftables"] = nftables.observe(name, interest.rules.nft_tables, stop=stop)
    if interest.ipvs:
        parts["ipsets"] = ipsets.read_here(interest.rules.ipset_prefix, stop)
    if interest.ipvs and features.has_ipvs_here():
        from kns.kernel import ipvs  # noqa: PLC0415 - most kernels have none to look at

        parts["virtual_servers"] = ipvs.read_virtual_servers_here(counters=interest.counters)
        parts["ipvs_timeouts"] = ipvs.read_timeouts_here()
    return _RuleReader(**parts)


def _read_all(
    names: Iterable[str], interests: Mapping[str, Interest]
) -> dict[str, tuple[Netns, list[FoundLink]]]:
    # what a netns that nobody wants was like at first does not matter
    other = next(iter(interests.values()), Interest())
    found = {}
    for name in names:
        netns.enter(name)
        with contextlib.closing(Socket()) as sock:
            found[name] = contents.read(name, sock, interests.get(name, other))
    return found


def link_indexes(names: Iterable[str]) -> dict[str, dict[str, int]]:
    """The ifindex of each link by netns and name; a netns that is not there has none."""
    present = [name for name in names if netns.is_netns(name)]
    return netns.in_thread(_indexes, present) if present else {}


def _indexes(names: Iterable[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name in names:
        netns.enter(name)
        with contextlib.closing(Socket()) as sock:
            found[name] = {item.link.name: item.index for item in link_dumps.read(sock)}
    return found


def bird_routes_here() -> tuple[Route, ...]:
    """The routes that BIRD has put into the calling thread's netns."""
    with contextlib.closing(Socket()) as sock:
        names = {item.index: item.link.name for item in link_dumps.read(sock)}
        return routes.learned(sock, names)


def _joined(found: Mapping[str, tuple[Netns, list[FoundLink]]]) -> Observation:
    """Put the links into their netns, each veth with the name and netns of its other end."""
    peers = veth_peers({name: links for name, (_space, links) in found.items()})
    spaces = []
    indexes: dict[str, dict[str, int]] = {}
    for name, (space, links) in found.items():
        indexes[name] = {item.link.name: item.index for item in links}
        complete: list[Link] = []
        for item in links:
            link = item.link
            if (name, link.name) in peers:
                link = replace(link, kind=VethPeer(*peers[name, link.name]))
            complete.append(link)
        spaces.append(replace(space, links=tuple(complete)))
    return Observation(HostState(tuple(spaces)), indexes)
