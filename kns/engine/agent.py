"""The lab's agent process, seen from outside: start it, give it orders.

The engine knows the agent by its command line and its socket alone; what it does is `kns.agent`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TypeVar

from kns.compile import names
from kns.compile.paths import LabPaths
from kns.engine import api_access
from kns.engine.labs import agent_pid
from kns.engine.orders import Order, Refused, decode_answer, encode
from kns.engine.private import ensure_folder
from kns.engine.process_records import EXEC_MARKER
from kns.errors import ApplyError, CancelledError
from kns.kernel import processes
from kns.kernel.processes import Context

Reply = TypeVar("Reply")

#: seconds until a started agent must take orders: a slow machine takes two, an emulated one that is
#: busy more than sixty; one that has ended is noticed at once
START = 180.0
#: seconds for an order; a thousand pods' servers take a few hundred milliseconds
ORDER = 120.0
#: seconds after which an agent that this run did not start counts as deaf: its loop never blocks
DEAF = 5.0
#: seconds between two looks at whether somebody wants to stop waiting
TURN = 0.1


def start(lab: str) -> processes.Process:
    """Start the agent inside the fabric netns and return at once; its words go to its log.

    Its standard input is a socket that listens on the loopback here, on which it serves the API: it
    is in another netns itself.
    """
    paths = LabPaths(lab)
    ensure_folder(paths.folder)
    fd = os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "ab") as log, contextlib.ExitStack() as stack:
        api = processes.NOTHING
        with contextlib.suppress(OSError):  # no loopback here: the lab goes without the port
            api = stack.enter_context(api_access.listen(paths)).fileno()
        return processes.spawn(
            # -P: not from the folder in which root happens to be, which may be anybody's
            [sys.executable, "-P", "-m", "kns.agent", lab],
            context=Context(names.fabric_netns(lab), folder="/", env=_own_environment()),
            stdin=api,
            stdout=log,
            stderr=log,
        )


def _own_environment() -> dict[str, str]:
    """Ours, but for the name of the lab in which somebody may have called us."""
    return {name: value for name, value in os.environ.items() if name != EXEC_MARKER}


def end(lab: str) -> None:
    """End the lab's agent, if it has one; its containers go on."""
    pid = agent_pid(lab)
    if pid is not None:
        processes.kill_all([pid], grace=2.0)


def end_stray(lab: str) -> None:
    """End an agent whose fabric netns somebody deleted, and which would not let another serve.

    A lab that was not there before has no pid file, and no time to look through all processes.
    """
    if LabPaths(lab).pid.exists():
        end(lab)


def is_running(lab: str) -> bool:
    """True if the lab has an agent process."""
    return agent_pid(lab) is not None


def order(
    lab: str,
    what: Order,
    answer: type[Reply],
    *,
    process: processes.Process | None = None,
    patience: float = ORDER,
    cancelled: threading.Event | None = None,
) -> Reply | Refused:
    """Send one order and return the answer. ApplyError if there is none that this kns understands.

    `process` is the agent just started, to notice at once if it ends instead of serving.
    CancelledError soon after `cancelled` is set.
    """
    paths = LabPaths(lab)
    stop = cancelled or threading.Event()
    deadline = time.monotonic() + START
    while (line := _asked(paths, what, process, patience, stop)) is None:
        # of an agent that was killed the kernel closes the socket last of all
        if _has_ended(lab, process) or process is None or time.monotonic() > deadline:
            raise _silent(paths, "it closed the connection")
    if not line.endswith(b"\n"):
        raise _silent(paths, "it closed the connection")
    try:
        return decode_answer(line, answer)
    except ValueError as error:
        raise ApplyError(
            f"the lab's agent is not of this kns: its answer is {error}",
            hint="kns up replaces the agent; the network, and processes in pods, go on",
        ) from error


def _asked(
    paths: LabPaths,
    what: Order,
    process: processes.Process | None,
    patience: float,
    stop: threading.Event,
) -> bytes | None:
    """What an agent answers; None: the connection has broken."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(TURN)
        _connect(sock, paths, process, stop)
        try:
            sock.sendall(encode(what))
            return _receive_line(sock, patience, stop)
        except ConnectionError:
            return None
        except OSError as error:
            raise _silent(paths, str(error)) from error


def _connect(
    sock: socket.socket,
    paths: LabPaths,
    process: processes.Process | None,
    cancelled: threading.Event,
) -> None:
    """Connect, with patience for an agent that is only just starting."""
    patience = DEAF if process is None else START
    deadline = time.monotonic() + patience
    while True:
        _stop_if(cancelled)
        try:
            sock.connect(str(paths.socket))
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError) as error:
            # BlockingIOError: more callers wait for it than it lets wait
            if _has_ended(paths.lab, process):
                raise _silent(paths, "it has ended") from error
            if time.monotonic() > deadline:
                raise _silent(paths, f"nobody listens, for {patience:.0f} s") from error
            time.sleep(0.004)
        else:
            return


def _receive_line(sock: socket.socket, patience: float, cancelled: threading.Event) -> bytes:
    deadline = time.monotonic() + patience
    received = bytearray()
    while not received.endswith(b"\n"):
        _stop_if(cancelled)
        try:
            part = sock.recv(1 << 16)
        except TimeoutError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not a word for {patience:.0f} s") from None
            continue
        if not part:
            break
        received += part
    return bytes(received)


def _stop_if(cancelled: threading.Event) -> None:
    if cancelled.is_set():
        raise CancelledError("interrupted", hint="nothing of this run is left behind")


def _has_ended(lab: str, process: processes.Process | None) -> bool:
    return not is_running(lab) if process is None else process.poll() is not None


def _silent(paths: LabPaths, why: str) -> ApplyError:
    last = _last_line(paths.log)
    return ApplyError(
        f"the lab's agent does not answer: {why}" + (f"; its last words: {last}" if last else ""),
        hint=f"its log: {paths.log}; kns up starts it again",
    )


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
