"""`kubectl exec` and `cp`: a program in a pod, its streams in the channels of a WebSocket.

The first byte of a message is its channel: 0 input, 1 output, 2 errors, 3 how it ended, 4 the
terminal's size; 255 closes a channel (v5).

Source: k8s.io/client-go/tools/remotecommand (websocket.go, v5.go) and apimachinery's
pkg/util/remotecommand.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import struct
import termios
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from kns.agent.api.places import ContainerPlace
from kns.agent.api.status import StatusError, bad_request
from kns.errors import KnsError
from kns.kernel import processes
from kns.kinds.common import Object

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_PIECE = 1 << 15


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """What a request for a program asks for."""

    command: tuple[str, ...]
    stdin: bool
    tty: bool


def options_of(request: web.Request) -> ExecOptions:
    """From the query. StatusError 400 without a command."""

    def flag(name: str) -> bool:
        return request.query.get(name, "").lower() in {"true", "1"}

    command = tuple(request.query.getall("command", ()))
    if not command:
        raise bad_request("you must specify at least 1 command for the container")
    return ExecOptions(command, flag("stdin"), flag("tty"))


async def serve(
    request: web.Request, place: ContainerPlace, worker: Executor
) -> web.StreamResponse:
    """Run the program; the answer ends with it, and it with the client."""
    options = options_of(request)
    ws = web.WebSocketResponse(protocols=PROTOCOLS)
    await ws.prepare(request)
    try:
        running = await _started(options, place.context, worker)
    except (KnsError, OSError) as error:
        await finish(ws, StatusError(500, "InternalError", str(error)).body)
        return ws
    async with _Execution(ws, running) as execution:
        status = await execution.wait()
    await finish(ws, ended(status))
    return ws


@dataclass(frozen=True, slots=True)
class _Running:
    process: processes.Process
    #: our ends of its streams; -1 for none. With a terminal they are the same
    stdin: int
    stdout: int
    stderr: int
    terminal: int = -1


async def _started(options: ExecOptions, context: processes.Context, worker: Executor) -> _Running:
    """Start it in the worker; if the client goes meanwhile, nothing is left of it."""
    starting = asyncio.get_running_loop().run_in_executor(worker, _start, options, context)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_abandon)
        raise


def _abandon(starting: asyncio.Future[_Running]) -> None:
    if starting.cancelled() or starting.exception() is not None:
        return
    running = starting.result()
    for fd in {running.stdin, running.stdout, running.stderr} - {-1}:
        os.close(fd)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.process.pid, signal.SIGKILL)
    asyncio.get_running_loop().run_in_executor(None, running.process.wait)


def _start(options: ExecOptions, context: processes.Context) -> _Running:
    if options.tty:
        ours, theirs = os.openpty()
        try:
            # setsid makes it the controlling terminal: signals and job control of a shell need one
            command = ("setsid", "--ctty", "--wait", *options.command)
            process = _spawn(command, context, (theirs, theirs, theirs))
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return _Running(process, os.dup(ours), ours, -1, ours)
    return _start_with_pipes(options, context)


def _start_with_pipes(options: ExecOptions, context: processes.Context) -> _Running:
    theirs_in, ours_in = os.pipe() if options.stdin else (os.open(os.devnull, os.O_RDONLY), -1)
    ours_out, theirs_out = os.pipe()
    ours_err, theirs_err = os.pipe()
    try:
        process = _spawn(options.command, context, (theirs_in, theirs_out, theirs_err))
    except BaseException:
        for fd in (ours_in, ours_out, ours_err):
            if fd >= 0:
                os.close(fd)
        raise
    finally:
        for fd in (theirs_in, theirs_out, theirs_err):
            os.close(fd)
    return _Running(process, ours_in, ours_out, ours_err)


def _spawn(
    command: Sequence[str], context: processes.Context, streams: tuple[int, int, int]
) -> processes.Process:
    stdin, stdout, stderr = streams
    return processes.spawn(command, context=context, stdin=stdin, stdout=stdout, stderr=stderr)


class _Execution:
    """Carries the streams of a running program."""

    def __init__(self, ws: web.WebSocketResponse, running: _Running) -> None:
        self._ws, self._running = ws, running
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._input: asyncio.StreamWriter | None = None
        self._pidfd = os.pidfd_open(running.process.pid)
        self._loop.add_reader(self._pidfd, self._ended.set)
        self._outputs: list[asyncio.Task[None]] = []
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> _Execution:
        running = self._running
        if running.stdin >= 0:
            transport, protocol = await self._loop.connect_write_pipe(
                asyncio.streams.FlowControlMixin, os.fdopen(running.stdin, "wb", 0)
            )
            self._input = asyncio.StreamWriter(transport, protocol, None, self._loop)
        for channel, fd in ((STDOUT, running.stdout), (STDERR, running.stderr)):
            if fd >= 0:
                self._outputs.append(asyncio.create_task(self._send(channel, fd)))
        self._reading = asyncio.create_task(self._receive())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.process.pid, signal.SIGKILL)
        # begun before anything is waited for, where a client that goes interrupts this
        reaping = self._loop.run_in_executor(None, self._running.process.wait)
        if self._reading is not None:
            self._reading.cancel()
        for task in self._outputs:
            task.cancel()
        if self._input is not None:
            self._input.close()
        await asyncio.gather(*self._outputs, return_exceptions=True)
        await reaping

    async def wait(self) -> int:
        """The program's exit status, once it has said everything; SIGKILL's if the client went."""
        done = asyncio.create_task(self._ended.wait())
        assert self._reading is not None  # noqa: S101 - it is entered
        try:
            await asyncio.wait({done, self._reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            done.cancel()
        if not self._ended.is_set():
            return -signal.SIGKILL
        if self._outputs:
            # a child that it left may keep the pipes open for ever
            await asyncio.wait(self._outputs, timeout=1.0)
        return self._running.process.wait()

    async def _send(self, channel: int, fd: int) -> None:
        reader = asyncio.StreamReader(limit=_PIECE)
        transport, _ = await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
        )
        try:
            # a terminal whose other end is closed reads as an error
            with contextlib.suppress(OSError):
                while piece := await reader.read(_PIECE):
                    await self._ws.send_bytes(bytes([channel]) + piece)
        finally:
            transport.close()

    async def _receive(self) -> None:
        """Until the client goes."""
        async for message in self._ws:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == STDIN and self._input is not None:
                self._input.write(data)
                with contextlib.suppress(ConnectionError):
                    await self._input.drain()
            elif channel == RESIZE and self._running.terminal >= 0:
                self._resize(data)
            elif channel == CLOSE and data[:1] == bytes([STDIN]) and self._input is not None:
                self._input.close()

    def _resize(self, data: bytes) -> None:
        with contextlib.suppress(ValueError, TypeError, OSError, struct.error):
            size = json.loads(data)
            shape = struct.pack("HHHH", int(size["Height"]), int(size["Width"]), 0, 0)
            fcntl.ioctl(self._running.terminal, termios.TIOCSWINSZ, shape)


def ended(status: int) -> Object:
    """The Status of a program that has ended; a signal is 128 and its number, as in a shell."""
    if not status:
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    code = status if status > 0 else 128 - status
    return _failure(f"command terminated with non-zero exit code: exit status {code}", code)


def _failure(message: str, code: int) -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def finish(ws: web.WebSocketResponse, status: Object) -> None:
    """Say how it went, and hang up."""
    with contextlib.suppress(ConnectionError):
        await ws.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
    await ws.close()
