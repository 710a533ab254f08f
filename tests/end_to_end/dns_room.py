"""A DNS pod, a client pod and an internet host as throw-away netns, and DNS servers in them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import dns.message
import dns.query

from kns.agent.serve.dns import DNSServer
from kns.kernel import netns, processes, sockets
from kns.kernel.processes import Context

T = TypeVar("T")

POD = "10.244.0.2"
POD6 = "fd00:10:244::2"
INTERNET = "203.0.113.10"


@dataclass
class Room:
    """`pod` and `internet` are netns joined by a veth; a loop in a thread serves sockets there."""

    pod: str
    internet: str
    loop: asyncio.AbstractEventLoop
    servers: list[DNSServer] = field(default_factory=list)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine in the servers' loop."""

        async def body() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(body(), self.loop).result(10)

    def serve(self, server: DNSServer, name: str, *addresses: str, port: int = 53) -> None:
        """Let a server listen by UDP and TCP on addresses of a netns."""

        async def open_all() -> None:
            for address in addresses:
                server.serve_udp(sockets.listen(name, address, port, protocol="udp"))
                await server.serve_tcp(sockets.listen(name, address, port, protocol="tcp"))

        self.run(open_all)
        self.servers.append(server)

    def close_servers(self) -> None:
        """Close what `serve` opened."""

        async def close_all() -> None:
            for server in self.servers:
                server.close()

        self.run(close_all)
        self.servers.clear()

    def udp(self, message: dns.message.Message, where: str = POD) -> dns.message.Message:
        """Ask from inside the pod's netns by UDP."""
        return netns.call_in(self.pod, dns.query.udp, message, where, 5.0)

    def tcp(self, message: dns.message.Message, where: str = POD) -> dns.message.Message:
        """Ask from inside the pod's netns by TCP."""
        return netns.call_in(self.pod, dns.query.tcp, message, where, 5.0)

    def command(self, *argv: str, context: Context | None = None) -> str:
        """Run a program in the pod's netns and return what it prints."""
        done = processes.run(argv, context=context or Context(self.pod), timeout=20.0)
        return done.stdout


@contextlib.contextmanager
def room(suffix: str) -> Iterator[Room]:
    """Build a room, and leave nothing of it."""
    pod, internet = f"t-dns-{os.getpid()}-{suffix}-pod", f"t-dns-{os.getpid()}-{suffix}-net"
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    built = Room(pod, internet, loop)
    try:
        _build(pod, internet)
        yield built
        built.close_servers()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
        netns.delete(pod)
        netns.delete(internet)
        netns.remove_folder_if_empty()


def _build(pod: str, internet: str) -> None:
    netns.prepare_folder()
    for name in (pod, internet):
        netns.in_thread(netns.create_here, name)
        _ip(name, "link set lo up")
    _ip(pod, f"link add eth0 type veth peer name eth0 netns {internet}")
    _ip(pod, f"address add {POD}/24 dev eth0")
    _ip(pod, f"address add {POD6}/64 dev eth0 nodad")
    _ip(internet, f"address add {INTERNET}/24 dev eth0")
    for name in (pod, internet):
        _ip(name, "link set eth0 up")
    _ip(pod, "route add default dev eth0")
    _ip(internet, "route add default dev eth0")


def _ip(name: str, command: str) -> None:
    done = processes.run(["ip", *command.split()], context=Context(name))
    assert (done.returncode, done.stderr) == (0, "")
