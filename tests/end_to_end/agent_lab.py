"""A lab for the agent's tests: netns joined by hand, and an agent that is told what to serve."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from kns.addresses import IPFamily
from kns.agent.agent import Agent
from kns.cluster.model import Cluster, Network
from kns.compile.paths import LabPaths
from kns.kernel import netns, sockets
from kns.kinds.common import Protocol
from kns.kinds.pod import Container, ContainerPort, Pod


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@dataclass
class ScratchLab:
    """Netns named as kns names them, which the owner must remove at the end."""

    name: str
    cluster: Cluster
    made: list[str] = field(default_factory=list)

    @property
    def paths(self) -> LabPaths:
        return LabPaths(self.name)

    def netns_of(self, pod: str) -> str:
        return f"kns.{self.name}.{pod}"

    def make_netns(self, pod: str) -> str:
        name = self.netns_of(pod)
        ip("netns", "add", name)
        if name not in self.made:
            self.made.append(name)
        ip("-n", name, "link", "set", "lo", "up")
        return name

    def delete_netns(self, pod: str) -> None:
        ip("netns", "del", self.netns_of(pod))

    def join(self, left: str, right: str, subnet: str = "10.77.0") -> None:
        """A veth between two pods' netns: .1 is the left one's, .2 and .3 are the right one's."""
        a, b = self.netns_of(left), self.netns_of(right)
        ip("-n", a, "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", b)
        for name, last in ((a, 1), (b, 2), (b, 3)):
            ip("-n", name, "address", "add", f"{subnet}.{last}/24", "dev", "eth0")
            ip("-n", name, "address", "add", f"fd77::{last}/64", "dev", "eth0", "nodad")
        for name in (a, b):
            ip("-n", name, "link", "set", "eth0", "up")

    def want(self, *pods: Pod) -> None:
        """What the next converge shall find in the lab file."""
        self.cluster = replace(self.cluster, pods=pods)

    def remove(self) -> None:
        for name in self.made:
            inode = netns.identity(name)
            for pid in _pids_in(inode[1]) if inode is not None else ():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[Agent]:
        """A running agent; at the end it is ended as by SIGTERM: its containers live on."""
        self.paths.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sock = sockets.listen_unix(self.paths.socket)
        agent = Agent(self.paths, lambda _paths: self.cluster)
        task = asyncio.create_task(agent.serve(sock))
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(60):
                yield agent
        finally:
            agent.end()
            await task


def empty_lab(name: str) -> ScratchLab:
    return ScratchLab(name, Cluster(name, Network((IPFamily.IPV4,), (), (), (), ()), ()))


def pod(name: str, *containers: Container, addresses: tuple[str, ...] = ("10.77.0.2",)) -> Pod:
    found = tuple(ip_address(address) for address in addresses)
    return Pod("default", name, "node1", found, containers=containers)


def server(*ports: int, name: str = "web", udp: int = 0) -> Container:
    found = [ContainerPort(port) for port in ports]
    found += [ContainerPort(udp, protocol=Protocol.UDP)] if udp else []
    return Container(name, tuple(found))


def _pids_in(inode: int) -> list[int]:
    from kns.kernel import processes

    return list(processes.in_netns({inode}))


async def inside(name: str, function: Callable[..., Any], *args: Any) -> Any:
    """Run a blocking client in a netns while the agent's loop goes on."""
    return await asyncio.to_thread(netns.call_in, name, function, *args)


def get(address: str, port: int, path: str) -> tuple[int, str]:
    """One HTTP request from wherever the calling thread is."""
    import http.client

    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def get_json(address: str, port: int, path: str = "/whoami") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(address, port, path)[1])
    return found


def ask_udp(address: str, port: int, message: str) -> str:
    """One UDP question; the socket is connected, so a reply from elsewhere is not heard."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((address, port))
        sock.send(message.encode())
        return sock.recv(65535).decode()


def refuses(address: str, port: int) -> bool:
    """True if nobody listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        return sock.connect_ex((address, port)) == 111


def read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
