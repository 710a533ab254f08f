"""Connections into a pod: what becomes of a session when one of its streams ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, web

from kns.agent.api import portforward
from kns.agent.api.places import ContainerPlace
from kns.agent.api.spdy import SPDYWriter
from kns.kernel.processes import Context
from tests.agent.api.test_spdy import Client

data = SPDYWriter().data
PLACE = ContainerPlace("default/web", "main", "none", (), Context("none"), Path("/dev/null"))


def in_session(
    monkeypatch: pytest.MonkeyPatch, body: Callable[[ClientWebSocketResponse], Awaitable[None]]
) -> None:
    """Run `body` as a client; port 1 of the pod refuses, what listens on 2 echoes until `bye`."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (said := await reader.read(1 << 16)) and b"bye" not in said:
            writer.write(said)
        writer.close()

    async def run() -> None:
        echoing = await asyncio.start_server(echo, "127.0.0.1", 0)

        def dial(_name: str, _addresses: Sequence[str], port: int) -> socket.socket:
            if port == 1:
                raise ConnectionRefusedError(111, "Connection refused")
            sock = socket.create_connection(echoing.sockets[0].getsockname())
            sock.setblocking(False)
            return sock

        monkeypatch.setattr(portforward, "_dial", dial)
        app = web.Application()
        worker = ThreadPoolExecutor(1)

        async def serve(request: web.Request) -> web.StreamResponse:
            return await portforward.serve(request, PLACE, worker)

        app.router.add_get("/", serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            async with ClientSession() as session, session.ws_connect(url) as ws, echoing:
                async with asyncio.timeout(20):
                    await body(ws)
        finally:
            await runner.cleanup()
            worker.shutdown()

    asyncio.run(run())


async def opened(ws: ClientWebSocketResponse, client: Client, stream: int, port: int) -> None:
    for kind, number in (("error", stream), ("data", stream + 2)):
        frame = client.open(number, streamtype=kind, port=str(port), requestid=str(stream))
        await ws.send_bytes(frame)


async def until(ws: ClientWebSocketResponse, frame: bytes) -> None:
    while await ws.receive_bytes() != frame:
        pass


RESET = bytes.fromhex("8003000300000008")


@pytest.mark.parametrize(("port", "word"), [(1, b"x"), (2, b"bye")])
def test_an_ended_stream_keeps_no_other_one_waiting(
    monkeypatch: pytest.MonkeyPatch, port: int, word: bytes
) -> None:
    """More than waits in line for a pod, sent into a stream whose pod takes no more."""

    async def body(ws: ClientWebSocketResponse) -> None:
        client = Client()
        await opened(ws, client, 1, port)
        for _ in range(200):
            await ws.send_bytes(data(3, word))
        await until(ws, data(3, b"", is_last=True))
        await opened(ws, client, 5, 2)
        await ws.send_bytes(data(7, b"hello"))
        await until(ws, data(7, b"hello"))
        await ws.send_bytes(data(3, word))
        await until(ws, RESET + (3).to_bytes(4) + (5).to_bytes(4))

    in_session(monkeypatch, body)


def test_a_reset_of_the_error_stream_ends_the_data_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(ws: ClientWebSocketResponse) -> None:
        client = Client()
        await opened(ws, client, 1, 2)
        await ws.send_bytes(data(3, b"hello"))
        await until(ws, data(3, b"hello"))
        await ws.send_bytes(RESET + (1).to_bytes(4) + (5).to_bytes(4))
        for _ in range(200):
            await ws.send_bytes(data(3, b"x"))
        await opened(ws, client, 5, 2)
        await ws.send_bytes(data(7, b"hello"))
        await until(ws, data(7, b"hello"))

    in_session(monkeypatch, body)
