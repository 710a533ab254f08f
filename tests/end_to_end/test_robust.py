"""Labs to which somebody has done what nobody should."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from kns.compile.paths import LabPaths
from kns.engine import agent, process_records
from kns.engine.down import down
from kns.engine.labs import agent_pid
from kns.engine.lock import locked
from kns.engine.orders import AgentStatus, Converge, Converged, GetStatus
from kns.engine.status import status
from kns.engine.up import up
from kns.errors import ApplyError, CancelledError
from kns.kernel import netns, processes
from kns.kernel.processes import Context
from tests.cli.process import KNS, kns
from tests.end_to_end.labfiles import leftovers, small_lab, write_lab

pytestmark = pytest.mark.kernel

LAB = "robusttest"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    down(LAB)
    assert leftovers(LAB) == {}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return write_lab(tmp_path, small_lab(LAB))


@pytest.fixture
def stopped_agent(lab: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The pid of a lab's agent that hangs."""
    monkeypatch.setattr(agent, "DEAF", 0.5)
    monkeypatch.setattr("kns.engine.status.PATIENCE", 0.5)
    up(lab)
    pid = agent_pid(LAB)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    return pid


def names_of_lab() -> tuple[str, ...]:
    return netns.list_netns(f"kns.{LAB}.")


# -- an agent that hangs ---------------------------------------------------------------------------


def test_status_of_a_hanging_agent_ends(stopped_agent: int) -> None:
    found = status(LAB)
    assert (found.healthy, found.agent_pid) == (False, stopped_agent)
    assert "not a word" in found.agent_error


def test_up_replaces_a_hanging_agent(lab: Path, stopped_agent: int) -> None:
    result = up(lab)
    assert (result.ops, result.agent_started) == ((), True)
    assert agent_pid(LAB) not in {None, stopped_agent}
    assert status(LAB).healthy


FOREIGN = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.bind(sys.argv[1])
    sock.listen()
    while True:
        connection, _ = sock.accept()
        with connection, connection.makefile("rb") as file:
            while file.readline():
                connection.sendall(b'{"ok": true, "servers": 4}' + bytes([10]))
