"""The load client against servers that fail in each way, on the loopback."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

import pytest

from kns.probe.load.client import LoadClient
from kns.probe.load.connections import Connections
from kns.probe.load.datagrams import DatagramFlow
from kns.probe.load.held import HeldConnection
from kns.probe.load.model import Break, BreakCause, Cause, Exchange, Kind, Load, Told, read
from kns.probe.load.pace import OpenLoop, precise_loop

HERE = "127.0.0.1"
BODY = json.dumps({"pod": "web-1", "client_address": HERE, "server_address": HERE})
ANSWER = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}".encode()

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(what: Callable[[], Coroutine[object, None, None]]) -> None:
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(what())


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def served(answer: Serve) -> AsyncIterator[int]:
    """A server that deals with each connection so; its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await answer(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, HERE, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.01)


async def well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        if b"Connection: close" in request:
            writer.close()
            return


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((HERE, 0))
        number: int = sock.getsockname()[1]
        return number


# -- new connections -------------------------------------------------------------------------------


def one_connection(answer: Serve) -> Exchange:
    told: list[Exchange] = []

    async def body() -> None:
        async with served(answer) as port:
            connections = Connections(Load(HERE, port, timeout=0.3), told.append)
            connections.send(asyncio.get_running_loop().time())
            await connections.drained()

    run(body)
    (exchange,) = told
    return exchange


def test_an_answer_names_who_gave_it() -> None:
    exchange = one_connection(well)
    assert (exchange.cause, exchange.backend, exchange.client) == (None, "web-1", HERE)


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    reset(writer)


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER[:-1])
    writer.close()


async def is_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def has_no_backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (resets, Cause.RESET),
        (closes, Cause.CLOSED),
        (is_silent, Cause.TIMEOUT),
        (has_no_backend, Cause.WRONG),
    ],
)
def test_failures_are_told_apart(answer: Serve, cause: Cause) -> None:
    assert one_connection(answer).cause is cause


def test_a_closed_port_refuses() -> None:
    told: list[Exchange] = []

    async def body() -> None:
        load = Load(HERE, free_port(socket.SOCK_STREAM))
        connections = Connections(load, told.append)
        connections.send(asyncio.get_running_loop().time())
        await connections.drained()

    run(body)
    assert [item.cause for item in told] == [Cause.REFUSED]


# -- held connections ------------------------------------------------------------------------------


def held(answer: Serve, patience: float = 15.0) -> list[Told]:
    """What a held connection tells until it has been answered again after a break."""
    told: list[Told] = []

    async def body() -> None:
        def is_well_again() -> bool:
            broken = [n for n, item in enumerate(told) if isinstance(item, Break)]
            return bool(broken) and any(
                isinstance(item, Exchange) and item.answered for item in told[broken[0] :]
            )

        async with served(answer) as port:
            load = Load(HERE, port, timeout=patience, silence=patience)
            connection = HeldConnection(load, 4, told.append)
            pace = OpenLoop(asyncio.get_running_loop().time(), 0.02, connection.beat)
            await until(is_well_again)
            pace.stop()
            connection.close()

    run(body)
    return told


