"""The HTTP front end against clients of every kind, over socket pairs."""

from __future__ import annotations

import asyncio
import re

import pytest

from kns.agent.serve import http_server
from kns.agent.serve.messages import Peer, Request, Response
from tests.agent.conversation import Client, Reply, converse


def page(request: Request, _peer: Peer) -> Response:
    """Tells what was asked, so that a test sees what the server understood."""
    match request.path:
        case "/fail":
            msg = "a bug"
            raise RuntimeError(msg)
        case "/filler":
            return Response("head:", filler=int(request.values["n"]))
        case "/late":
            return Response("late", delay=0.05)
        case "/none":
            return Response("this must not be sent", status=204)
        case _:
            return Response(f"{request.method} {request.path} {dict(request.values)}")


def test_request_is_answered_with_date_type_and_length() -> None:
    async def talk(client: Client) -> Reply:
        return await client.ask("GET /a%20b?x=1&y= HTTP/1.1\nHost: h")

    reply: Reply = converse(page, talk)
    assert (reply.status, reply.body) == (200, b"GET /a b {'x': '1', 'y': ''}")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", reply.headers["date"])


def test_connection_is_kept_for_further_requests() -> None:
    async def talk(client: Client) -> list[bytes]:
        return [(await client.ask(f"GET /{n} HTTP/1.1\nHost: h")).body for n in range(3)]

    assert converse(page, talk) == [b"GET /0 {}", b"GET /1 {}", b"GET /2 {}"]


def test_pipelined_requests_are_answered_in_order() -> None:
    async def talk(client: Client) -> list[bytes]:
        paths = (b"/late", b"/1", b"/2")
        client.send(b"".join(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path for path in paths))
        return [(await client.reply()).body for _ in paths]

    assert converse(page, talk) == [b"late", b"GET /1 {}", b"GET /2 {}"]


@pytest.mark.parametrize("head", ["GET / HTTP/1.1\nHost: h\nConnection: close", "GET / HTTP/1.0"])
def test_connection_is_closed_when_the_client_wants_it(head: str) -> None:
    async def talk(client: Client) -> tuple[int, bool]:
        return (await client.ask(head)).status, await client.ended()

    assert converse(page, talk) == (200, True)


def test_head_has_the_length_and_no_body() -> None:
    async def talk(client: Client) -> tuple[str, bytes]:
        first = await client.ask("HEAD /x HTTP/1.1\nHost: h")
        return first.headers["content-length"], (await client.ask("GET /y HTTP/1.1\nHost: h")).body

    assert converse(page, talk) == ("10", b"GET /y {}")


def test_status_without_body_sends_none() -> None:
    async def talk(client: Client) -> tuple[int, bytes]:
        first = await client.ask("GET /none HTTP/1.1\nHost: h")
        return first.status, (await client.ask("GET /y HTTP/1.1\nHost: h")).body

    assert converse(page, talk) == (204, b"GET /y {}")


def test_form_is_read_and_goes_before_the_query() -> None:
    async def talk(client: Client) -> bytes:
        head = (
            "POST /?a=query&b=2 HTTP/1.1\nHost: h\n"
            "Content-Type: application/x-www-form-urlencoded\nContent-Length: 6"
        )
        return (await client.ask(head, body=b"a=form")).body

    assert converse(page, talk) == b"POST / {'a': 'form', 'b': '2'}"


def test_large_body_is_thrown_away() -> None:
    async def talk(client: Client) -> bytes:
        size = 3_000_000
        head = f"PUT /x HTTP/1.1\nHost: h\nContent-Length: {size}"
        return (await client.ask(head, body=b"x" * size)).body

    assert converse(page, talk) == b"PUT /x {}"


def test_client_that_waits_for_continue_gets_it() -> None:
    async def talk(client: Client) -> tuple[int, bytes]:
        head = "PUT /x HTTP/1.1\nHost: h\nContent-Length: 2\nExpect: 100-continue"
        first = await client.ask(head)
        client.send(b"ab")
        return first.status, (await client.reply()).body

    assert converse(page, talk) == (100, b"PUT /x {}")


