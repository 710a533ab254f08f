"""`kubectl logs`: what the process of a container, or a built-in server, has said.

A process writes into its file itself, so that it goes on without the agent; nobody notes when, and
`timestamps` and `since` are there for built-in servers alone.

Source: k8s.io/api core/v1 (PodLogOptions).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from kns.agent.api.executions import PROTOCOLS, STDOUT, ended, finish
from kns.agent.api.places import ContainerPlace
from kns.agent.api.requests import APIRequest
from kns.agent.api.status import bad_request
from kns.agent.serve.server_logs import LogLine, ServerLogs
from kns.agent.store import timestamp

#: seconds between two looks at a log that is followed
_LOOK_SECONDS = 0.2
_PIECE = 1 << 16
#: lines that may wait for a client that does not read
_WAITING = 1000


async def serve(
    request: web.Request, asked: APIRequest, place: ContainerPlace, logs: ServerLogs, now: float
) -> web.StreamResponse:
    """Send the log, and with `follow` what comes, until the client goes or the container ends."""
    if asked.flag("previous"):
        raise bad_request(
            f'previous terminated container "{place.container}" in pod "{place.name}" not found'
        )
    if place.log is None:
        # subscribed before anything is read: no line is lost between
        with _subscribed(place, logs) as waiting:
            said = _said(asked, place, logs, now)
            return await _answered(request, asked, _server_pieces(asked, place, said, waiting))
    if asked.flag("timestamps") or {"sinceSeconds", "sinceTime"} & set(asked.query):
        raise bad_request("a process writes its own log: nobody notes when it said what")
    start = await asyncio.to_thread(tail_start, place.log, asked.number("tailLines"))
    return await _answered(
        request, asked, _file_pieces(place, place.log, start, follow=asked.flag("follow"))
    )


async def _answered(
    request: web.Request, asked: APIRequest, pieces: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Send the pieces one after the other, `limitBytes` bytes at most."""
    limit = asked.number("limitBytes")
    left = math.inf if limit is None else limit
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        async with contextlib.aclosing(pieces) as said:
            async for piece in said:
                await response.write(piece if left > len(piece) else piece[: int(left)])
                left -= len(piece)
                if left <= 0:
                    break
        await response.write_eof()
    return response


# -- files -----------------------------------------------------------------------------------------


def tail_start(path: Path, lines: int | None) -> int:
    """Where the last lines of a file begin, read from its end; 0 without a number."""
    if lines is None or lines < 0:
        return 0
    try:
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            return _line_start(file, end, lines)
    except FileNotFoundError:
        return 0


def _line_start(file: BinaryIO, end: int, lines: int) -> int:
    """Where the last `lines` lines before `end` begin."""
    position, wanted = end, lines
    while position > 0 and lines:
        size = min(_PIECE, position)
        position -= size
        file.seek(position)
        piece = file.read(size)
        # the newline at the very end ends the last line, and is before none
        at = len(piece) - 1 if position + size == end else len(piece)
        found = piece.count(b"\n", 0, at)
        if found < wanted:
            wanted -= found
            continue
        for _ in range(wanted):
            at = piece.rfind(b"\n", 0, at)
        return position + at + 1
    return position


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


async def _file_pieces(
    place: ContainerPlace, path: Path, position: int, *, follow: bool = True
) -> AsyncGenerator[bytes, None]:
    """What is in the file from `position` on.

    With `follow` also what comes into it, until the container has ended and all of it is read.
    """
    # who writes as fast as it is read must not keep a client that does not follow
    left = math.inf if follow else _size(path) - position
    is_over = False
    while not is_over:
        is_over = not (follow and place.runs())
        try:
            while True:
                piece, position = await asyncio.to_thread(_piece, path, position)
                if not piece or left <= 0:
                    break
                yield piece if left > len(piece) else piece[: int(left)]
                left -= len(piece)
        except FileNotFoundError:
            if is_over or position:
                return
        if not is_over:
            await asyncio.sleep(_LOOK_SECONDS)


