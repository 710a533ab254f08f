"""up, down and status on the kernel: converge, repair, interruption, leftovers."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from kns.cli.main import main
from kns.compile.paths import LabPaths
from kns.engine import agent, labs
from kns.engine.down import down
from kns.engine.lock import locked
from kns.engine.orders import AgentStatus, GetStatus
from kns.engine.status import status
from kns.engine.up import UpResult, dry_run, up
from kns.errors import ApplyError, LockedError, UsageError
from kns.kernel import netns
from kns.kernel.processes import Context, run
from kns.kinds.networking import ProxyMode
from kns.plan.diff import plan
from kns.plan.ops import Add, Op
from kns.state.model import NextHop, Route
from tests.end_to_end.labfiles import fingerprint, leftovers, small_lab, write_lab

pytestmark = pytest.mark.kernel

LAB = "enginetest"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    down(LAB)
    assert leftovers(LAB) == {}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return write_lab(tmp_path, small_lab(LAB, pods=3, nodes=2))


def in_pod(pod: str, *argv: str) -> subprocess.CompletedProcess[str]:
    done = run(argv, context=Context(f"kns.{LAB}.{pod}"), timeout=20)
    return subprocess.CompletedProcess(argv, done.returncode, done.stdout, done.stderr)


def test_up_builds_and_serves(lab: Path) -> None:
    result = up(lab)
    assert (result.created, result.agent_started, result.problems) == (True, True, ())
    (service,) = result.cluster.services
    for _ in range(5):
        got = in_pod("pod1", "curl", "-sS", "-m5", f"http://{service.cluster_ips[0]}/hostname")
        assert got.stdout.strip() in {"pod1", "pod2", "pod3"}


def test_second_up_changes_nothing_and_writes_nothing(lab: Path) -> None:
    up(lab)
    time.sleep(2.5)  # the kernel tells a bridge's carrier with up to a second's delay
    seen: list[Op] = []
    with subprocess.Popen(
        ["ip", "netns", "exec", f"kns.{LAB}.node1", "ip", "monitor", "link", "address", "route"],
        stdout=subprocess.PIPE,
    ) as monitor:
        time.sleep(0.3)
        result = up(lab, on_op=seen.append)
        time.sleep(0.3)
        monitor.terminate()
        events = monitor.communicate()[0]
    assert (result.ops, seen, events) == ((), [], b"")
    assert (result.created, result.agent_started) == (False, False)


def test_up_after_a_break_mends_just_that(lab: Path) -> None:
    up(lab)
    assert in_pod("node1", "ip", "route", "del", "10.244.1.0/24").returncode == 0
    found = status(LAB)
    assert (found.healthy, len(found.drift)) == (False, 1)
    assert found.drift[0].startswith("node1: route add 10.244.1.0/24")
    result = up(lab)
    (op,) = result.ops
    assert isinstance(op, Add)
    assert isinstance(op.item, Route)
    assert status(LAB).healthy


def test_converge_keeps_other_pods_and_their_connections(lab: Path, tmp_path: Path) -> None:
    up(lab)
    before = {pod: netns.identity(f"kns.{LAB}.{pod}") for pod in ("pod1", "pod2")}
    address = labs.running(LAB).cluster.pods[1].addresses[0]

    def connect() -> socket.socket:
        return socket.create_connection((str(address), 8080), timeout=5)

    with netns.call_in(f"kns.{LAB}.pod1", connect) as held:
        write_lab(tmp_path, small_lab(LAB, pods=5, nodes=2))
        result = up(lab)
        assert {op.netns for op in result.ops}.isdisjoint(
            {f"kns.{LAB}.pod1", f"kns.{LAB}.pod2", f"kns.{LAB}.fabric"}
        )
        held.sendall(b"GET /hostname HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"pod2" in held.recv(4096)
    write_lab(tmp_path, small_lab(LAB, pods=2, nodes=2))
    up(lab)
    assert {pod: netns.identity(f"kns.{LAB}.{pod}") for pod in before} == before
    assert f"kns.{LAB}.pod3" not in labs.lab_netns(LAB)
    assert status(LAB).healthy


def test_open_connections_outlive_a_change_of_mode(lab: Path) -> None:
    up(lab)
    address = str(labs.running(LAB).cluster.services[0].cluster_ips[0])

    def connect() -> socket.socket:
        return socket.create_connection((address, 80), timeout=5)

    with netns.call_in(f"kns.{LAB}.pod1", connect) as held:
        held.sendall(b"GET /hostname HTTP/1.1\r\nHost: x\r\n\r\n")
        first = held.recv(4096)
        result = up(lab, proxy_mode=ProxyMode.NFTABLES)
        assert result.notes == (
            "proxy mode iptables → nftables: 1 open TCP connection to services outlives it:"
            " the connection table keeps the translation",
        )
        held.sendall(b"GET /hostname HTTP/1.1\r\nHost: x\r\n\r\n")
        assert held.recv(4096).splitlines()[-1] == first.splitlines()[-1]
        back = up(lab)
        assert back.notes[0].startswith("proxy mode nftables → iptables: 1 open")
    assert status(LAB).healthy


def test_recreated_pod_gets_a_new_address(lab: Path, tmp_path: Path) -> None:
    first = up(lab).cluster.pods[2].addresses
    write_lab(tmp_path, small_lab(LAB, pods=2, nodes=2))
    up(lab)
    write_lab(tmp_path, small_lab(LAB, pods=3, nodes=2))
    assert up(lab).cluster.pods[2].addresses[0] == first[0] + 1


def test_agent_killed_is_noticed_and_started_again(lab: Path) -> None:
    up(lab)
    pid = labs.agent_pid(LAB)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while labs.agent_pid(LAB) is not None:
        time.sleep(0.01)
    found = status(LAB)
    assert (found.agent_pid, found.drift, found.healthy) == (None, (), False)
    assert in_pod("pod1", "ping", "-c1", "-W5", "10.244.1.2").returncode == 0
    result = up(lab)
    assert (result.ops, result.agent_started) == ((), True)
    assert status(LAB).healthy


def test_agent_whose_socket_is_gone_is_replaced(lab: Path) -> None:
    up(lab)
    LabPaths(LAB).socket.unlink()
    assert up(lab).agent_started
    assert status(LAB).healthy


def test_dry_run_touches_nothing(lab: Path) -> None:
    assert not dry_run(lab).is_empty
    assert leftovers(LAB) == {}


def test_files_are_private(lab: Path) -> None:
    up(lab)
    folder = LabPaths(LAB).folder
    wrong = [
        str(path)
        for path in (folder, *folder.rglob("*"))
        if path.stat().st_mode & 0o777 != (0o700 if path.is_dir() else 0o600)
    ]
    assert wrong == []


def test_down_works_without_files(lab: Path) -> None:
    up(lab)
    for path in LabPaths(LAB).folder.iterdir():
        if path.is_file() or path.is_socket():
            path.unlink()
    with pytest.raises(UsageError, match="files of lab"):
        labs.running(LAB)
    assert down(LAB).netns == 7


def test_host_is_left_as_it_was(lab: Path) -> None:
    before = fingerprint()
    up(lab)
    during = fingerprint()
    down(LAB)
    assert during == before
    assert fingerprint() == before


def test_two_labs_with_the_same_addresses_run_side_by_side(lab: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    up(lab)
    try:
        up(write_lab(other, small_lab(f"{LAB}2", pods=3, nodes=2)))
        assert labs.list_labs() == (LAB, f"{LAB}2")
        with pytest.raises(UsageError, match="2 labs are running"):
            labs.choose_lab(None)
    finally:
        down(f"{LAB}2")
    assert in_pod("pod1", "ping", "-c1", "-W5", "10.244.1.2").returncode == 0


# -- interruption ----------------------------------------------------------------------------------


def forked(body: Callable[[], object]) -> int:
    """Run `body` in a child process; its exit status as os.waitpid gives it."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
        except BaseException:
            traceback.print_exc()
            os._exit(9)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def up_killed_at(lab: Path, number: int) -> bool:
    """An `up` that is killed just before its op of that number; False if it had no such op."""
    left = number

    def on_op(_op: Op) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    return os.WIFSIGNALED(forked(lambda: up(lab, on_op=on_op)))


