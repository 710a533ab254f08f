"""Which pods and hosts of a lab answer DNS, and what they answer with at this moment.

    Cluster ──update()──▶ zones, upstream ◀─asked at each question─ DNSServer ◀─ sockets in a netns

A server stays as it is when the cluster changes: only what it looks up in is exchanged, so that
records follow endpoints with no restart and no lost question. A socket is open at once, and what
answers on it is made when the first question comes: dnspython and the zones cost more than the
rest of a small lab's agent, and `up` waits for it. The kernel keeps the question meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.compile.name_servers import NameServerKind
from kns.kinds.common import Protocol

if TYPE_CHECKING:
    from kns.agent.serve.dns import DNSServer, Zones


class NameServers:
    """The DNS servers of one lab. `update` first, then `listen`; all in one event loop."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._made_of: Cluster | None = None
        self._zones: dict[NameServerKind, Zones] = dict.fromkeys(NameServerKind, ())
        self._upstream: tuple[IPAddress, ...] = ()

    def update(self, cluster: Cluster) -> None:
        """From now on answer for this cluster; nothing changes if it is as it was."""
        if cluster != self._cluster:
            self._cluster = cluster

    def zones(self, kind: NameServerKind) -> Zones:
        """What a server of that kind answers from at this moment."""
        self._make_zones()
        return self._zones[kind]

    def upstream(self) -> tuple[IPAddress, ...]:
        """Who is asked for what the cluster doesn't know."""
        self._make_zones()
        return self._upstream

    def _make_zones(self) -> None:
        cluster = self._cluster
        if cluster is None or cluster is self._made_of:
            return
        from kns.cluster.internet_dns import InternetZone, internet_names, upstream_servers
        from kns.cluster.zone import ClusterZone
        from kns.cluster.zone_index import ZoneOptions

        self._made_of = cluster
        # CoreDNS too takes the time of the last change for the zone's serial
        options = ZoneOptions.of(cluster, serial=int(time.time()))
        self._zones = {
            NameServerKind.CLUSTER: (ClusterZone(cluster, options),),
            NameServerKind.INTERNET: (InternetZone(internet_names(cluster)),),
        }
        self._upstream = upstream_servers(cluster)

    def listen(
        self, kind: NameServerKind, netns: str, sock: socket.socket, protocol: Protocol
    ) -> LateServer:
        """Answer on a socket of the netns; what is not known here is asked for from there too."""
        return LateServer(sock, protocol, lambda: self._server(kind, netns))

    def _server(self, kind: NameServerKind, netns: str) -> DNSServer:
        from kns.agent.serve.dns import DNSServer
        from kns.agent.serve.dns_forward import Forwarder

        if kind is NameServerKind.INTERNET:
            return DNSServer(lambda: self.zones(kind))
        return DNSServer(lambda: self.zones(kind), Forwarder(netns, self.upstream))


class LateServer:
    """A DNS server that `make` makes when the first question is there to be read."""

    def __init__(
        self, sock: socket.socket, protocol: Protocol, make: Callable[[], DNSServer]
    ) -> None:
        self._sock = sock
        self._protocol = protocol
        self._make = make
        self._server: DNSServer | None = None
        self._start: asyncio.Task[object] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._on_first_question)

    def close(self) -> None:
        """Stop and close the socket, whether somebody has asked or not."""
        if self._start is not None:
            self._start.cancel()
        if self._server is not None:
            self._server.close()
        else:
            self._loop.remove_reader(self._sock)
        self._sock.close()

    def _on_first_question(self) -> None:
        # the socket stays readable, so that whoever reads next finds the question
        self._loop.remove_reader(self._sock)
        self._server = self._make()
        if self._protocol is Protocol.UDP:
            self._server.serve_udp(self._sock)
        else:
            self._start = self._loop.create_task(self._server.serve_tcp(self._sock))