def _piece(path: Path, position: int) -> tuple[bytes, int]:
    """The next bytes after the position, and the position after them; anew if it was cut."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        position = position if size >= position else 0
        file.seek(position)
        piece = file.read(_PIECE)
        return piece, position + len(piece)


# -- built-in servers ------------------------------------------------------------------------------


def _said(asked: APIRequest, place: ContainerPlace, logs: ServerLogs, now: float) -> bytes:
    lines = list(logs.lines(f"{place.name}/{place.container}"))
    start = _start(asked, now)
    lines = [line for line in lines if line.time >= start]
    tail = asked.number("tailLines")
    if tail is not None and tail >= 0:
        lines = lines[len(lines) - min(tail, len(lines)) :]
    timestamps = asked.flag("timestamps")
    return b"".join(_written(line, timestamps=timestamps) for line in lines)


def _start(asked: APIRequest, now: float) -> float:
    seconds = asked.number("sinceSeconds")
    if seconds is not None:
        return now - seconds
    since = asked.query.get("sinceTime", "")
    try:
        return datetime.fromisoformat(since).timestamp() if since else 0.0
    except ValueError:
        raise bad_request(f"sinceTime: Invalid value: {since!r}") from None


def _written(line: LogLine, *, timestamps: bool) -> bytes:
    stamp = f"{timestamp(line.time)} " if timestamps else ""
    return f"{stamp}{line.text}\n".encode()


@contextlib.contextmanager
def _subscribed(place: ContainerPlace, logs: ServerLogs) -> Iterator[asyncio.Queue[LogLine]]:
    """The lines from now on; whoever reads more slowly than they come misses the oldest."""
    waiting: asyncio.Queue[LogLine] = asyncio.Queue(_WAITING)

    def note(line: LogLine) -> None:
        if waiting.full():
            waiting.get_nowait()
        waiting.put_nowait(line)

    unsubscribe = logs.subscribe(f"{place.name}/{place.container}", note)
    try:
        yield waiting
    finally:
        unsubscribe()


async def _server_pieces(
    asked: APIRequest, place: ContainerPlace, said: bytes, waiting: asyncio.Queue[LogLine]
) -> AsyncGenerator[bytes, None]:
    """What was said, and with `follow` what comes."""
    yield said
    if asked.flag("follow"):
        async for piece in _server_lines(place, waiting, timestamps=asked.flag("timestamps")):
            yield piece


async def _server_lines(
    place: ContainerPlace, waiting: asyncio.Queue[LogLine], *, timestamps: bool = False
) -> AsyncGenerator[bytes, None]:
    """What comes, until the container has ended and all of it is sent."""
    while place.runs() or not waiting.empty():
        try:
            line = await asyncio.wait_for(waiting.get(), _LOOK_SECONDS)
        except TimeoutError:
            continue
        yield _written(line, timestamps=timestamps)


async def attach(
    request: web.Request, place: ContainerPlace, logs: ServerLogs
) -> web.StreamResponse:
    """What a container says until it ends, in the channels of a WebSocket; it takes no input."""
    ws = web.WebSocketResponse(protocols=PROTOCOLS)
    await ws.prepare(request)
    if place.log is not None:
        return await _attached(ws, _file_pieces(place, place.log, _size(place.log)))
    with _subscribed(place, logs) as waiting:
        return await _attached(ws, _server_lines(place, waiting))


async def _attached(ws: web.WebSocketResponse, more: AsyncIterator[bytes]) -> web.WebSocketResponse:
    """Send what comes until it ends, or the client goes."""
    task = asyncio.create_task(_send_all(ws, more))
    try:
        async for _message in ws:
            pass
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return ws


async def _send_all(ws: web.WebSocketResponse, more: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(ConnectionError):
        async for piece in more:
            await ws.send_bytes(bytes([STDOUT]) + piece)
    await finish(ws, ended(0))