@pytest.mark.slow
def test_kill_at_every_op_boundary(tmp_path: Path) -> None:
    """The next `up` finishes the job, and `down` cleans, wherever the first one was killed."""
    lab = write_lab(tmp_path, small_lab(LAB))
    count = len(dry_run(lab).ops)
    killed = 0
    for number in range(count):
        assert up_killed_at(lab, number)
        killed += 1
        if number % 2:
            up(lab)
            assert status(LAB).drift == ()
        down(LAB)
        assert leftovers(LAB) == {}
    print(f"\nSIGKILL at {killed} of {count} op boundaries")
    assert killed == count


@pytest.mark.slow
def test_kill_at_random_moments(tmp_path: Path) -> None:
    lab = write_lab(tmp_path, small_lab(LAB, pods=4, nodes=2))
    choice = random.Random(20)
    killed = 0
    for number in range(50):
        pid = os.fork()
        if pid == 0:
            up(lab)
            os._exit(0)
        time.sleep(choice.uniform(0.0, 0.6))
        os.kill(pid, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        if number % 2:
            up(lab)
            assert status(LAB).healthy
        down(LAB)
        assert leftovers(LAB) == {}
    print(f"\nSIGKILL at {killed} random moments")
    assert killed > 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_takes_back_what_the_run_made(lab: Path, number: signal.Signals) -> None:
    seen: list[Op] = []

    def on_op(op: Op) -> None:
        seen.append(op)
        if len(seen) == 40:
            os.kill(os.getpid(), number)

    assert os.WEXITSTATUS(forked(lambda: up(lab, on_op=on_op))) == 9
    assert leftovers(LAB) == {}


def test_signal_while_converging_goes_back_to_what_was(lab: Path, tmp_path: Path) -> None:
    up(lab)
    write_lab(tmp_path, small_lab(LAB, pods=6, nodes=2))

    def on_op(op: Op) -> None:
        if op.netns.endswith("pod5"):
            os.kill(os.getpid(), signal.SIGINT)

    assert os.WEXITSTATUS(forked(lambda: up(lab, on_op=on_op))) == 9
    assert len(labs.running(LAB).cluster.pods) == 3
    write_lab(tmp_path, small_lab(LAB, pods=3, nodes=2))
    assert labs.lab_netns(LAB) == tuple(
        f"kns.{LAB}.{name}" for name in ("fabric", "internet", "node1", "node2", "pod1", "pod2",
                                         "pod3")
    )  # fmt: skip
    assert dry_run(lab).is_empty


def test_what_the_kernel_says_of_a_refusal_is_the_hint(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its extended acknowledgement tells more than the number of the error."""
    destination, nowhere = ip_network("198.51.100.0/24"), NextHop(ip_address("192.0.2.1"))
    bad = Add(f"kns.{LAB}.node1", Route(destination, (nowhere,)))
    monkeypatch.setattr("kns.engine.up.plan", lambda *states: (*plan(*states), bad))
    assert main(["up", str(lab)]) == 4
    assert capfd.readouterr().err == (
        f"error: kns.{LAB}.node1: route add 198.51.100.0/24 via 192.0.2.1: Network is unreachable\n"
        "hint: Nexthop has invalid gateway\n"
    )
    assert leftovers(LAB) == {}


def test_kernel_refusing_takes_back_what_the_run_made(
    lab: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A real refusal: an iptables-restore that fails, found first on PATH."""
    fake = tmp_path / "bin" / "ip6tables-restore"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho refused >&2\nexit 4\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(ApplyError, match="ip6tables-restore: refused"):
        up(lab)
    assert leftovers(LAB) == {}


# -- two at once -----------------------------------------------------------------------------------


def test_second_up_at_the_same_time_waits(lab: Path) -> None:
    results: list[UpResult] = []
    threads = [threading.Thread(target=lambda: results.append(up(lab))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.created for result in results) == [False, False, True]
    assert status(LAB).healthy


def test_lock_says_who_holds_it(lab: Path) -> None:
    del lab
    paths = LabPaths(LAB)
    told: list[str] = []
    with (
        locked(paths),
        pytest.raises(LockedError, match=f"pid {os.getpid()} .* works on this lab"),
        locked(paths, patience=1.0, waiting=told.append),
    ):
        pass
    assert len(told) == 1


def test_agent_answers_orders(lab: Path) -> None:
    up(lab)
    answer = agent.order(LAB, GetStatus(), AgentStatus)
    assert isinstance(answer, AgentStatus)
    assert answer.errors == ()
    assert len(answer.listeners) >= 4
