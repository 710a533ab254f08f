"""A virtual packet walked over the rules of a netns: no root, no kernel.

    from a link:  prerouting ─▶ (route) ─▶ forward ─▶ postrouting
                                   └─────▶ input ─▶ (IPVS) ─▶ output ─▶ postrouting
    its own:      output ─▶ postrouting ─▶ (to itself: prerouting ─▶ input)

At each hook the base chains of iptables, nftables and IPVS are met by priority, as the kernel
calls them. Where rules choose by chance each choice is followed. What is asked is the way of a
connection's first packet: nothing has been remembered of the client yet (`-m recent`, dynamic
sets), and conntrack translates it at most once at each end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kns.addresses import IPAddress, IPFamily
from kns.state import walk_iptables, walk_ipvs, walk_nft
from kns.state.model import Netns
from kns.state.packet import BaseChain, Hook, Packet, Passage, Verdict
from kns.state.routing import is_local, out_interface


def walk(netns: Netns, packet: Packet) -> tuple[Passage, ...]:
    """Every way that the packet can take through the netns' rules, each with its verdict.

    Raises ValueError at a match or statement that no rule system's module here knows.
    """
    return tuple(_Walk(netns, base_chains(netns, packet.family)).passages(packet))


def destinations(passages: Iterable[Passage]) -> frozenset[tuple[IPAddress, int]]:
    """Where the accepted passages lead: addresses and ports after translation."""
    return frozenset(
        (item.packet.destination, item.packet.port)
        for item in passages
        if item.verdict is Verdict.ACCEPT
    )


def base_chains(netns: Netns, family: IPFamily) -> tuple[BaseChain, ...]:
    """The chains of a family that are called at hooks, by priority."""
    found = (
        *walk_iptables.base_chains(netns, family),
        *walk_nft.base_chains(netns, family),
        *walk_ipvs.base_chains(netns),
    )
    return tuple(sorted(found, key=lambda chain: chain.priority))


@dataclass(frozen=True, slots=True)
class _Walk:
    netns: Netns
    chains: tuple[BaseChain, ...]

    def passages(self, packet: Packet) -> Iterator[Passage]:
        for passage in self._way(Passage(packet)):
            yield passage if passage.verdict else passage.decided(Verdict.ACCEPT)

    def _way(self, start: Passage) -> Iterator[Passage]:
        if not start.packet.in_interface:
            yield from self._own(start)
            return
        for passage in self._at((start,), Hook.PREROUTING):
            if is_local(self.netns, passage.packet.destination):
                yield from self._arrived(passage)
            else:
                forwarded = self._at((self._routed(passage),), Hook.FORWARD)
                yield from self._at(forwarded, Hook.POSTROUTING)

    def _own(self, start: Passage) -> Iterator[Passage]:
        for passage in self._at((self._routed(start),), Hook.OUTPUT):
            routed = self._routed(replace(passage, packet=_unrouted(start, passage)))
            for sent in self._at((routed,), Hook.POSTROUTING):
                if sent.verdict is None and is_local(self.netns, sent.packet.destination):
                    looped = replace(sent, packet=replace(sent.packet, in_interface="lo"))
                    arrived = self._at((looped,), Hook.PREROUTING, translated=True)
                    yield from self._at(arrived, Hook.INPUT, translated=True)
                else:
                    yield sent

    def _arrived(self, start: Passage) -> Iterator[Passage]:
        """At an address of the netns; IPVS may send it on from there."""
        for passage in self._at((start,), Hook.INPUT):
            if passage.verdict or is_local(self.netns, passage.packet.destination):
                yield passage
            else:
                sent = self._at((self._routed(passage),), Hook.OUTPUT, translated=True)
                yield from self._at(sent, Hook.POSTROUTING)

    def _at(
        self, passages: Iterable[Passage], hook: Hook, *, translated: bool = False
    ) -> Iterator[Passage]:
        """Through all base chains of a hook; those that are dropped or rejected end there."""
        found = tuple(passages)
        for chain in self.chains:
            if chain.hook is hook:
                found = tuple(self._through(chain, found, translated=translated))
        yield from found

    def _through(
        self, chain: BaseChain, passages: Iterable[Passage], *, translated: bool
    ) -> Iterator[Passage]:
        for passage in passages:
            if passage.verdict or (chain.translates and (translated or _is_done(chain, passage))):
                yield passage
                continue
            for after in chain.run(passage):
                # accepted by one base chain: the next one looks at it all the same
                yield replace(after, verdict=None) if _is_accepted(after) else after

    def _routed(self, passage: Passage) -> Passage:
        packet = passage.packet
        if packet.out_interface:
            return passage
        link = out_interface(self.netns, packet)
        return replace(passage, packet=replace(packet, out_interface=link))


def _is_accepted(passage: Passage) -> bool:
    return passage.verdict is Verdict.ACCEPT


def _is_done(chain: BaseChain, passage: Passage) -> bool:
    """Conntrack gives a connection one translation at each end (nf_nat_core.c nf_nat_inet_fn)."""
    if chain.hook in (Hook.PREROUTING, Hook.OUTPUT):
        return passage.destination_translated
    return passage.source_translated


def _unrouted(before: Passage, after: Passage) -> Packet:
    """Translated in output, a packet is routed anew."""
    if before.packet.destination == after.packet.destination:
        return after.packet
    return replace(after.packet, out_interface=before.packet.out_interface)