def after_two(ending: Callable[[asyncio.StreamWriter], object]) -> Serve:
    """The first connection ends after two answers; the next ones are well."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count > 1:
            await well(reader, writer)
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
        await reader.readuntil(b"\r\n\r\n")
        ending(writer)
        await reader.read()

    return serve


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        (reset, BreakCause.RESET),
        (lambda writer: writer.close(), BreakCause.CLOSED),
        (lambda _writer: None, BreakCause.SILENCE),
    ],
)
def test_a_held_connection_tells_how_it_broke_and_is_opened_again(
    ending: Callable[[asyncio.StreamWriter], object], how: BreakCause
) -> None:
    told = held(after_two(ending), 1.0 if how is BreakCause.SILENCE else 15.0)
    broken = next(item for item in told if isinstance(item, Break))
    assert (broken.how, broken.backend, broken.stream) == (how, "web-1", 4)
    assert broken.opened <= broken.heard <= broken.ended
    before = told[: told.index(broken)]
    assert [isinstance(i, Exchange) and i.answered for i in before] == [True, True]
    lost = [item for item in told if isinstance(item, Exchange) and not item.answered]
    assert lost
    causes = {BreakCause.RESET: Cause.RESET, BreakCause.CLOSED: Cause.CLOSED}
    assert {item.cause for item in lost} == {causes.get(how, Cause.TIMEOUT)}


def test_every_heartbeat_has_its_fate() -> None:
    """None is told twice, none forgotten, whatever the connection goes through."""
    told = [item for item in held(after_two(reset)) if isinstance(item, Exchange)]
    planned = [item.planned for item in told]
    assert len(planned) == len(set(planned))
    gaps = {round(b - a, 3) for a, b in zip(sorted(planned), sorted(planned)[1:], strict=False)}
    assert gaps == {0.02}


# -- datagrams -------------------------------------------------------------------------------------


def flow(reply: Callable[[bytes], bytes | None] | None, sent: int = 3) -> list[Exchange]:
    """What a flow tells of its datagrams; `reply` None: nobody listens."""
    told: list[Exchange] = []
    clients: set[object] = set()

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            clients.add(addr)
            answer = None if reply is None else reply(data)
            if answer is not None:
                self.transport.sendto(answer, addr)  # type: ignore[attr-defined]

    async def body() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Server, (HERE, 0))
        port: int = transport.get_extra_info("sockname")[1]
        if reply is None:
            transport.close()
            await asyncio.sleep(0.01)
        one = DatagramFlow(Load(HERE, udp_port=port, timeout=0.2), Kind.FLOW, 1, told.append)
        for number in range(sent):
            one.send(loop.time())
            await until(lambda number=number: len(told) > number)  # type: ignore[misc]
        one.close()
        transport.close()
        await asyncio.sleep(0.01)

    run(body)
    assert len(clients) <= 1  # one source port
    return told


def test_a_flow_is_answered_datagram_by_datagram() -> None:
    def reply(data: bytes) -> bytes:
        message = data.decode().removeprefix("whoami ")
        return json.dumps({**json.loads(BODY), "message": message}).encode()

    assert [(item.cause, item.backend) for item in flow(reply)] == [(None, "web-1")] * 3


def test_a_reply_to_another_datagram_does_not_count() -> None:
    reply = json.dumps({**json.loads(BODY), "message": "99"}).encode()
    assert [item.cause for item in flow(lambda _data: reply)] == [Cause.TIMEOUT] * 3


def test_a_port_that_nobody_listens_on_refuses() -> None:
    assert {item.cause for item in flow(None)} == {Cause.REFUSED}


# -- all together ----------------------------------------------------------------------------------


def test_the_client_sends_all_kinds_side_by_side() -> None:
    output = io.StringIO()

    async def body() -> None:
        async with served(well) as port:
            load = Load(HERE, port, free_port(socket.SOCK_DGRAM), held=2, flows=2, timeout=0.3)
            over = asyncio.Event()
            asyncio.get_running_loop().call_later(0.5, over.set)
            await LoadClient(load, output).run(over)

    run(body)
    told = list(read(output.getvalue()))
    exchanges = [item for item in told if isinstance(item, Exchange)]
    assert {item.kind for item in exchanges} == set(Kind)
    assert {i.stream for i in exchanges if i.kind is Kind.HELD} == {0, 1}
    tcp = [i for i in exchanges if i.kind in (Kind.CONNECTION, Kind.HELD)]
    assert {item.cause for item in tcp} == {None}
    assert [item for item in told if isinstance(item, Break)] == []


def test_a_pace_calls_for_what_is_overdue_with_the_times_at_which_it_was_due() -> None:
    calls: list[float] = []

    async def body() -> None:
        start = asyncio.get_running_loop().time() - 1.0
        OpenLoop(start, 0.25, lambda planned: calls.append(planned - start), count=4)
        await until(lambda: len(calls) == 4)
        await asyncio.sleep(0.01)

    run(body)
    assert [round(call, 6) for call in calls] == [0.0, 0.25, 0.5, 0.75]
