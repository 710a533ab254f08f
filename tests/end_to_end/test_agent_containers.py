"""Containers that are real processes: started, watched, taken over, stopped."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kns.agent import containers
from kns.agent.agent import Agent
from kns.agent.container import GRACE_SECONDS
from kns.compile import paths
from kns.compile.programs.programs import programs
from kns.engine.orders import ContainerState, ContainerStatus, Converged, Stopped
from kns.kernel import netns, processes
from kns.kinds.env import EnvVar
from kns.kinds.pod import Container
from tests.end_to_end.agent_lab import ScratchLab, empty_lab, pod, read_text

pytestmark = [
    pytest.mark.kernel,
    # an agent that ends leaves its containers running; here its process goes on and notices
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]
NUMBERS = itertools.count()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchLab]:
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    made = empty_lab(f"runtime{os.getpid()}c{next(NUMBERS)}")
    yield made
    made.remove()


def script(text: str, *, name: str = "main", env: tuple[tuple[str, str], ...] = ()) -> Container:
    variables = tuple(EnvVar(key, value) for key, value in env)
    return Container(name, command=("sh", "-c", text), env=variables)


async def eventually(found: Callable[[], Any], seconds: float = 8.0) -> Any:
    """What `found` returns as soon as that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        await asyncio.sleep(0.02)
    pytest.fail("it did not happen in time")


async def only_container(agent: Agent) -> ContainerStatus:
    answer = await agent.status()
    (found,) = answer.containers
    return found


async def running(agent: Agent, *, not_pid: int = 0) -> int:
    """The pid of the one container, as soon as it has one (another one than `not_pid`)."""
    end = time.monotonic() + 8
    while time.monotonic() < end:
        found = await only_container(agent)
        if found.pid not in (0, not_pid):
            return found.pid
        await asyncio.sleep(0.02)
    pytest.fail("it does not run")


def pids_in(name: str) -> set[int]:
    inode = netns.identity(name)
    assert inode is not None
    return set(processes.in_netns({inode[1]}))


