"""`kubectl port-forward`: connections into a pod, through a WebSocket.

Of each connection the client opens two streams with the same requestid: one for errors, one for
data. The connection is made in the pod's netns, to its loopback, as a kubelet does it.

Source: k8s.io/kubelet/pkg/cri/streaming/portforward.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from kns.agent.api.places import ContainerPlace
from kns.agent.api.spdy import Opened, Received, Reset, SPDYError, SPDYPing, SPDYReader, SPDYWriter
from kns.kernel import netns

PROTOCOL = "SPDY/3.1+portforward.k8s.io"
_PIECE = 1 << 16


@dataclass(slots=True)
class _Forwarded:
    """One connection: its two streams, and what the client has sent already."""

    port: int
    error_stream: int = 0
    data_stream: int = 0
    inbox: asyncio.Queue[Received] = field(default_factory=lambda: asyncio.Queue(64))
    task: asyncio.Task[None] | None = None
    #: nobody takes what comes any more
    is_over: bool = False

    async def put(self, received: Received) -> None:
        """Wait for room, unless nobody takes it: the session has one reader for all streams."""
        if not self.is_over:
            await self.inbox.put(received)

    def end(self) -> None:
        """Drop what has come and comes, and let go a `put` that waits."""
        self.is_over = True
        while not self.inbox.empty():
            self.inbox.get_nowait()


class _Session:
    def __init__(self, ws: web.WebSocketResponse, place: ContainerPlace, worker: Executor) -> None:
        self._ws, self._place, self._worker = ws, place, worker
        self._reader, self._writer = SPDYReader(), SPDYWriter()
        self._by_request: dict[str, _Forwarded] = {}
        self._by_stream: dict[int, _Forwarded] = {}

    async def run(self) -> None:
        try:
            async for message in self._ws:
                if message.type is not WSMsgType.BINARY:
                    break
                for event in self._reader.feed(message.data):
                    await self._on_event(event)
        except (SPDYError, ConnectionError):
            pass
        finally:
            tasks = [item.task for item in self._by_request.values() if item.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _on_event(self, event: Opened | Received | Reset | SPDYPing) -> None:
        match event:
            case Opened():
                await self._open(event)
            case Received():
                await self._take(event)
            case Reset():
                found = self._by_stream.pop(event.stream, None)
                if found is not None and found.task is not None:
                    found.task.cancel()
            case SPDYPing():
                await self._ws.send_bytes(event.frame)

    async def _take(self, event: Received) -> None:
        found = self._by_stream.get(event.stream)
        if found is None and event.data:
            await self._ws.send_bytes(self._writer.reset(event.stream))
        elif found is not None and event.stream == found.data_stream:
            await found.put(event)

    async def _open(self, event: Opened) -> None:
        headers = {key.lower(): value for key, value in event.headers.items()}
        port = headers.get("port", "")
        if not port.isdecimal() or not 0 < int(port) < 65536:
            await self._ws.send_bytes(self._writer.reset(event.stream))
            return
        request = headers.get("requestid", str(event.stream))
        found = self._by_request.setdefault(request, _Forwarded(int(port)))
        self._by_stream[event.stream] = found
        if headers.get("streamtype") == "error":
            found.error_stream = event.stream
        else:
            found.data_stream = event.stream
        await self._ws.send_bytes(self._writer.reply(event.stream))
        if found.error_stream and found.data_stream and found.task is None:
            found.task = asyncio.create_task(self._forward(request, found))

    async def _forward(self, request: str, found: _Forwarded) -> None:
        """Carry one connection until the pod's side has ended."""
        try:
            await self._connect_and_carry(found)
        finally:
            for stream in (found.data_stream, found.error_stream):
                self._by_stream.pop(stream, None)
            self._by_request.pop(request, None)
            found.end()

    async def _connect_and_carry(self, found: _Forwarded) -> None:
        trouble = ""
        try:
            sock = await asyncio.get_running_loop().run_in_executor(
                self._worker, _dial, self._place.netns, self._place.addresses, found.port
            )
            reader, writer = await asyncio.open_connection(sock=sock)
        except OSError as error:
            trouble = (
                f"error forwarding port {found.port} to pod {self._place.name}: failed to connect "
                f"to localhost:{found.port} inside its network namespace: {error.strerror}"
            )
        else:
            await self._carry(found, reader, writer)
        with contextlib.suppress(ConnectionError):
            await self._send(found.data_stream, b"", is_last=True)
            await self._send(found.error_stream, trouble.encode(), is_last=True)

    async def _carry(
        self, found: _Forwarded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        sending = asyncio.create_task(_to_pod(found, writer))
        try:
            with contextlib.suppress(OSError):
                while piece := await reader.read(_PIECE):
                    await self._send(found.data_stream, piece)
        finally:
            found.end()
            sending.cancel()
            writer.close()

    async def _send(self, stream: int, data: bytes, *, is_last: bool = False) -> None:
        await self._ws.send_bytes(self._writer.data(stream, data, is_last=is_last))


async def _to_pod(found: _Forwarded, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while True:
            received = await found.inbox.get()
            writer.write(received.data)
            await writer.drain()
            if received.is_last:
                writer.write_eof()
                break
    found.end()


def _dial(name: str, addresses: Sequence[str], port: int) -> socket.socket:
    """A connection inside a netns: to the loopback, or else to the pod's own addresses."""
    return netns.call_in(name, _connect, ("127.0.0.1", "::1", *addresses), port)


def _connect(addresses: Sequence[str], port: int) -> socket.socket:
    trouble: OSError = OSError("no address")
    for address in addresses:
        try:
            sock = socket.create_connection((address, port), timeout=2.0)
        except OSError as error:
            trouble = trouble if trouble.errno else error
        else:
            sock.setblocking(False)
            return sock
    raise trouble


async def serve(
    request: web.Request, place: ContainerPlace, worker: Executor
) -> web.StreamResponse:
    """Forward connections into the pod until the client goes."""
    ws = web.WebSocketResponse(protocols=(PROTOCOL,), heartbeat=30.0)
    await ws.prepare(request)
    await _Session(ws, place, worker).run()
    return ws
