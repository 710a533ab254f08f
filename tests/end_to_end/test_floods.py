"""Clients that send without end, or never read: bounded memory, and everybody else is served."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import pytest

from kns.agent.serve.dns import DNSServer
from kns.cluster.internet_dns import InternetZone
from kns.compile import paths
from tests.end_to_end.agent_lab import ScratchLab, empty_lab, get, inside, pod, server
from tests.end_to_end.dns_room import POD, Room, room

pytestmark = pytest.mark.kernel
NUMBERS = itertools.count()
#: what the agent may grow by while it is flooded with several times as much, in KiB
GROWTH_KB = 32 * 1024
FLOOD = 128 * 1024 * 1024
#: questions that a server's buffer surely holds, so that client and server seldom wait for a turn
AT_ONCE = 4
REQUEST = b"GET /hostname HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchLab]:
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    made = empty_lab(f"floods{os.getpid()}n{next(NUMBERS)}")
    yield made
    made.remove()


def resident_kb() -> int:
    """What the process that serves takes: here it is the test's own."""
    status = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])


def pushed(address: str, first: bytes, more: bytes) -> tuple[socket.socket, int]:
    """Send until nothing more is taken, at most FLOOD bytes: the open socket, and how many."""
    sock = socket.create_connection((address, 8080), timeout=5)
    sock.sendall(first)
    sock.settimeout(1)
    sent = 0
    while sent < FLOOD:
        try:
            sent += sock.send(more)
        except TimeoutError:
            break
    return sock, sent


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"GET /delay?ms=60000 HTTP/1.1\r\nHost: h\r\n\r\n", bytes(65536)),
        (b"", REQUEST * 2000),
        (b"GET /bytes?size=1000000000 HTTP/1.1\r\nHost: h\r\n\r\n", REQUEST * 2000),
    ],
    ids=["bytes behind a delayed answer", "requests without end", "an answer that nobody reads"],
)
def test_client_that_sends_without_reading_is_made_to_wait(
    lab: ScratchLab, first: bytes, more: bytes
) -> None:
    client, _server = lab.make_netns("a"), lab.make_netns("b")
    lab.join("a", "b")
    lab.want(pod("b", server(8080)))

    async def body() -> tuple[int, int, str]:
        async with lab.agent() as agent:
            await agent.converge()
            await inside(client, get, "10.77.0.2", 8080, "/hostname")
            before = resident_kb()
            sock, sent = await inside(client, pushed, "10.77.0.2", first, more)
            growth = resident_kb() - before
            _status, other = await inside(client, get, "10.77.0.2", 8080, "/hostname")
            sock.close()
            return sent, growth, other

    sent, growth, other = asyncio.run(body())
    assert sent < FLOOD
    assert growth < GROWTH_KB
    assert other == "b"


def test_client_that_sends_many_requests_at_once_waits_as_the_others_do(lab: ScratchLab) -> None:
    """The others have had their answers before it has had all of its own."""
    client, _server = lab.make_netns("a"), lab.make_netns("b")
    lab.join("a", "b")
    lab.want(pod("b", server(8080)))
    wanted = 5_000
    answered = 0

    def ask_all() -> None:
        nonlocal answered
        sock = socket.create_connection(("10.77.0.2", 8080), timeout=20)
        sender = threading.Thread(target=sock.sendall, args=(REQUEST * wanted,))
        sender.start()
        rest = b""
        while answered < wanted:
            rest += sock.recv(65536)
            answered += rest.count(b"HTTP/1.1 200")
            rest = rest[-11:]
        sender.join()
        sock.close()

    async def body() -> tuple[list[str], int, int]:
        async with lab.agent() as agent:
            await agent.converge()
            flood = asyncio.create_task(inside(client, ask_all))
            while answered == 0:
                await asyncio.sleep(0)
            others = [
                (await inside(client, get, "10.77.0.2", 8080, "/hostname"))[1] for _ in range(5)
            ]
            by_then = answered
            await flood
            return others, by_then, answered

    others, by_then, total = asyncio.run(body())
    assert others == ["b"] * 5
    assert 0 < by_then < wanted
    assert total == wanted


# -- DNS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dns_room() -> Iterator[Room]:
    with room("floods") as built:
        yield built


@pytest.fixture
def name_server(dns_room: Room) -> Iterator[None]:
    zones = (InternetZone({"www.example.com.": (ip_address("203.0.113.10"),)}),)
    dns_room.serve(DNSServer(lambda: zones), dns_room.pod, POD)
    yield
    dns_room.close_servers()


def padded(number: int) -> bytes:
    """A question that is 30 kB long."""
    option = dns.edns.GenericOption(dns.edns.OptionType.PADDING, bytes(30_000))
    message = dns.message.make_query(f"n{number}.example.com", "A", options=[option])
    return message.to_wire(max_size=65535)


def random_case(number: int) -> bytes:
    """A question for the same name, in letters of another case than before."""
    name = "".join(
        letter.upper() if number >> index & 1 else letter
        for index, letter in enumerate("www.example.com")
    )
    return dns.message.make_query(name, "A", use_edns=0, payload=1232 + number % 100).to_wire()


@pytest.mark.usefixtures("name_server")
@pytest.mark.parametrize(("question", "count"), [(padded, 3000), (random_case, 11_000)])
def test_questions_without_end_are_not_all_kept(
    dns_room: Room, question: Callable[[int], bytes], count: int
) -> None:
    from kns.kernel import netns

    sock = netns.call_in(dns_room.pod, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((POD, 53))
    sock.settimeout(5)
    before = resident_kb()
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        for number in numbers:
            sock.send(question(number))
        for _ in numbers:
            sock.recv(65535)
    growth = resident_kb() - before
    sock.close()
    assert growth < GROWTH_KB


@pytest.mark.usefixtures("name_server")
def test_questions_by_tcp_take_turns_with_the_others(dns_room: Room) -> None:
    from kns.kernel import netns

    wire = dns.message.make_query("www.example.com", "A").to_wire()
    wanted = 5_000
    answered = 0

    def ask_all() -> None:
        nonlocal answered
        sock = socket.create_connection((POD, 53), timeout=20)
        pieces = (struct.pack("!H", len(wire)) + wire) * wanted
        sender = threading.Thread(target=sock.sendall, args=(pieces,))
        sender.start()
        stream = sock.makefile("rb")
        while answered < wanted:
            (length,) = struct.unpack("!H", stream.read(2))
            stream.read(length)
            answered += 1
        sender.join()
        stream.close()
        sock.close()

    flood = threading.Thread(target=netns.call_in, args=(dns_room.pod, ask_all))
    flood.start()
    while answered == 0 and flood.is_alive():
        pass
    query = dns.message.make_query("www.example.com", "A")
    for _ in range(5):
        assert dns_room.udp(query).answer
    by_then = answered
    flood.join(60)
    assert 0 < by_then < wanted
    assert answered == wanted