def test_process_runs_in_the_pod_with_its_environment_and_log(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(
        pod(
            "b",
            script(
                'echo "$HOSTNAME $(hostname) $A $SVC_HOST"; exec sleep 60',
                env=(("A", "x-$(SVC_HOST)"),),
            ),
        )
    )
    etc = lab.paths.pod_etc(name)
    etc.mkdir(parents=True)
    (etc / "env").write_text('[["SVC_HOST", "10.96.0.7"]]')
    log = lab.paths.logs / f"{name}.main.log"

    async def body() -> None:
        async with lab.agent() as agent:
            answer = await agent.converge()
            assert (answer.errors, answer.containers) == ((), 1)
            pid = await running(agent)
            assert pid in pids_in(name)
            assert await eventually(lambda: read_text(log)) == "b b x-10.96.0.7 10.96.0.7\n"
            assert log.stat().st_mode & 0o777 == 0o600
            assert await only_container(agent) == ContainerStatus(
                container=f"{lab.name}/default/b/main",
                netns=name,
                digest=programs(lab.cluster)[0].digest,
                files_digest=programs(lab.cluster)[0].files_digest,
                state=ContainerState.RUNNING,
                pid=pid,
                restarts=0,
                adopted=False,
                message="",
            )

    asyncio.run(body())


def test_process_that_dies_is_started_again_and_its_children_are_gone(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", script("sleep 1001 & sleep 1002 & wait")))

    async def body() -> None:
        async with lab.agent() as agent:
            await agent.converge()
            pid = await running(agent)
            first = await eventually(lambda: len(pids_in(name)) == 3 and pids_in(name))
            os.kill(pid, signal.SIGKILL)
            again = await running(agent, not_pid=pid)
            second = await eventually(lambda: len(pids_in(name)) == 3 and pids_in(name))
            assert again in second
            assert first & second == set()
            found = await only_container(agent)
            assert (found.restarts, found.state) == (1, "running")

    asyncio.run(body())


def test_process_that_keeps_dying_waits(lab: ScratchLab) -> None:
    lab.make_netns("b")
    lab.want(pod("b", script("exit 3")))

    async def body() -> None:
        async with lab.agent() as agent:
            await agent.converge()
            found = await only_container(agent)
            while not (found.restarts == 1 and found.state == "waiting"):
                await asyncio.sleep(0.02)
                found = await only_container(agent)
            assert (found.pid, found.message) == (0, "exited with 3")
            await asyncio.sleep(0.3)
            assert await only_container(agent) == found
            (error,) = (await agent.status()).errors
            assert error.subject == found.container
            assert error.message == "exited with 3; it is going to be started again"

    asyncio.run(body())


def test_missing_program_is_reported_with_what_to_do(lab: ScratchLab) -> None:
    lab.make_netns("b")
    lab.want(pod("b", Container("main", command=("no-such-program-here",))))

    async def body() -> Converged:
        async with lab.agent() as agent:
            answer = await agent.converge()
            assert (await only_container(agent)).state == "waiting"
            return answer

    answer = asyncio.run(body())
    assert len(answer.errors) == 1
    assert answer.errors[0].subject == f"{lab.name}/default/b/main"
    assert "no-such-program-here" in answer.errors[0].message
    assert "install" in answer.errors[0].hint


def test_changed_command_replaces_the_process_an_unchanged_one_stays(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", script("exec sleep 1001")))

    async def body() -> None:
        async with lab.agent() as agent:
            await agent.converge()
            first = await running(agent)
            await agent.converge()
            assert await running(agent) == first
            lab.want(pod("b", script("exec sleep 1002")))
            await agent.converge()
            second = await running(agent)
            assert second != first
            assert pids_in(name) == {second}

    asyncio.run(body())


def test_removed_pod_and_stop_leave_no_process(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    stubborn = "trap '' TERM; sleep 1001 & echo ready; while :; do sleep 0.05; done"

    async def deaf(agent: Agent, container: str) -> None:
        await agent.converge()
        log = lab.paths.logs / f"{name}.{container}.log"
        await eventually(lambda: read_text(log) == "ready\n")

    async def body() -> list[float]:
        async with lab.agent() as agent:
            lab.want(pod("b", script(stubborn)))
            await deaf(agent, "main")
            lab.want()
            times = [time.monotonic()]
            assert (await agent.converge()).containers == 0
            times.append(time.monotonic())
            assert pids_in(name) == set()
            assert list(lab.paths.logs.iterdir()) == []
            lab.want(pod("b", script("exec sleep 1001"), script(stubborn, name="side")))
            await deaf(agent, "side")
            times.append(time.monotonic())
            assert await agent.stop() == Stopped()
            times.append(time.monotonic())
            assert pids_in(name) == set()
            return times

    first, second, third, fourth = asyncio.run(body())
    assert second - first > GRACE_SECONDS
    assert fourth - third > GRACE_SECONDS
    assert list(lab.paths.logs.glob("*.process")) == []


@pytest.mark.parametrize("lost_record", [False, True])
def test_next_agent_takes_the_process_over(lab: ScratchLab, *, lost_record: bool) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", script("sleep 1001 & wait")))

    async def body() -> None:
        async with lab.agent() as agent:
            await agent.converge()
            first = await running(agent)
            await eventually(lambda: len(pids_in(name)) == 2)
        if lost_record:
            (record,) = lab.paths.logs.glob("*.process")
            record.unlink()
        async with lab.agent() as agent:
            answer = await agent.converge()
            assert (answer.errors, answer.containers) == ((), 1)
            found = await only_container(agent)
            assert (found.pid, found.adopted) == (first, True)
            assert len(pids_in(name)) == 2
            os.kill(first, signal.SIGKILL)  # and watches it like its own
            second = await running(agent, not_pid=first)
            assert (await only_container(agent)).adopted is False
            await eventually(lambda: len(pids_in(name)) == 2 and second in pids_in(name))

    asyncio.run(body())


def test_program_that_overwrites_its_environment_is_taken_over_too(lab: ScratchLab) -> None:
    """nginx writes its title over its environment, and then /proc shows no marker any more."""
    name = lab.make_netns("b")
    forget = (
        "import ctypes, os, time\n"
        "fields = open('/proc/self/stat').read().rpartition(')')[2].split()\n"
        "start, end = int(fields[47]), int(fields[48])\n"
        "ctypes.memset(start, 0, end - start)\n"
        "time.sleep(1000)\n"
    )
    lab.want(pod("b", Container("main", command=(sys.executable, "-c", forget))))

    async def body() -> None:
        async with lab.agent() as agent:
            await agent.converge()
            first = await running(agent)
            environ = Path(f"/proc/{first}/environ")
            await eventually(lambda: b"KNS_CONTAINER" not in environ.read_bytes())
        async with lab.agent() as agent:
            await agent.converge()
            assert (await only_container(agent)).pid == first
            assert pids_in(name) == {first}

    asyncio.run(body())


def test_next_agent_replaces_what_was_changed_and_stops_what_is_not_wanted(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", script("exec sleep 1001"), script("exec sleep 1002", name="side")))

    async def body() -> None:
        async with lab.agent() as agent:
            await agent.converge()
            before = pids_in(name)
            assert len(before) == 2
        lab.want(pod("b", script("exec sleep 1003")))
        async with lab.agent() as agent:
            await agent.converge()
            pid = await running(agent)
            assert pids_in(name) == {pid}
            assert pid not in before

    asyncio.run(body())


def test_process_of_a_pod_made_anew_is_started_in_the_new_netns(lab: ScratchLab) -> None:
    name = lab.make_netns("b")
    lab.want(pod("b", script("exec sleep 1001")))

    async def body() -> None:
        async with lab.agent() as agent:
            await agent.converge()
            first = await running(agent)
            lab.delete_netns("b")
            lab.make_netns("b")
            assert pids_in(name) == set()
            await agent.converge()
            second = await running(agent)
            assert pids_in(name) == {second}
            assert not Path(f"/proc/{first}").exists()

    asyncio.run(body())


def test_port_passes_from_a_built_in_server_to_a_process_and_back(lab: ScratchLab) -> None:
    from tests.end_to_end.agent_lab import get, inside, server

    name = lab.make_netns("b")
    serve = Container("web", command=(sys.executable, "-m", "http.server", "8080"))

    async def body() -> None:
        async with lab.agent() as agent:
            for wanted in (server(8080), serve, server(8080)):
                lab.want(pod("b", wanted))
                answer = await agent.converge()
                assert answer.errors == ()
            assert await inside(name, get, "127.0.0.1", 8080, "/hostname") == (200, "b")

    asyncio.run(body())


def test_log_that_grows_too_large_is_moved_away(
    lab: ScratchLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "LOG_MAX", 1000)
    monkeypatch.setattr(containers, "SIZE_CHECK_SECONDS", 0.1)
    name = lab.make_netns("b")
    text = "seq 1000; while [ -s /proc/self/fd/1 ]; do sleep 0.02; done; echo more; exec sleep 1001"
    lab.want(pod("b", script(text)))
    older = lab.paths.logs / f"{name}.main.log.1"

    async def body() -> None:
        async with lab.agent() as agent:
            await agent.converge()
            await eventually(lambda: older.exists() and read_text(older).endswith("\n1000\n"))
            # the last of it: what was before is too much to keep
            assert older.stat().st_size == 1000
            assert older.stat().st_mode & 0o777 == 0o600
            log = lab.paths.logs / f"{name}.main.log"
            # written on from its beginning, not after a hole
            await eventually(lambda: read_text(log) == "more\n")

    asyncio.run(body())