def test_filler_of_many_chunks_arrives_whole() -> None:
    async def talk(client: Client) -> int:
        return len((await client.ask("GET /filler?n=1000000 HTTP/1.1\nHost: h")).body)

    assert converse(page, talk) == 1_000_005


def test_bug_in_an_answer_is_500_and_the_connection_goes_on() -> None:
    async def talk(client: Client) -> tuple[int, int]:
        first = await client.ask("GET /fail HTTP/1.1\nHost: h")
        return first.status, (await client.ask("GET / HTTP/1.1\nHost: h")).status

    assert converse(page, talk) == (500, 200)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"no http at all\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000, 431),
    ],
)
def test_what_is_not_http_is_refused_and_closed(raw: bytes, status: int) -> None:
    async def talk(client: Client) -> tuple[int, bool]:
        client.send(raw)
        return (await client.reply()).status, await client.ended()

    assert converse(page, talk) == (status, True)


def test_too_many_form_fields_are_refused() -> None:
    async def talk(client: Client) -> int:
        query = "&".join(f"k{n}=1" for n in range(1500))
        return (await client.ask(f"GET /?{query} HTTP/1.1\nHost: h")).status

    assert converse(page, talk) == 400


def test_absolute_target_is_understood() -> None:
    async def talk(client: Client) -> bytes:
        return (await client.ask("GET http://elsewhere/p?a=1 HTTP/1.1\nHost: h")).body

    assert converse(page, talk) == b"GET /p {'a': '1'}"


def test_answer_still_goes_out_after_the_client_has_shut_its_side() -> None:
    async def talk(client: Client) -> tuple[bytes, bool]:
        client.send(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n")
        client.writer.write_eof()
        return (await client.reply()).body, await client.ended()

    assert converse(page, talk) == (b"late", True)


def test_header_that_never_ends_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.1)

    async def talk(client: Client) -> bool:
        client.send(b"GET / HTTP/1.1\r\n")
        for _ in range(30):  # a byte now and then does not buy time
            client.send(b"X")
            await asyncio.sleep(0.01)
        return await client.ended()

    assert converse(page, talk) is True


def test_second_header_that_never_ends_is_dropped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.1)

    async def talk(client: Client) -> bool:
        await client.ask("GET / HTTP/1.1\nHost: h")
        client.send(b"GET / HTTP/1.1\r\n")
        return await client.ended()

    assert converse(page, talk) is True


def test_body_that_never_comes_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.05)

    async def talk(client: Client) -> tuple[int, bool]:
        reply = await client.ask("PUT / HTTP/1.1\nHost: h\nContent-Length: 5", body=b"ab")
        return reply.status, await client.ended()

    assert converse(page, talk) == (408, True)


def test_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "KEEP_ALIVE_SECONDS", 0.05)

    async def talk(client: Client) -> bool:
        await client.ask("GET / HTTP/1.1\nHost: h")
        return await client.ended()

    assert converse(page, talk) is True


def test_client_that_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "WRITE_SECONDS", 0.1)

    async def talk(client: Client) -> int:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"GET /filler?n=100000000 HTTP/1.1\r\nHost: h\r\n\r\n")
        await asyncio.sleep(0.4)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        return len(await client.reader.read())

    assert converse(page, talk) < 10_000_000


def test_connect_is_refused_because_this_is_no_proxy() -> None:
    async def talk(client: Client) -> tuple[int, int]:
        first = await client.ask("CONNECT h:80 HTTP/1.1\nHost: h")
        return first.status, (await client.ask("GET / HTTP/1.1\nHost: h")).status

    assert converse(page, talk) == (405, 200)


def test_status_line_has_the_phrase_that_people_read() -> None:
    async def talk(client: Client) -> bytes:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        return await client.reader.readuntil(b"\r\n")

    assert converse(page, talk) == b"HTTP/1.1 200 OK\r\n"


def test_upgrade_is_ignored_as_servers_may() -> None:
    async def talk(client: Client) -> tuple[bytes, bytes]:
        head = "GET /x HTTP/1.1\nHost: h\nConnection: upgrade\nUpgrade: websocket"
        return (await client.ask(head)).body, (await client.ask("GET /y HTTP/1.1\nHost: h")).body

    assert converse(page, talk) == (b"GET /x {}", b"GET /y {}")
