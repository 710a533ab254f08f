"""The agent as the process that `kns up` starts: `python -m kns.agent LAB`."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.agent.containers import LOG_MAX
from kns.compile import paths
from kns.engine import agent, snapshot
from kns.engine.orders import (
    AgentStatus,
    Converge,
    Converged,
    GetStatus,
    Refused,
    Shutdown,
    Stopped,
)
from kns.kernel import netns, processes
from tests.end_to_end.agent_lab import ScratchLab, empty_lab, get, get_json, pod, server

pytestmark = pytest.mark.kernel
NUMBERS = itertools.count()
LAB = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: NAME}
nodes: [{name: node1}]
pods:
- {name: web, node: node1, containers: [{name: web, port: 8080}]}
- name: job
  node: node1
  containers: [{name: main, command: [sleep, "1001"]}]
internet: [{name: outside}]
networking: {dns: {enabled: false}}
"""
NETNS = ("fabric", "node1", "web", "job", "outside")


@pytest.fixture
def lab() -> Iterator[ScratchLab]:
    """A lab whose netns are empty, with its file where `up` would have put it."""
    made = empty_lab(f"runtime{os.getpid()}a{next(NUMBERS)}")
    made.paths.folder.mkdir(mode=0o700, parents=True)
    made.paths.spec.write_text(LAB.replace("NAME", made.name))
    for name in NETNS:
        made.make_netns(name)
    yield made
    made.remove()
    shutil.rmtree(made.paths.folder)
    if not any(paths.RUN_DIR.iterdir()):
        paths.RUN_DIR.rmdir()


def start(lab: ScratchLab) -> subprocess.Popen[bytes]:
    log = lab.paths.log.open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "kns.agent", lab.name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def converge(lab: ScratchLab) -> Converged | Refused:
    until_it_listens(lab)
    return agent.order(lab.name, Converge(), Converged)


def converges(lab: ScratchLab) -> bool:
    answer = converge(lab)
    return isinstance(answer, Converged) and not answer.errors


def status(lab: ScratchLab) -> AgentStatus:
    until_it_listens(lab)
    answer = agent.order(lab.name, GetStatus(), AgentStatus)
    assert isinstance(answer, AgentStatus)
    return answer


def until_it_listens(lab: ScratchLab) -> None:
    deadline = time.monotonic() + 20
    with socket.socket(socket.AF_UNIX) as sock:
        while sock.connect_ex(str(lab.paths.socket)) in {errno.ENOENT, errno.ECONNREFUSED}:
            if time.monotonic() > deadline:
                pytest.fail(f"no agent: {lab.paths.log.read_text()}")
            time.sleep(0.01)


