"""Logs that are followed: what ends them."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from kns.agent.api import logs
from kns.agent.api.access import Authenticator
from kns.agent.api.places import ContainerPlace, is_running
from kns.agent.api.requests import APIRequest
from kns.agent.api.server import APIServer
from kns.agent.serve.server_logs import LogLine, ServerLogs
from kns.agent.store import Store
from kns.kernel.processes import Context
from kns.kinds.common import Object
from tests.agent.api.seeded import SEED

URL = "/api/v1/namespaces/default/pods/web-1/log?follow=true"


class _Counted(ServerLogs):
    """Counts who listens."""

    listening = 0

    def subscribe(self, who: str, callback: Callable[[LogLine], None]) -> Callable[[], None]:
        end = super().subscribe(who, callback)
        self.listening += 1

        def unsubscribe() -> None:
            self.listening -= 1
            end()

        return unsubscribe


def in_session(
    log: Path | None,
    said: ServerLogs,
    body: Callable[[ClientSession], Awaitable[None]],
    runs: Callable[[], bool] = lambda: True,
) -> None:
    """Run `body` as a client of a cluster whose pods say these things."""
    place = ContainerPlace("default/web-1", "server", "none", (), Context("none"), log, runs)

    async def stream(request: web.Request, asked: APIRequest, _pod: Object) -> web.StreamResponse:
        return await logs.serve(request, asked, place, said, 0.0)

    async def attach(request: web.Request, _asked: APIRequest, _pod: Object) -> web.StreamResponse:
        return await logs.attach(request, place, said)

    async def run() -> None:
        store = Store()
        store.replace_all(SEED)
        server = APIServer(
            store,
            "1.37.1",
            Authenticator("", lambda *_: ""),
            streams={"log": stream, "attach": attach},
        )
        runner = server.runner(trusted=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with ClientSession(url) as session, asyncio.timeout(60):
                await body(session)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_a_client_that_goes_is_listened_for_no_more() -> None:
    said = _Counted(lambda: 1.0)
    said.note("default/web-1/server", "before")

    async def body(session: ClientSession) -> None:
        async with session.get(URL) as answer:
            assert await answer.content.readline() == b"before\n"
            while not said.listening:
                await asyncio.sleep(0.01)
            answer.close()
        while said.listening:
            await asyncio.sleep(0.01)

    in_session(None, said, body)


@pytest.mark.parametrize(("limit", "expected"), [(3, b"bef"), (9, b"before\naf")])
def test_a_limit_holds_for_what_comes(tmp_path: Path, limit: int, expected: bytes) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")

    async def body(session: ClientSession) -> None:
        async with session.get(f"{URL}&limitBytes={limit}") as answer:
            assert await answer.content.readexactly(3) == b"bef"
            with log.open("a") as file:
                file.write("after\n")
            assert b"bef" + await answer.read() == expected

    in_session(log, ServerLogs(), body)


@pytest.mark.parametrize("is_program", [True, False])
def test_following_ends_with_the_container(tmp_path: Path, *, is_program: bool) -> None:
    log, running = tmp_path / "log", [True]
    log.write_text("before\n")
    said = _Counted(lambda: 1.0)
    said.note("default/web-1/server", "before")

    async def body(session: ClientSession) -> None:
        async with session.get(URL) as answer:
            assert await answer.content.readline() == b"before\n"
            while not (is_program or said.listening):
                await asyncio.sleep(0.01)
            with log.open("a") as file:
                file.write("last\n")
            said.note("default/web-1/server", "last")
            running[0] = False
            assert await answer.read() == b"last\n"
        assert not said.listening

    in_session(log if is_program else None, said, body, lambda: running[0])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", b"".join(b"%d\n" % number for number in range(30_000))),
        ("tailLines=2", b"29998\n29999\n"),
        ("tailLines=0", b""),
        ("tailLines=20000", b"".join(b"%d\n" % number for number in range(10_000, 30_000))),
        ("tailLines=99999&limitBytes=5", b"0\n1\n2"),
    ],
)
def test_the_end_of_a_log_is_found_from_its_end(
    tmp_path: Path, query: str, expected: bytes
) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"".join(b"%d\n" % number for number in range(30_000)))

    async def body(session: ClientSession) -> None:
        async with session.get(f"{URL.partition('?')[0]}?{query}") as answer:
            assert await answer.read() == expected

    in_session(log, ServerLogs(), body)


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (b"", 3, 0),
        (b"a", 1, 0),
        (b"a\nb", 1, 2),
        (b"a\nb\n", 1, 2),
        (b"\n\n", 1, 1),
        (b"a\n", 9, 0),
    ],
)
def test_where_the_last_lines_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, lines: int, expected: int
) -> None:
    log = tmp_path / "log"
    log.write_bytes(content)
    for size in (1, 2, 1 << 16):
        monkeypatch.setattr(logs, "_PIECE", size)
        assert logs.tail_start(log, lines) == expected


@pytest.mark.parametrize("query", ["tailLines=1000000", "follow=true&limitBytes=16777216"])
def test_a_large_log_takes_no_more_memory_than_a_small_one(tmp_path: Path, query: str) -> None:
    log = tmp_path / "log"
    size = 16 << 20
    log.write_bytes((b"x" * 63 + b"\n") * (size // 64))

    async def body(session: ClientSession) -> None:
        tracemalloc.start()
        try:
            async with session.get(f"{URL.partition('?')[0]}?{query}") as answer:
                read = 0
                async for piece in answer.content.iter_any():
                    read += len(piece)
            assert read == size
            assert tracemalloc.get_traced_memory()[1] < 3 << 20
        finally:
            tracemalloc.stop()

    in_session(log, ServerLogs(), body)


def test_what_is_said_while_the_log_is_read_is_told_too() -> None:
    class Talking(ServerLogs):
        """Says something as soon as somebody has read what was said."""

        def lines(self, who: str) -> tuple[LogLine, ...]:
            found = super().lines(who)
            self.note(who, "between")
            return found

    said, running = Talking(lambda: 1.0), [True]
    said.note("default/web-1/server", "before")

    async def body(session: ClientSession) -> None:
        async with session.get(URL) as answer:
            assert await answer.content.readline() == b"before\n"
            running[0] = False
            assert await answer.read() == b"between\n"

    in_session(None, said, body, lambda: running[0])


def test_who_reads_too_slowly_misses_the_oldest_lines() -> None:
    said, running = _Counted(lambda: 1.0), [True]

    async def body(session: ClientSession) -> None:
        async with session.get(URL) as answer:
            while not said.listening:
                await asyncio.sleep(0.01)
            for number in range(3000):
                said.note("default/web-1/server", str(number))
            running[0] = False
            lines = (await answer.read()).splitlines()
        assert lines == [str(number).encode() for number in range(2000, 3000)]

    in_session(None, said, body, lambda: running[0])


def test_attaching_ends_with_the_container(tmp_path: Path) -> None:
    log, running = tmp_path / "log", [True]
    log.write_text("before\n")

    async def body(session: ClientSession) -> None:
        async with session.ws_connect(URL.replace("log?follow=true", "attach")) as ws:
            with log.open("a") as file:
                file.write("last\n")
            running[0] = False
            received = [message.data async for message in ws]
        assert received[-1].startswith(b"\x03{")
        assert b'"Success"' in received[-1]
        assert b"before" not in b"".join(received)

    in_session(log, ServerLogs(), body, lambda: running[0])


def pod_with(state: Object, restarts: int = 0, uid: str = "1") -> Object:
    status: Object = {"name": "server", "restartCount": restarts, "state": state}
    return {"metadata": {"name": "web-1", "uid": uid}, "status": {"containerStatuses": [status]}}


RUNNING: Object = {"running": {"startedAt": "2024-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (pod_with(RUNNING), True),
        (pod_with({"waiting": {"reason": "ContainerCreating"}}), True),
        (pod_with(RUNNING, restarts=1), False),
        (pod_with(RUNNING, uid="2"), False),
        (pod_with({"terminated": {"exitCode": 0}}), False),
        (pod_with({"waiting": {"reason": "CrashLoopBackOff"}}), False),
        ({"metadata": {"name": "web-1", "uid": "1"}}, True),
        (None, False),
    ],
)
def test_a_container_runs_until_it_has_ended_once(now: Object | None, *, expected: bool) -> None:
    assert is_running(pod_with(RUNNING), now, "server") is expected
