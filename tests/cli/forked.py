"""Runs `kns` as a process of its own without its imports: forked from one that has done them.

    kns("up", …) ── one connection a run ─▶ the server ── fork ─▶ a keeper ── fork ─▶ the command

Importing takes a third of a second of processor time, in each of the thousand runs of a test run.
A run has its own process, environment, folder and streams; what a start costs, and what is
imported by which command, is tested with real starts (`KNS`).
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO

Done = subprocess.CompletedProcess[str]
#: what is sent at once: a request with its environment
_MOST = 1 << 20
_server: tuple[int, str] | None = None


# -- the one who asks ------------------------------------------------------------------------------


def run(arguments: Sequence[str], stdin: str, env: Mapping[str, str], timeout: float) -> Done:
    """As `subprocess.run` of kns does: its exit code and what it wrote. TimeoutExpired."""
    with _file(stdin) as given, _file() as out, _file() as errors, _connection() as server:
        request = {"arguments": arguments, "env": dict(env), "cwd": os.getcwd()}  # noqa: PTH109
        streams = array.array("i", [file.fileno() for file in (given, out, errors)])
        server.sendmsg(
            [json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)]
        )
        pid = int(server.recv(64))
        server.settimeout(timeout)
        try:
            code = int(server.recv(64))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(["kns", *arguments], timeout) from None
        return subprocess.CompletedProcess(["kns", *arguments], code, _text(out), _text(errors))


def _file(text: str = "") -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(text.encode())
    file.seek(0)
    return file


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="surrogateescape")


def _connection() -> socket.socket:
    """To the server of this process, which is started with the first run."""
    global _server  # noqa: PLW0603 - one for all runs
    if _server is None or _server[0] != os.getpid():
        address = f"\0kns-tests-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(address)
            listening.listen(64)
            code = f"from tests.cli import forked; forked.serve({listening.fileno()})"
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[listening.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(process.kill)
        _server = os.getpid(), address
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    found.connect(_server[1])
    return found


# -- the server ------------------------------------------------------------------------------------


def serve(fd: int) -> None:
    """Import what all commands need, then fork for each connection. Ends with the test run."""
    for package in ("kns.cli", "kns.engine", "kns.probe", "kns.report"):
        for module in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        ):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    gc.freeze()  # else a look for garbage in a fork copies what it shares with the others
    parent = os.getppid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    listening = socket.socket(fileno=fd)
    listening.settimeout(1)
    while os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            connection = listening.accept()[0]
            if os.fork() == 0:
                listening.close()
                _keep(connection)
            connection.close()


def _keep(connection: socket.socket) -> None:
    """In the keeper: run what is asked for, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, streams, _, _ = socket.recv_fds(connection, _MOST, 3)
    request = json.loads(data)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(request, streams)
    connection.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):  # nobody waits any more
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: dict[str, object], streams: Sequence[int]) -> None:
    """In the command's process: never returns."""
    code: object = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(request["env"])  # type: ignore[call-overload]
        os.chdir(str(request["cwd"]))
        sys.argv = ["kns", *request["arguments"]]  # type: ignore[misc]
        from kns.cli.main import main

        code = main()
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)