def kill(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    process.send_signal(number)
    return process.wait(timeout=20)


def sleepers(lab: ScratchLab) -> set[int]:
    inode = netns.identity(lab.netns_of("job"))
    assert inode is not None
    return set(processes.in_netns({inode[1]}))


def test_agent_serves_the_lab_file_and_ends_by_stop(lab: ScratchLab) -> None:
    process = start(lab)
    answer = converge(lab)
    assert isinstance(answer, Converged)
    assert (answer.errors, answer.containers) == ((), 1)
    seen = netns.call_in(lab.netns_of("web"), get_json, "127.0.0.1", 8080)
    assert (seen["namespace"], seen["pod"], seen["node"]) == ("default", "web", "node1")
    assert netns.call_in(lab.netns_of("outside"), get, "127.0.0.1", 80, "/hostname") == (
        200,
        "outside",
    )
    code, page = netns.call_in(lab.netns_of("node1"), get, "127.0.0.1", 10256, "/healthz")
    assert (code, json.loads(page)["nodeEligible"]) == (200, True)
    assert agent.order(lab.name, Shutdown(), Stopped) == Stopped()
    assert process.wait(timeout=20) == 0
    assert sleepers(lab) == set()
    assert not lab.paths.socket.exists()


def test_agent_is_found_by_its_netns_and_its_pid_file(lab: ScratchLab) -> None:
    process = start(lab)
    assert status(lab).pid == process.pid
    fabric = netns.identity(lab.netns_of("fabric"))
    assert Path(f"/proc/{process.pid}/ns/net").stat().st_ino == (fabric or (0, 0))[1]
    assert lab.paths.pid.read_text() == f"{process.pid}\n"
    assert lab.paths.socket.stat().st_mode & 0o777 == 0o600
    assert kill(process, signal.SIGTERM) == 0
    assert lab.paths.pid.read_text() == ""


def test_killed_agent_is_followed_by_one_that_takes_over(lab: ScratchLab) -> None:
    first = start(lab)
    assert converges(lab)
    (sleeper,) = sleepers(lab)
    kill(first, signal.SIGKILL)
    assert sleepers(lab) == {sleeper}
    second = start(lab)
    assert converges(lab)
    assert sleepers(lab) == {sleeper}
    (container,) = status(lab).containers
    assert (container.pid, container.adopted) == (sleeper, True)
    assert netns.call_in(lab.netns_of("web"), get, "127.0.0.1", 8080, "/hostname") == (200, "web")
    assert kill(second, signal.SIGTERM) == 0
    assert sleepers(lab) == {sleeper}


def test_container_that_ended_without_an_agent_is_started_by_the_next(lab: ScratchLab) -> None:
    first = start(lab)
    converge(lab)
    kill(first, signal.SIGKILL)
    (sleeper,) = sleepers(lab)
    os.kill(sleeper, signal.SIGKILL)
    second = start(lab)
    assert converges(lab)
    (another,) = sleepers(lab)
    assert another != sleeper
    kill(second, signal.SIGTERM)


def test_second_agent_of_a_lab_gives_way(lab: ScratchLab) -> None:
    first = start(lab)
    assert status(lab).pid == first.pid
    second = start(lab)
    assert second.wait(timeout=20) == 4
    assert "has an agent already" in lab.paths.log.read_text()
    assert status(lab).pid == first.pid
    kill(first, signal.SIGTERM)


def test_broken_lab_file_is_told_and_what_runs_goes_on(lab: ScratchLab) -> None:
    process = start(lab)
    converge(lab)
    lab.paths.spec.write_text("kind: Lab\nnonsense: [\n")
    answer = converge(lab)
    assert isinstance(answer, Refused)
    assert "problem" in answer.error
    assert netns.call_in(lab.netns_of("web"), get, "127.0.0.1", 8080, "/hostname") == (200, "web")
    kill(process, signal.SIGTERM)


def test_agents_own_log_is_bounded(lab: ScratchLab) -> None:
    lab.want(pod("web", server(8080)))
    process = start(lab)
    assert converges(lab)
    with lab.paths.log.open("ab") as log:
        log.write(b"accept: too many open files\n" * 500_000 + b"the last\n")
    older = lab.paths.log.with_name("agent.log.1")
    deadline = time.monotonic() + 20
    while not older.exists() or lab.paths.log.stat().st_size > LOG_MAX:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert older.stat().st_size <= LOG_MAX
    assert older.read_bytes().endswith(b"the last\n")
    kill(process, signal.SIGTERM)


def test_agent_without_a_fabric_ends_with_the_reason(lab: ScratchLab) -> None:
    lab.delete_netns("fabric")
    assert start(lab).wait(timeout=20) == 3
    assert f"netns kns.{lab.name}.fabric does not exist" in lab.paths.log.read_text()


@pytest.mark.slow
def test_thousand_pods_are_served_by_one_small_process() -> None:
    pods = tuple(pod(f"p{number}", server(*range(8080, 8084), udp=5353)) for number in range(1000))
    made = empty_lab(f"runtime{os.getpid()}big")
    made.want(*pods)
    made.paths.folder.mkdir(mode=0o700, parents=True)
    snapshot.save(made.paths, made.cluster)
    spaces = [made.netns_of(name) for name in ("fabric", *(item.name for item in pods))]
    try:
        netns.prepare_folder()
        for name in spaces:
            netns.in_thread(netns.create_here, name)
        process = start(made)
        answer = converge(made)
        seconds = cpu_seconds(process.pid)
        found = status(made)
        kill(process, signal.SIGTERM)
    finally:
        for name in spaces:
            netns.delete(name)
        shutil.rmtree(made.paths.folder)
    assert answer == Converged(servers=5000, containers=0)
    assert found.rss_kb < 150_000
    assert seconds < 5  # start included; a fifth of that on an idle machine


def cpu_seconds(pid: int) -> float:
    """What the process has used so far (proc(5): utime and stime, in ticks)."""
    ticks = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def test_agent_takes_no_code_from_the_folder_it_was_started_in(
    lab: ScratchLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may well run `kns up` in a folder that anybody can write to."""
    for module in ("h11", "kns", "json", "sitecustomize"):
        (tmp_path / f"{module}.py").write_text(
            f"open({str(tmp_path / 'taken')!r}, 'w').write({module!r})\nraise SystemExit(7)\n"
        )
    monkeypatch.chdir(tmp_path)
    agent_process = agent.start(lab.name)
    try:
        assert converges(lab)
        seen = netns.call_in(lab.netns_of("web"), get_json, "127.0.0.1", 8080)
        assert seen["pod"] == "web"
        assert not (tmp_path / "taken").exists()
        assert Path(f"/proc/{agent_process.pid}/cwd").resolve() == Path("/")
    finally:
        kill(agent_process, signal.SIGTERM)
