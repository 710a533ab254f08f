"""Layer 2 load balancing, as MetalLB's speakers do it: one node answers for each address.

    every 0.5 s   is each node's kube-proxy reachable over the underlay? twice no: the node is lost
    election      the lowest hash of the eligible nodes that are alive (`kns.cluster.load_balancer`)
    ARP, NDP      requests for an address that the node has won are answered with eth0's MAC
    take-over     gratuitous ARP, as request and as reply, or an unsolicited neighbor advertisement,
                  every 1.1 s for 5 s

MetalLB's speakers find lost nodes by gossip (memberlist); here one process speaks for all nodes
and asks from the router's place. Like MetalLB's, an address without a speaker stays reachable
until its neighbors' entries expire.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Collection
from concurrent.futures import Executor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from kns.addresses import IPAddress
from kns.agent import arp, ndp
from kns.cluster.load_balancer import Announcement, announcements, elected
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.load_balancer import mode
from kns.compile.programs.haproxy import PROXY_HEALTH_PORT
from kns.kernel import netns

#: seconds between two looks at a node, and until one look is given up
LOOK_INTERVAL, LOOK_TIMEOUT = 0.5, 0.4
#: a look that took so much longer than its timeout was held up by a busy machine
LATE = 0.2
#: looks in a row that must fail before a node is taken for lost
LOST_AFTER = 2
#: seconds between gratuitous announcements, and for how long (MetalLB layer2/announcer.go)
GRATUITOUS_INTERVAL, GRATUITOUS_TIME = 1.1, 5.0


@dataclass(slots=True)
class _Port:
    """A node's eth0, as the speaker hears and speaks there."""

    arp: socket.socket
    ndp: socket.socket
    mac: bytes
    identity: tuple[int, ...]
    #: the node's own IPv6 address, with which its advertisements are sent
    own: IPv6Address | None = None


