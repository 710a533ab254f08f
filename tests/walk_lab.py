"""A virtual packet walked through a whole compiled lab, node by node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.lab import compile_host
from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.state.model import Netns
from kns.state.packet import Packet, Passage, Verdict
from kns.state.routing import is_local
from kns.state.walk import walk


@dataclass(frozen=True)
class End:
    """How one way of a packet ended: with a verdict, at an address and port of a node."""

    verdict: Verdict
    address: IPAddress
    port: int
    rule: str = ""


@dataclass(frozen=True)
class WalkedLab:
    """A cluster with its compiled rules."""

    cluster: Cluster

    @cached_property
    def spaces(self) -> dict[str, Netns]:
        """The nodes' netns by node."""
        found = {space.name: space for space in compile_host(self.cluster).netns}
        return {
            node.name: found[names.netns_of_node(self.cluster.name, node.name)]
            for node in self.cluster.nodes
        }

    @cached_property
    def pods(self) -> dict[IPAddress, Pod]:
        """Pods by address."""
        return {address: pod for pod in self.cluster.pods for address in pod.addresses}

    def ends(
        self, source: Pod | Node, destination: IPAddress, port: int | None, protocol: Protocol
    ) -> frozenset[End]:
        """Every end that a connection from the pod or node can come to."""
        family = IPFamily.of(destination)
        own = source.address(family)
        assert own is not None
        if isinstance(source, Node):
            node, link = source.name, ""
        else:
            node, link = source.node, "cni0"
        name = protocol.lower()
        if port is None:
            name = "icmp" if family is IPFamily.IPV4 else "ipv6-icmp"
        packet = Packet(own, destination, name, port or 0, in_interface=link)
        return frozenset(self._from(node, packet))

    def _from(self, node: str, packet: Packet) -> Iterator[End]:
        for passage in walk(self.spaces[node], packet):
            sent = passage.packet
            pod = self.pods.get(sent.destination)
            if passage.verdict is not Verdict.ACCEPT or pod is None or pod.node == node:
                rule = passage.decided_by
                verdict = passage.verdict or Verdict.ACCEPT
                yield End(verdict, sent.destination, sent.port, rule.text if rule else "")
                continue
            source = self._source(node, passage)
            yield from self._from(
                pod.node,
                Packet(source, sent.destination, sent.protocol, sent.port, in_interface="eth0"),
            )

    def _source(self, node: str, passage: Passage) -> IPAddress:
        """What the next node sees: masqueraded, the address of the link that it left by."""
        packet = passage.packet
        is_own = is_local(self.spaces[node], packet.source)
        if passage.source is not None or not (passage.masquerade or is_own):
            return passage.source or packet.source
        return next(
            item.interface.ip
            for item in self.spaces[node].addresses
            if item.ifname == packet.out_interface
            and item.interface.version == packet.family.version
        )
