"""Carries out a probe's or hook's action once, and says how it went.

A socket belongs to the netns in which it was opened: one worker thread enters the node's, as
kubelet asks from the node, and the event loop does the rest. Source of the rules and words:
pkg/probe/http, pkg/probe/tcp, pkg/probe/exec, pkg/kubelet/lifecycle/handlers.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from urllib.parse import urljoin, urlsplit

from kns.errors import KnsError
from kns.kernel import netns, processes
from kns.kernel.processes import Context
from kns.kinds.lifecycle import (
    ExecAction,
    GRPCAction,
    HookAction,
    HTTPGetAction,
    ProbeAction,
    SleepAction,
    TCPSocketAction,
    URIScheme,
)
from kns.kinds.pod import Container

#: bytes of an answer that are read (maxRespBodyLength), and redirects that are followed
MAX_BODY, MAX_REDIRECTS = 10 * 1024, 10
#: pipe(7): what a pipe holds
_PIPE = 64 * 1024
USER_AGENT = "kube-probe/1.35"


@dataclass(frozen=True, slots=True)
class ProbedContainer:
    """Whom to ask, and from where."""

    #: the netns of the pod's node
    netns: str
    address: str
    container: Container
    #: what a program in the container finds; read from the lab's files, which takes a while
    context: Callable[[], Context]


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """Whether it went well, and what is told if not."""

    passed: bool
    message: str = ""


PASSED = ProbeAnswer(True)


async def ask(
    action: ProbeAction | HookAction, asked: ProbedContainer, timeout: float, worker: Executor
) -> ProbeAnswer:
    """Carry out the action, which has `timeout` seconds; never raises but when it is cancelled."""
    try:
        async with asyncio.timeout(timeout):
            return await _carry_out(action, asked, worker)
    except TimeoutError:
        return ProbeAnswer(False, _timed_out(action, asked, timeout))
    except (OSError, EOFError, ValueError, KnsError, ssl.SSLError) as error:
        return ProbeAnswer(False, str(error) or type(error).__name__)


async def _carry_out(
    action: ProbeAction | HookAction, asked: ProbedContainer, worker: Executor
) -> ProbeAnswer:
    match action:
        case HTTPGetAction():
            return await _get(action, asked, worker)
        case TCPSocketAction():
            port = port_of(action.port, asked.container)
            sock = await _connected(asked.netns, action.host or asked.address, port, worker)
            sock.close()
            return PASSED
        case ExecAction():
            return await _run(action.command, asked.context, worker)
        case SleepAction():
            await asyncio.sleep(action.seconds)
            return PASSED
        case GRPCAction():
            return PASSED


def port_of(port: int | str, container: Container) -> int:
    """A port's number, also that of one of the container's by its name. ValueError without it."""
    if isinstance(port, int):
        return port
    for item in container.ports:
        if item.name == port:
            return item.port
    raise ValueError(f"couldn't find port: {port}")


def _timed_out(action: ProbeAction | HookAction, asked: ProbedContainer, timeout: float) -> str:
    if isinstance(action, ExecAction):
        return f'command timed out: "{" ".join(action.command)}" timed out after {timeout:.0f}s'
    where = asked.address
    if isinstance(action, HTTPGetAction | TCPSocketAction):
        where = f"{action.host or asked.address}:{action.port}"
    if isinstance(action, HTTPGetAction):
        scheme = action.scheme.lower()
        return (
            f'Get "{scheme}://{where}{action.path}": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)"
        )
    return f"dial tcp {where}: i/o timeout"


# -- connections -----------------------------------------------------------------------------------


async def _connected(space: str, address: str, port: int, worker: Executor) -> socket.socket:
    """A connection from that netns; non-blocking. OSError."""
    loop = asyncio.get_running_loop()
    sock = await loop.run_in_executor(worker, _socket_in, space, ":" in address)
    try:
        await loop.sock_connect(sock, (address, port))
    except ConnectionRefusedError:
        sock.close()
        raise OSError(f"dial tcp {_joined(address, port)}: connect: connection refused") from None
    except BaseException:
        sock.close()
        raise
    return sock


def _socket_in(space: str, is_ipv6: bool) -> socket.socket:  # noqa: FBT001 - of one caller
    with netns.entered(space):
        family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        return socket.socket(
            family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


async def _get(action: HTTPGetAction, asked: ProbedContainer, worker: Executor) -> ProbeAnswer:
    """A GET; redirects on the same host are followed, one that leads elsewhere is well."""
    host, port = action.host or asked.address, port_of(action.port, asked.container)
    url = f"{action.scheme.lower()}://{_joined(host, port)}/{action.path.removeprefix('/')}"
    status, location = await _request(url, action, asked.netns, worker)
    for _ in range(MAX_REDIRECTS):
        if not 300 <= status < 400 or not location:
            break
        following = urljoin(url, location)
        if urlsplit(following).hostname != urlsplit(url).hostname:
            return PASSED
        url = following
        status, location = await _request(url, action, asked.netns, worker)
    if 200 <= status < 400:
        return PASSED
    return ProbeAnswer(False, f"HTTP probe failed with statuscode: {status}")


async def _request(
    url: str, action: HTTPGetAction, space: str, worker: Executor
) -> tuple[int, str]:
    """The answer's status and `Location`."""
    import h11

    parts = urlsplit(url)
    is_tls = parts.scheme.upper() == URIScheme.HTTPS
    port = parts.port or (443 if is_tls else 80)
    sock = await _connected(space, parts.hostname or "", port, worker)
    tls = _trusting() if is_tls else None
    reader, writer = await asyncio.open_connection(
        sock=sock, ssl=tls, server_hostname=parts.hostname if is_tls else None
    )
    try:
        connection = h11.Connection(h11.CLIENT)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        request = h11.Request(method="GET", target=target, headers=_headers(action, parts.netloc))
        writer.write(
            (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
        )
        while not isinstance(event := connection.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(MAX_BODY))
            elif not isinstance(event, h11.InformationalResponse):
                raise EOFError("EOF")
        location = dict(event.headers).get(b"location", b"")
        return event.status_code, location.decode("latin-1")
    except h11.RemoteProtocolError as error:
        raise OSError(str(error)) from error
    finally:
        writer.transport.abort()


def _headers(action: HTTPGetAction, netloc: str) -> list[tuple[str, str]]:
    own = [(header.name, header.value) for header in action.http_headers]
    known = {name.lower() for name, _ in own}
    added = (
        ("Host", netloc),
        ("User-Agent", USER_AGENT),
        ("Accept", "*/*"),
        ("Connection", "close"),
    )
    return [*((name, value) for name, value in added if name.lower() not in known), *own]


def _trusting() -> ssl.SSLContext:
    """kubelet checks no certificate: it asks whether somebody answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# -- programs --------------------------------------------------------------------------------------


async def _run(
    command: Sequence[str], context: Callable[[], Context], worker: Executor
) -> ProbeAnswer:
    """A program in the container; it is killed if this is cancelled."""
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    starting = loop.run_in_executor(worker, _spawn, command, context, write)
    try:
        child = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # the worker is at it: the pipe is its until then
        starting.add_done_callback(partial(_abandon, read, write))
        raise
    except BaseException:
        _close(read, write)
        raise
    os.close(write)
    said = _Said(read)
    pidfd = os.pidfd_open(child.pid)
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pidfd, _resolve, ended)
    loop.add_reader(read, said.take)
    try:
        await ended
        said.take_rest()
    finally:
        loop.remove_reader(pidfd)
        loop.remove_reader(read)
        _close(pidfd, read)
        if child.poll() is None:
            _kill(child)
    return ProbeAnswer(child.returncode == 0, said.text)


def _spawn(command: Sequence[str], context: Callable[[], Context], write: int) -> processes.Process:
    return processes.spawn(command, context=context(), stdout=write, stderr=write)


def _abandon(read: int, write: int, starting: asyncio.Future[processes.Process]) -> None:
    """Leave nothing of a program that nobody waits for any more."""
    _close(read, write)
    if not starting.cancelled() and starting.exception() is None:
        _kill(starting.result())


def _kill(child: processes.Process) -> None:
    """Kill a program and its own; a thread waits until it has ended, the event loop does not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    asyncio.get_running_loop().run_in_executor(None, child.wait)


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def _resolve(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


class _Said:
    """What a program says: the beginning is kept, the rest read all the same.

    A pipe holds 64 KiB; a program that nobody reads would wait for ever.
    """

    def __init__(self, read: int) -> None:
        os.set_blocking(read, False)
        self._read, self._kept = read, bytearray()

    @property
    def text(self) -> str:
        """What is kept of it."""
        return self._kept.decode(errors="replace").strip()

    def take(self) -> None:
        """Read what there is, once: the event loop has other work."""
        if self._piece() == b"":
            asyncio.get_running_loop().remove_reader(self._read)

    def take_rest(self) -> None:
        """What it has said so far; a child of its may hold the pipe open."""
        while len(self._kept) < MAX_BODY and self._piece():
            pass

    def _piece(self) -> bytes | None:
        """The next piece; empty at the end, None if there is none yet."""
        try:
            piece = os.read(self._read, _PIPE)
        except BlockingIOError:
            return None
        self._kept += piece[: MAX_BODY - len(self._kept)]
        return piece
