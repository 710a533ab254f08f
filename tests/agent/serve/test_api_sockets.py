"""The sockets of the API: none keeps another from being served."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from kns.agent.serve.api_sockets import APISocket, APISockets
from kns.errors import PlatformError


@pytest.fixture
def listening() -> Iterator[tuple[socket.socket, ...]]:
    found = tuple(socket.create_server(("127.0.0.1", 0)) for _ in range(3))
    yield found
    for item in found:
        item.close()


async def accept(sock: socket.socket) -> asyncio.Server:
    return await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=sock)


def test_a_socket_that_is_closed_while_it_begins_stops_no_other(
    listening: tuple[socket.socket, ...],
) -> None:
    """As `up` closes a node's while openssl makes the certificate."""

    async def run() -> list[bool]:
        sockets = APISockets()
        items = [sockets.listen(item) for item in listening]

        async def serve(sock: socket.socket, _trusted: bool) -> asyncio.Server:  # noqa: FBT001
            if sock is listening[1]:
                items[1].close()
            return await accept(sock)

        await sockets.serve_by(serve)
        served = [item.acceptor is not None for item in items]
        sockets.close()
        return served

    assert asyncio.run(run()) == [True, False, True]


@pytest.mark.parametrize("error", [PlatformError("no openssl"), OSError(28, "disk full")])
def test_a_socket_that_cant_be_served_stops_no_other(
    listening: tuple[socket.socket, ...], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> list[APISocket]:
        sockets = APISockets()
        items = [sockets.listen(item) for item in listening]

        async def serve(sock: socket.socket, _trusted: bool) -> asyncio.Server:  # noqa: FBT001
            if sock is listening[0]:
                raise error
            return await accept(sock)

        await sockets.serve_by(serve)
        sockets.close()
        return items

    assert [item.acceptor is not None for item in asyncio.run(run())] == [False, True, True]
    assert str(error) in caplog.text


def test_sockets_begin_one_after_the_other(listening: tuple[socket.socket, ...]) -> None:
    """Those that come while the first is served don't make a second certificate."""
    at_once, most = 0, 0

    async def serve(sock: socket.socket, _trusted: bool) -> asyncio.Server:  # noqa: FBT001
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return await accept(sock)

    async def run() -> None:
        sockets = APISockets()
        sockets.listen(listening[0])
        serving = asyncio.create_task(sockets.serve_by(serve))
        await asyncio.sleep(0)
        items = [sockets.listen(item) for item in listening[1:]]
        await serving
        while not all(item.acceptor is not None for item in items):
            await asyncio.sleep(0.01)
        sockets.close()

    asyncio.run(run())
    assert most == 1