class Speaker:
    """Answers for LoadBalancer addresses on behalf of the elected nodes."""

    def __init__(self, worker: Executor) -> None:
        self._worker = worker
        self._cluster: Cluster | None = None
        self._announced: tuple[Announcement, ...] = ()
        self._ports: dict[str, _Port] = {}
        self._owners: dict[IPAddress, str] = {}
        self._misses: dict[str, int] = {}
        self._watch: asyncio.Task[None] | None = None
        self._announcing: dict[IPAddress, asyncio.Task[None]] = {}

    @property
    def owners(self) -> dict[str, str]:
        """Which node answers for each address."""
        return {str(address): node for address, node in self._owners.items()}

    async def converge(self, cluster: Cluster) -> None:
        """Speak for the cluster as it is now."""
        self._cluster = cluster
        self._announced = announcements(cluster) if mode(cluster) == "l2" else ()
        if mode(cluster) != "l2":
            self.close()
            return
        loop = asyncio.get_running_loop()
        for node in cluster.nodes:
            name = names.netns_of_node(cluster.name, node.name)
            old = self._ports.get(node.name)
            port = await loop.run_in_executor(
                self._worker, netns.call_in, name, _open_here, old.identity if old else ()
            )
            if port is not None:
                self._close_port(node.name)
                self._ports[node.name] = port
                loop.add_reader(port.arp, self._on_arp, node.name)
                loop.add_reader(port.ndp, self._on_ndp, node.name)
            six = (a for a in node.addresses if isinstance(a, IPv6Address))
            self._ports[node.name].own = next(six, None)
        for gone in self._ports.keys() - {node.name for node in cluster.nodes}:
            self._close_port(gone)
        self._elect()
        if self._watch is None:
            self._watch = loop.create_task(self._watch_nodes())

    def close(self) -> None:
        """Fall silent."""
        for task in (self._watch, *self._announcing.values()):
            if task is not None:
                task.cancel()
        self._watch = None
        self._announcing.clear()
        for name in list(self._ports):
            self._close_port(name)
        self._owners.clear()

    def _close_port(self, name: str) -> None:
        port = self._ports.pop(name, None)
        if port is not None:
            for sock in (port.arp, port.ndp):
                asyncio.get_running_loop().remove_reader(sock)
                sock.close()

    # -- who is alive, who answers -----------------------------------------------------------------

    async def _watch_nodes(self) -> None:
        while True:
            if self._cluster is not None:
                await self._look(self._cluster)
                self._elect()
            await asyncio.sleep(LOOK_INTERVAL)

    async def _look(self, cluster: Cluster) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        found = await asyncio.gather(*(_is_alive(str(node.addresses[0])) for node in cluster.nodes))
        # answers that came while this process had no turn look like none: they say nothing
        is_late = loop.time() - start > LOOK_TIMEOUT + LATE
        for node, alive in zip(cluster.nodes, found, strict=True):
            if alive:
                self._misses[node.name] = 0
            elif not is_late:
                self._misses[node.name] = self._misses.get(node.name, 0) + 1

    def _alive(self) -> Collection[str]:
        return {name for name in self._ports if self._misses.get(name, 0) < LOST_AFTER}

    def _elect(self) -> None:
        owners: dict[IPAddress, str] = {}
        alive = self._alive()
        for item in self._announced:
            winner = elected(item, alive)
            if winner is not None:
                owners[item.address] = winner
        before, self._owners = self._owners, owners
        for address, node in owners.items():
            if before.get(address) != node:
                logging.getLogger(__name__).info("%s is answered for by %s", address, node)
                self._announce(address, node)

    # -- ARP and NDP -------------------------------------------------------------------------------

    def _on_arp(self, node: str) -> None:
        port = self._ports[node]
        request = arp.parse(_receive(port.arp))
        if request is None or request.operation != arp.REQUEST:
            return
        if request.destination not in (arp.BROADCAST, port.mac):
            return
        if self._owners.get(request.target) == node:
            _send(port.arp, arp.answer(request, port.mac).pack())

    def _on_ndp(self, node: str) -> None:
        port = self._ports[node]
        request = ndp.parse(_receive(port.ndp))
        if request is None or port.own is None:
            return
        if self._owners.get(request.target) == node:
            _send(port.ndp, ndp.answer(request, port.mac, port.own))

    def _announce(self, address: IPAddress, node: str) -> None:
        running = self._announcing.pop(address, None)
        if running is not None:
            running.cancel()
        loop = asyncio.get_running_loop()
        self._announcing[address] = loop.create_task(self._gratuitous(address, node))

    async def _gratuitous(self, address: IPAddress, node: str) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + GRATUITOUS_TIME
        while loop.time() < end and self._owners.get(address) == node:
            port = self._ports.get(node)
            if port is not None and isinstance(address, IPv4Address):
                for kind in (arp.REQUEST, arp.REPLY):
                    _send(port.arp, arp.gratuitous(address, port.mac, kind).pack())
            elif port is not None and port.own is not None and isinstance(address, IPv6Address):
                _send(port.ndp, ndp.unsolicited(address, port.mac, port.own))
            await asyncio.sleep(GRATUITOUS_INTERVAL)


async def _is_alive(address: str) -> bool:
    """True if the node's kube-proxy takes a connection on its health port.

    The agent is in the fabric netns, so this goes over the underlay, as the world's packets do.
    """
    try:
        async with asyncio.timeout(LOOK_TIMEOUT):
            _reader, writer = await asyncio.open_connection(address, PROXY_HEALTH_PORT)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _open_here(known: tuple[int, ...]) -> _Port | None:
    """Sockets for ARP and NDP on eth0 of the calling thread's netns; None if `known` is it."""
    space = netns.identity_here()
    identity = (*space, socket.if_nametoindex("eth0"))
    if identity == known:
        return None
    # protocol 0 hears nothing: IPv6 must not come in before its filter is there
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    four, six = (socket.socket(socket.AF_PACKET, kind, 0) for _ in range(2))
    four.bind(("eth0", arp.ETHERTYPE_ARP))
    ndp.only_solicitations(six)
    six.bind(("eth0", ndp.ETHERTYPE_IPV6))
    return _Port(four, six, four.getsockname()[4], identity)


def _receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(2048)
    except OSError:  # the link is down; the socket stays bound and hears again when it is up
        return b""


def _send(sock: socket.socket, frame: bytes) -> None:
    with contextlib.suppress(OSError):
        sock.send(frame)
