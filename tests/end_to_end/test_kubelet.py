"""Kubelet on the kernel: probes from the node's netns, orderly ends, restarts."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kns.agent.agent import Agent
from kns.agent.kubelet.reports import ContainerReport
from kns.compile import paths
from kns.kernel import netns
from kns.kinds.lifecycle import (
    ExecAction,
    HTTPGetAction,
    Lifecycle,
    Probe,
    ProbeAction,
    SleepAction,
    TCPSocketAction,
)
from kns.kinds.pod import Container, Pod
from tests.end_to_end.agent_lab import (
    ScratchLab,
    ask_udp,
    empty_lab,
    get,
    inside,
    pod,
    refuses,
    server,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]
NUMBERS = itertools.count()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchLab]:
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    made = empty_lab(f"kubelet{os.getpid()}c{next(NUMBERS)}")
    made.make_netns("node1")
    made.make_netns("web")
    made.join("node1", "web")
    yield made
    made.remove()


def probe(action: ProbeAction, **fields: int) -> Probe:
    return Probe(action, **{"period_seconds": 1, "failure_threshold": 1, **fields})


async def begun(agent: Agent, lab: ScratchLab, item: Pod) -> None:
    lab.want(item)
    assert (await agent.converge()).errors == ()
    agent.kubelet.update(lab.cluster)


def reports(agent: Agent) -> tuple[ContainerReport, ...]:
    found = agent.kubelet.report("default", "web")
    assert found is not None
    return found.containers


def report(agent: Agent) -> ContainerReport:
    return reports(agent)[0]


async def eventually(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not found():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(HTTPGetAction(8080, "/healthz"), id="http"),
        pytest.param(HTTPGetAction(8080, "/redirect?location=/hostname"), id="redirect"),
        pytest.param(TCPSocketAction(8080), id="tcp"),
        pytest.param(ExecAction(("test", "-d", "/")), id="exec"),
    ],
)
def test_a_probe_that_passes_makes_the_container_ready(
    lab: ScratchLab, action: ProbeAction
) -> None:
    async def body() -> None:
        async with lab.agent() as agent:
            container = replace(server(8080), readiness_probe=probe(action))
            await begun(agent, lab, pod("web", container))
            await eventually(lambda: report(agent).ready)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("action", "message"),
    [
        pytest.param(
            HTTPGetAction(8080, "/echo?code=500"),
            "HTTP probe failed with statuscode: 500",
            id="http",
        ),
        pytest.param(
            TCPSocketAction(81),
            "dial tcp 10.77.0.2:81: connect: connection refused",
            id="tcp",
        ),
        pytest.param(ExecAction(("sh", "-c", "echo broken; exit 3")), "broken", id="exec"),
        pytest.param(
            ExecAction(("sleep", "60")),
            'command timed out: "sleep 60" timed out after 1s',
            id="timeout",
        ),
    ],
)
def test_a_probe_that_fails_says_why(
    lab: ScratchLab, action: ProbeAction, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with lab.agent() as agent:
            container = replace(server(8080), readiness_probe=probe(action))
            await begun(agent, lab, pod("web", container))
            await eventually(lambda: f"Readiness probe failed: {message}" in caplog.text)
            assert not report(agent).ready

    asyncio.run(body())


def test_a_server_that_is_killed_is_closed_and_comes_back(lab: ScratchLab) -> None:
    async def body() -> None:
        async with lab.agent() as agent:
            await begun(agent, lab, pod("web", server(8080, udp=5353)))
            agent.kubelet.kill("default", "web")
            await eventually(lambda: report(agent).restarts == 1)
            assert report(agent).ready
            found = await inside(lab.netns_of("node1"), get, "10.77.0.2", 8080, "/hostname")
            assert found == (200, "web")
            place = lab.netns_of("node1")
            assert await inside(place, ask_udp, "10.77.0.2", 5353, "hostname") == "web"
            ended = report(agent).ended
            assert ended is not None
            assert (ended.exit_code, ended.signal) == (137, signal.SIGKILL)
            before = (await agent.status()).listeners
            agent.kubelet.kill("default", "web")
            await eventually(lambda: report(agent).waiting[0] == "CrashLoopBackOff")
            # it waits to be started again: nothing that `kns up` could mend
            account = await agent.status()
            assert account.listeners == before
            (failure,) = account.errors
            assert failure.subject == "default/web/web"

    asyncio.run(body())


def test_a_terminating_server_finishes_what_it_was_asked(lab: ScratchLab) -> None:
    """The listener is closed at once; a request that is under way is answered."""

    async def body() -> None:
        async with lab.agent() as agent:
            await begun(agent, lab, pod("web", server(8080)))
            node = lab.netns_of("node1")
            slow = asyncio.create_task(inside(node, get, "10.77.0.2", 8080, "/delay?ms=800"))
            idle = await inside(node, socket.create_connection, ("10.77.0.2", 8080))
            await asyncio.sleep(0.3)
            end = asyncio.create_task(agent.kubelet.terminate("default", "web", 30))
            await asyncio.sleep(0.2)
            assert await inside(node, refuses, "10.77.0.2", 8080)
            assert not end.done()
            assert await slow == (200, "waited 800 ms\n")
            await end
            assert idle.recv(1) == b""
            idle.close()
            ended = report(agent).ended
            assert ended is not None
            assert ended.exit_code == 0

    asyncio.run(body())


def test_a_pre_stop_sleep_leaves_the_server_open(lab: ScratchLab) -> None:
    async def body() -> None:
        async with lab.agent() as agent:
            hooks = Lifecycle(pre_stop=SleepAction(1))
            await begun(agent, lab, pod("web", replace(server(8080), lifecycle=hooks)))
            end = asyncio.create_task(agent.kubelet.terminate("default", "web", 30))
            await asyncio.sleep(0.3)
            found = await inside(lab.netns_of("node1"), get, "10.77.0.2", 8080, "/hostname")
            assert found == (200, "web")
            await end
            assert await inside(lab.netns_of("node1"), refuses, "10.77.0.2", 8080)

    asyncio.run(body())


def test_a_pod_that_is_made_anew_under_its_name_is_served(lab: ScratchLab) -> None:
    async def body() -> None:
        async with lab.agent() as agent:
            await begun(agent, lab, pod("web", server(8080)))
            await agent.kubelet.terminate("default", "web", 1)
            assert await inside(lab.netns_of("node1"), refuses, "10.77.0.2", 8080)
            await begun(agent, lab, pod("web", server(8080), addresses=("10.77.0.3",)))
            await eventually(lambda: report(agent).ready)
            found = await inside(lab.netns_of("node1"), get, "10.77.0.3", 8080, "/hostname")
            assert found == (200, "web")

    asyncio.run(body())


@pytest.mark.parametrize("is_under_way", [False, True])
def test_a_pod_that_ended_when_up_brought_it_back_runs_again(
    lab: ScratchLab, *, is_under_way: bool
) -> None:
    """It has the same address and containers then, and its netns has stayed."""

    async def body() -> None:
        async with lab.agent() as agent:
            hooks = Lifecycle(pre_stop=SleepAction(1))
            program = Container("main", command=("sleep", "300"), lifecycle=hooks)
            same = pod("web", replace(server(8080), lifecycle=hooks), program)
            await begun(agent, lab, same)
            end = asyncio.create_task(agent.kubelet.terminate("default", "web", 10))
            await asyncio.sleep(0.3)
            if not is_under_way:
                await end
            await begun(agent, lab, replace(same, terminating=True))
            end.cancel()
            await begun(agent, lab, same)
            await eventually(lambda: all(item.ready for item in reports(agent)))
            assert await inside(lab.netns_of("node1"), get, "10.77.0.2", 8080, "/hostname")
            await asyncio.sleep(1.2)  # what had begun to end them has come to nothing
            assert all(item.running for item in reports(agent))
            assert [item.pid > 0 for item in (await agent.status()).containers] == [True]

    asyncio.run(body())


def test_the_grace_period_ends_in_a_kill(lab: ScratchLab) -> None:
    async def body() -> None:
        async with lab.agent() as agent:
            stubborn = Container(
                "main", command=("sh", "-c", "trap '' TERM; sleep 300 & wait; wait")
            )
            await begun(agent, lab, pod("web", stubborn))
            await asyncio.sleep(0.3)
            await agent.kubelet.terminate("default", "web", 0.5)
            ended = report(agent).ended
            assert ended is not None
            assert ended.exit_code == 137
            await agent.stop()

    asyncio.run(body())


def test_a_process_whose_liveness_fails_is_made_anew(lab: ScratchLab) -> None:
    async def body() -> None:
        async with lab.agent() as agent:
            flag = lab.paths.folder / "alive"
            flag.write_text("", encoding="utf-8")
            container = Container(
                "main",
                command=("sleep", "300"),
                liveness_probe=probe(ExecAction(("test", "-e", str(flag)))),
            )
            await begun(agent, lab, pod("web", container))
            await eventually(lambda: report(agent).running > 0)
            flag.unlink()
            await eventually(lambda: report(agent).ended is not None)
            flag.write_text("", encoding="utf-8")
            await eventually(lambda: report(agent).restarts == 1 and report(agent).ready)
            await agent.stop()

    asyncio.run(body())


def test_probes_come_from_the_node(lab: ScratchLab) -> None:
    """The server sees the node's address, as a network policy has to let it."""
    seen: list[str] = []

    def listen() -> socket.socket:
        sock = socket.create_server(("10.77.0.2", 9090))
        sock.settimeout(10)
        return sock

    async def body() -> None:
        sock = await inside(lab.netns_of("web"), listen)
        async with lab.agent() as agent:
            container = replace(
                server(8080), readiness_probe=probe(TCPSocketAction(9090, "10.77.0.2"))
            )
            await begun(agent, lab, pod("web", container))
            connection, peer = await asyncio.to_thread(sock.accept)
            seen.append(peer[0])
            connection.close()
        sock.close()

    asyncio.run(body())
    assert seen == ["10.77.0.1"]
    assert netns.is_netns(lab.netns_of("node1"))
