"""IPVS for `kns.state.walk`: a virtual server sends a packet to one of its real servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kns.state.ipvs import endpoint
from kns.state.model import Netns, VirtualServer
from kns.state.packet import (
    BaseChain,
    Destination,
    Hook,
    ListedRule,
    MetRule,
    Passage,
    Relation,
    Verdict,
)

#: what stands for a chain's name
CHAIN = "virtual servers"
#: net/netfilter/ipvs/ip_vs_core.c: NF_IP_PRI_NAT_SRC - 1 and NF_IP_PRI_NAT_DST + 2
_PRIORITIES = {Hook.INPUT: 99, Hook.OUTPUT: -98}


def base_chains(netns: Netns) -> Iterator[BaseChain]:
    """The hooks at which IPVS looks for a virtual server."""
    if netns.virtual_servers:
        found = _Scheduler(netns.virtual_servers)
        for hook, priority in _PRIORITIES.items():
            yield BaseChain(hook, priority, False, found.run, "ipvs", CHAIN, found.listed)


@dataclass(frozen=True, slots=True)
class _Scheduler:
    servers: tuple[VirtualServer, ...]

    def run(self, passage: Passage) -> Iterator[Passage]:
        packet = passage.packet
        key = (packet.protocol, packet.destination, packet.port)
        server = next(
            (item for item in self.servers if (item.protocol, item.address, item.port) == key), None
        )
        if server is None or passage.destination_translated:
            yield passage
            return
        text = f"{server.protocol} {server.address} port {server.port} {server.scheduler}"
        met = passage.met(MetRule("ipvs", "", text))
        alive = [real for real in server.real_servers if real.weight > 0]
        for real in alive:
            sent = met.sent_to(real.address, real.port)
            yield replace(sent, packet=replace(sent.packet, out_interface=""))
        if not alive:
            yield met.decided(Verdict.REJECT)

    def listed(self, _chain: str, destinations: Sequence[Destination]) -> Iterator[ListedRule]:
        """The virtual servers of the destinations, each with its real servers."""
        for item in self.servers:
            own = Destination(item.address, item.protocol, item.port)
            if destinations and own not in destinations:
                continue
            text = f"{item.protocol.upper()} {endpoint(item.address, item.port)}"
            relation = Relation.ABOUT if destinations else Relation.GENERAL
            real = tuple(
                ListedRule(f"-> {endpoint(to.address, to.port)}", relation, to.count)
                for to in item.real_servers
            )
            yield ListedRule(text, relation, item.count, elements=real)