"""


def test_an_agent_of_another_kns_is_told_and_replaced(lab: Path) -> None:
    up(lab)
    before = agent_pid(LAB)
    assert before is not None
    processes.kill_all([before], grace=2)
    where = LabPaths(LAB).socket
    argv = [sys.executable, "-c", FOREIGN, str(where), "-m", "kns.agent", LAB]
    foreign = processes.spawn(argv, context=Context(f"kns.{LAB}.fabric"))
    try:
        while not where.exists():
            time.sleep(0.01)
        found = status(LAB)
        assert (found.healthy, found.agent_pid) == (False, foreign.pid)
        assert found.agent_error.startswith(
            "the lab's agent is not of this kns: its answer is not AgentStatus: '{\"ok\": true"
        )
        assert up(lab).agent_started
        assert agent_pid(LAB) not in {None, foreign.pid}
        assert status(LAB).healthy
    finally:
        foreign.kill()
        foreign.wait(timeout=5)


def test_waiting_for_an_agent_can_be_cancelled(stopped_agent: int) -> None:
    assert stopped_agent
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    start = time.monotonic()
    with pytest.raises(CancelledError):
        agent.order(LAB, Converge(), Converged, cancelled=cancelled)
    assert time.monotonic() - start < 3


def test_more_callers_than_a_hanging_agent_lets_wait_end_too(stopped_agent: int) -> None:
    assert stopped_agent
    for _ in range(20):
        with pytest.raises(ApplyError, match="does not answer"):
            agent.order(LAB, GetStatus(), AgentStatus, patience=0.0)


# -- netns and files removed by hand ---------------------------------------------------------------


def test_agent_without_its_fabric_netns_is_found_and_replaced(lab: Path) -> None:
    up(lab)
    before = agent_pid(LAB)
    netns.delete(f"kns.{LAB}.fabric")
    assert agent_pid(LAB) == before
    up(lab)
    assert agent_pid(LAB) not in {None, before}
    assert status(LAB).healthy


def test_down_ends_an_agent_of_which_nothing_else_is_left(lab: Path) -> None:
    up(lab)
    for name in names_of_lab():
        netns.delete(name)
    shutil.rmtree(LabPaths(LAB).folder)
    done = kns("down", LAB)
    assert (done.returncode, done.stdout.split(" netns")[0]) == (0, f"{LAB} is gone: 0")
    assert leftovers(LAB) == {}


def test_down_ends_a_program_that_left_its_netns(tmp_path: Path) -> None:
    own = 'containers: [{name: c, command: [unshare, --net, sleep, "987654"]}]'
    text = small_lab(LAB).replace("labels: {app: a}}", f"labels: {{app: a}}, {own}}}")
    up(write_lab(tmp_path, text))
    deadline = time.monotonic() + 60
    while not sleepers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sleepers() <= set(process_records.pids_of(LAB)) != set()
    down(LAB)
    assert sleepers() == set()


@pytest.mark.parametrize("place", ["pod1", "node1", "fabric"])
def test_down_ends_what_an_exec_has_left_behind_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """In a session and a netns of its own, its parent gone; but not who was called from there."""
    path = write_lab(tmp_path, small_lab(LAB))
    with monkeypatch.context() as inside:
        inside.setenv(process_records.EXEC_MARKER, "another")
        up(path)
    assert set(process_records.pids_of("another")) == set()
    leave = "setsid unshare --net sleep 987654 </dev/null >/dev/null 2>&1 &"
    assert kns("exec", place, "--", "sh", "-c", leave).returncode == 0
    deadline = time.monotonic() + 60
    while not sleepers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(sleepers()) == 1
    down(LAB)
    assert sleepers() == set()


def sleepers() -> set[int]:
    """The processes that sleep so long."""
    pids = {int(path.name) for path in Path("/proc").glob("[0-9]*")}
    return {pid for pid in pids if processes.command_line(pid) == b"sleep\000987654\0"}


def test_agent_of_another_lab_is_let_be(lab: Path) -> None:
    """`robusttes` is no part of `robusttest`."""
    up(lab)
    pid = agent_pid(LAB)
    down(LAB[:-1])
    assert (agent_pid(LAB[:-1]), agent_pid(LAB)) == (None, pid)


def test_processes_are_told_apart_by_whole_arguments() -> None:
    with subprocess.Popen(
        ["sh", "-c", "echo; read _", "x", "lab"], stdin=PIPE, stdout=PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()  # it has its arguments now
        found = [set(processes.with_arguments((argument,))) for argument in ("lab", "ab", "la")]
        other.kill()
    assert [other.pid in pids for pids in found] == [True, False, False]


def test_down_says_what_it_could_not_remove(lab: Path) -> None:
    up(lab)
    kept = LabPaths(LAB).logs
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(kept)], check=True)
    try:
        with pytest.raises(ApplyError, match="busy"):
            down(LAB)
        assert names_of_lab() == ()
    finally:
        subprocess.run(["umount", str(kept)], check=True)


def test_lock_is_taken_although_its_folder_has_just_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last lab's `down` removes /run/kns while another lab's `up` begins."""
    folder = tmp_path / "kns"
    monkeypatch.setattr("kns.compile.paths.RUN_DIR", folder)
    monkeypatch.setattr("kns.engine.lock.ensure_folder", _AfterTheFirst(folder))
    with locked(LabPaths(LAB)):
        assert LabPaths(LAB).lock.exists()
    assert not folder.exists()


class _AfterTheFirst:
    """`ensure_folder` whose first result vanishes at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = 0

    def __call__(self, path: Path) -> None:
        assert path == self._folder
        self._calls += 1
        if self._calls > 1:
            path.mkdir(mode=0o700, parents=True)


# -- killed ----------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from kns.engine.up import up

left = int(sys.argv[2])
def on_op(op):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
up(Path(sys.argv[1]), on_op=on_op)
"""


@pytest.mark.parametrize("is_there", [False, True])
def test_what_an_up_that_was_killed_had_to_do_a_fault_s_command_does(
    tmp_path: Path, *, is_there: bool
) -> None:
    """The snapshot was written for the agent, and nothing of it carried out."""
    path = write_lab(tmp_path, small_lab(LAB))
    if is_there:
        up(path)
    write_lab(tmp_path, small_lab(LAB, pods=3, nodes=2))
    argv = [sys.executable, "-c", KILLED, str(path), "2"]
    assert subprocess.run(argv, check=False, timeout=60).returncode == -signal.SIGKILL
    done = kns("fail", "pod3")
    assert (done.returncode, done.stderr) == (0, "")
    assert up(path).ops
    assert status(LAB).healthy


# -- signals and streams ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["> /dev/full", "| true"])
def test_up_goes_on_when_nobody_can_read_how(lab: Path, stream: str) -> None:
    line = f"{' '.join(KNS)} up {lab} {stream}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in {3, 141}
    assert status(LAB).healthy


def test_up_stays_alive_where_the_signal_is_ignored(lab: Path) -> None:
    """As under nohup, or in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result = up(lab, on_op=lambda _op: os.kill(os.getpid(), signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.created
    assert status(LAB).healthy


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_up_tells_by_its_exit_code_by_what(lab: Path, number: int) -> None:
    with pytest.raises(CancelledError) as caught:
        up(lab, on_op=lambda _op: os.kill(os.getpid(), number))
    assert caught.value.exit_code == 128 + number
    assert leftovers(LAB) == {}
