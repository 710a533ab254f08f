"""One open socket of a built-in server, with the connections that came in by it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from kns.agent.serve import netexec, proxy_health
from kns.agent.serve.api_sockets import APISocket, APISockets
from kns.agent.serve.datagrams import DatagramServer, MessageConnection
from kns.agent.serve.messages import Peer, Request, Response
from kns.agent.serve.name_servers import LateServer, NameServers
from kns.agent.serve.server_logs import ServerLogs
from kns.cluster.environment import Variables
from kns.compile.listeners import (
    Identity,
    KubeAPIServer,
    Listener,
    NameServer,
    ProxyHealth,
    ServiceHealth,
)
from kns.engine import environment
from kns.kernel import sockets
from kns.kinds.common import Protocol

if TYPE_CHECKING:
    from kns.agent.serve.http_server import HTTPConnection

#: device and inode of a netns
Inode = tuple[int, int]


@dataclass(slots=True, eq=False)
class Server:
    """Serves one socket. `spec` may be replaced at any time; its socket stays what it is.

    `etc_of` tells the folder of a pod's files by its name, `inode` the netns in which the socket
    was opened.
    """

    spec: Listener
    inode: Inode
    etc_of: Callable[[str], Path | None]
    name_servers: NameServers
    logs: ServerLogs = field(default_factory=ServerLogs)
    api: APISockets = field(default_factory=APISockets)
    acceptor: asyncio.Server | DatagramServer | LateServer | APISocket | None = None
    connections: set[HTTPConnection] = field(default_factory=set)
    messages: set[MessageConnection] = field(default_factory=set)

    async def start(self, sock: socket.socket) -> None:
        """Serve on the socket from the running loop."""
        loop = asyncio.get_running_loop()
        where, subject = self.spec.socket, self.spec.subject
        if isinstance(subject, NameServer):
            self.acceptor = self.name_servers.listen(
                subject.kind, where.netns, sock, where.protocol
            )
            return
        if isinstance(subject, KubeAPIServer):
            self.acceptor = self.api.listen(sock)
            return
        match where.protocol:
            case Protocol.TCP:
                self.acceptor = await loop.create_server(
                    self._http_connection, sock=sock, backlog=sockets.BACKLOG
                )
            case Protocol.SCTP:
                self.acceptor = await loop.create_server(
                    self._message_connection, sock=sock, backlog=sockets.BACKLOG
                )
            case Protocol.UDP:
                self.acceptor = DatagramServer(sock, self.reply)
            case _:
                assert_never(where.protocol)

    def close(self) -> None:
        """Close the socket and its connections, as the end of a container does."""
        self._close_socket()
        for connection in tuple(self.connections):
            connection.abort()
        for association in tuple(self.messages):
            association.abort()

    def drain(self) -> None:
        """Close the socket; connections end when what was asked on them is answered."""
        self._close_socket()
        for connection in tuple(self.connections):
            connection.drain()

    def _close_socket(self) -> None:
        """Once: of a socket that is closed already the event loop knows nothing."""
        acceptor, self.acceptor = self.acceptor, None
        if acceptor is not None:
            acceptor.close()

    @property
    def is_drained(self) -> bool:
        """Whether the last connection has ended."""
        return not self.connections and not self.messages

    def answer(self, request: Request, peer: Peer) -> Response:
        """The answer to an HTTP request, by the spec of this moment."""
        subject = self.spec.subject
        match subject:
            case Identity():
                response = netexec.answer(subject, request, peer, self._environment)
                line = f"{peer.client} {request.method} {request.target} {response.status}"
                self.logs.note(str(subject), line)
                return response
            case ServiceHealth():
                return proxy_health.answer_service(subject)
            case ProxyHealth():
                return proxy_health.answer_proxy(request)
            case NameServer() | KubeAPIServer():
                return Response("who answers here has a server of its own", 400)
            case _:
                assert_never(subject)

    def reply(self, message: bytes, peer: Peer) -> bytes | None:
        """The reply to a UDP or SCTP message, if there is one."""
        subject = self.spec.subject
        if not isinstance(subject, Identity):
            return None
        return netexec.answer_datagram(subject, message, peer)

    def _environment(self) -> Variables:
        who = self.spec.subject
        if not isinstance(who, Identity):
            return ()
        files = self.etc_of(who.etc or self.spec.socket.netns)
        services = environment.read_service_variables(files)
        return environment.of_container(services, who.env, hostname=who.hostname)

    def _http_connection(self) -> HTTPConnection:
        # the servers are up before h11 is imported: `up` waits for them
        from kns.agent.serve.http_server import HTTPConnection

        return HTTPConnection(self.answer, self.connections)

    def _message_connection(self) -> MessageConnection:
        return MessageConnection(self.reply, self.messages)
