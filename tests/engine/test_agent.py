"""How a command speaks with the lab's agent."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.compile import paths
from kns.compile.paths import LabPaths
from kns.engine import agent
from kns.engine.orders import Converge, Converged, encode
from kns.kernel.processes import Process
from kns.kernel.sockets import listen_unix

LAB = "ordertest"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """A process that stands for an agent just started."""
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    LabPaths(LAB).folder.mkdir()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def refuse_one() -> None:
    """A predecessor's socket: it is closed with an order in it."""
    sock = listen_unix(LabPaths(LAB).socket)
    sock.setblocking(True)
    connection, _ = sock.accept()
    connection.recv(1)
    connection.close()
    sock.close()


def answer_one() -> None:
    sock = listen_unix(LabPaths(LAB).socket)
    sock.setblocking(True)
    with sock, sock.accept()[0] as connection:
        connection.recv(1 << 16)
        connection.sendall(encode(Converged(1, 2)))


def test_an_agent_that_was_killed_does_not_answer_for_its_successor(started: Process) -> None:
    def serve() -> None:
        refuse_one()
        answer_one()

    thread = threading.Thread(target=serve)
    thread.start()
    assert agent.order(LAB, Converge(), Converged, process=started) == Converged(1, 2)
    thread.join()
