"""The built-in servers of a lab: opened inside their netns, served by the one loop.

    converge(specs)   close what is not wanted any more, open what is missing, and let what stays
                      answer by its new spec; a change of one touches nobody else's connections

An open socket keeps its netns alive, also after the netns has lost its name. A pod that is made
anew has a netns of the same name and another inode, and so its sockets are opened afresh.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from kns.agent.serve.api_sockets import APISockets
from kns.agent.serve.name_servers import NameServers
from kns.agent.serve.server import Inode, Server
from kns.agent.serve.server_logs import ServerLogs
from kns.compile.listeners import (
    Identity,
    KubeAPIServer,
    Listener,
    ListenSocket,
    NameServer,
    Subject,
)
from kns.engine.orders import Failure
from kns.errors import PlatformError
from kns.kernel import netns, sockets
from kns.kinds.common import Protocol

#: namespace, pod and name of a container
ContainerKey = tuple[str, str, str]
#: seconds between two looks at whether the last connection has ended
DRAIN_INTERVAL = 0.02


@dataclass(frozen=True, slots=True)
class _Opened:
    spec: Listener
    inode: Inode
    sock: socket.socket


class Listeners:
    """Every built-in server that is open. `etc_of` tells a folder of pod files by its name."""

    def __init__(
        self,
        worker: Executor,
        etc_of: Callable[[str], Path | None],
        name_servers: NameServers,
        api: APISockets | None = None,
    ) -> None:
        self._worker = worker
        self._etc_of = etc_of
        self._name_servers = name_servers
        self._api = api or APISockets()
        self._open: dict[ListenSocket, Server] = {}
        #: containers that have ended and are not started again yet
        self._ended: set[ContainerKey] = set()
        self._specs: tuple[Listener, ...] = ()
        #: what the servers have answered lately
        self.logs = ServerLogs()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def digests(self) -> dict[str, str]:
        """Each socket that is open, or that its container opens when it begins again.

        With the digest of what it answers.
        """
        waiting = [spec for spec in self._specs if container_of(spec.subject) in self._ended]
        opened = (server.spec for server in self._open.values())
        return {str(spec.socket): spec.digest for spec in (*opened, *waiting)}

    @property
    def ended(self) -> tuple[ContainerKey, ...]:
        """The containers that have ended and are not started again yet."""
        return tuple(sorted(self._ended))

    async def close_others(self, specs: Sequence[Listener]) -> None:
        """Close every server that `specs` doesn't hold, or whose netns is another one now."""
        wanted = {spec.socket: spec for spec in specs}
        loop = asyncio.get_running_loop()
        found = {where.netns for where in self._open}
        inodes = await loop.run_in_executor(self._worker, _inodes, found)
        for where, server in list(self._open.items()):
            spec = wanted.get(where)
            stays = spec is server.spec or (
                spec is not None and _speaks_the_same(spec.subject, server.spec.subject)
            )
            if not stays or inodes[where.netns] != server.inode:
                server.close()
                del self._open[where]
        known = set(map(id, specs))
        if any(id(spec) not in known for spec in self._specs):
            self.logs.forget({str(spec.subject) for spec in specs})

    async def end(self, who: ContainerKey, grace: float) -> bool:
        """Close a container's sockets; its connections have `grace` seconds to end by themselves.

        True if they did. Until `begin` nothing of it is opened again.
        """
        self._ended.add(who)
        servers = [
            self._open.pop(where)
            for where, server in list(self._open.items())
            if container_of(server.spec.subject) == who
        ]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        for server in servers:
            server.drain()
        while grace > 0 and loop.time() < deadline and not all(s.is_drained for s in servers):
            await asyncio.sleep(DRAIN_INTERVAL)
        in_time = all(server.is_drained for server in servers)
        for server in servers:
            server.close()
        return in_time

    def has_ended(self, who: ContainerKey) -> bool:
        """Whether a container's sockets are closed until it begins again."""
        return who in self._ended

    async def begin(self, who: ContainerKey) -> tuple[Failure, ...]:
        """Open a container's sockets again."""
        self._ended.discard(who)
        own = [spec for spec in self._specs if container_of(spec.subject) == who]
        return await self._open_all(own)

    async def open_missing(self, specs: Sequence[Listener]) -> tuple[Failure, ...]:
        """Open what is not open yet. When this returns, all but the failed ones listen.

        What has ended under a container stays closed until it begins again.
        """
        self._specs = tuple(specs)
        if self._ended:
            self._ended &= {container_of(spec.subject) for spec in specs}
            specs = [spec for spec in specs if container_of(spec.subject) not in self._ended]
        return await self._open_all(specs)

    async def _open_all(self, specs: Sequence[Listener]) -> tuple[Failure, ...]:
        missing: dict[ListenSocket, Listener] = {}
        failures: list[Failure] = []
        seen: dict[ListenSocket, Listener] = {}
        for spec in specs:
            first = seen.setdefault(spec.socket, spec)
            if first is not spec:
                failures.append(_taken(spec, first))
            elif (server := self._open.get(spec.socket)) is not None:
                server.spec = spec
            else:
                missing[spec.socket] = spec
        loop = asyncio.get_running_loop()
        opened, refused = await loop.run_in_executor(
            self._worker, open_sockets, tuple(missing.values())
        )
        for item in opened:
            server = Server(
                item.spec,
                item.inode,
                self._etc_of,
                self._name_servers,
                logs=self.logs,
                api=self._api,
            )
            await server.start(item.sock)
            self._open[item.spec.socket] = server
        return (*failures, *refused)

    def close(self) -> None:
        """Close every server."""
        for server in self._open.values():
            server.close()
        self._open.clear()


def container_of(subject: Subject) -> ContainerKey:
    """Whose server it is; one of no container has an empty key."""
    if isinstance(subject, Identity) and subject.pod:
        return subject.namespace, subject.pod, subject.container
    return "", "", ""


def open_sockets(
    specs: Sequence[Listener],
) -> tuple[tuple[_Opened, ...], tuple[Failure, ...]]:
    """Open the sockets of many netns: each netns is entered once. Worker threads only."""
    opened: list[_Opened] = []
    failures: list[Failure] = []
    for name, group in itertools.groupby(specs, key=lambda spec: spec.socket.netns):
        inside = tuple(group)
        try:
            with netns.entered(name):
                inode = netns.identity(name)
                for spec in inside:
                    try:
                        sock = _open_here(spec.socket)
                    except OSError as error:
                        failures.append(_failure(spec, error))
                    else:
                        opened.append(_Opened(spec, inode or (0, 0), sock))
        except (OSError, PlatformError) as error:
            failures.extend(Failure(str(spec), str(error)) for spec in inside)
    return tuple(opened), tuple(failures)


def _open_here(where: ListenSocket) -> socket.socket:
    return sockets.open_here(where.address, where.port, protocol=where.protocol.lower())


def _inodes(found: Iterable[str]) -> dict[str, Inode | None]:
    return {name: netns.identity(name) for name in found}


def _speaks_the_same(one: Subject, other: Subject) -> bool:
    """DNS, the API or neither is decided when the socket is opened; the rest may change later."""
    return all(
        isinstance(one, kind) is isinstance(other, kind) for kind in (NameServer, KubeAPIServer)
    )


def _taken(spec: Listener, holder: Listener) -> Failure:
    """In a node's netns, which pods of the host network share, it may be anybody's."""
    one, two = spec.subject, holder.subject
    if (
        isinstance(one, Identity)
        and isinstance(two, Identity)
        and (one.namespace, one.pod) == (two.namespace, two.pod)
    ):
        return Failure(str(spec), "another container of the pod serves this port already")
    return Failure(str(spec), "another server listens on this port already")


def _failure(spec: Listener, error: OSError) -> Failure:
    subject = str(spec)
    if spec.socket.protocol is Protocol.SCTP and error.errno == errno.EPROTONOSUPPORT:
        return Failure(subject, "this kernel has no SCTP", hint="modprobe sctp")
    hint = ""
    if error.errno == errno.EADDRINUSE:
        port = spec.socket.port
        hint = f"ip netns exec {spec.socket.netns} ss -lntup sport = :{port} shows who listens"
    if error.errno == errno.EMFILE:
        hint = "raise the limit of open files (ulimit -n) and run kns up again"
    return Failure(subject, os.strerror(error.errno or 0).lower(), hint)
