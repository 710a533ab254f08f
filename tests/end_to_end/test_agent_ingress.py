"""The agent and nginx: an order is answered when nginx listens, or says that it doesn't."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kns.agent import readiness
from kns.compile import paths
from kns.engine import certificates
from kns.kernel import processes
from kns.kernel.processes import Context
from kns.kinds.ingress import IngressController
from kns.kinds.pod import Container, ContainerPort
from tests.end_to_end.agent_lab import ScratchLab, empty_lab, pod

pytestmark = [
    pytest.mark.kernel,
    # an agent that ends leaves its containers running; here its process goes on and notices
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]
NUMBERS = itertools.count()
CONTROLLER = Container(
    "controller", (ContainerPort(80, "http"), ContainerPort(443, "https")), component="nginx"
)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchLab]:
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    made = empty_lab(f"ingress{os.getpid()}a{next(NUMBERS)}")
    made.make_netns("ctl")
    made.want(pod("ctl", CONTROLLER))
    made.cluster = replace(
        made.cluster, ingress_controller=IngressController("nginx", ("default/ctl",), "x/y")
    )
    yield made
    made.remove()


def status(lab: ScratchLab) -> str:
    """What the controller answers, asked at once and once."""
    argv = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1/"]
    return processes.run(argv, context=Context(lab.netns_of("ctl"))).stdout


async def check_listening(lab: ScratchLab) -> None:
    async with lab.agent() as agent:
        answer = await agent.converge()
        assert answer.errors == ()
        assert status(lab) == "404"
        await agent.stop()


def test_an_order_is_answered_when_nginx_listens(lab: ScratchLab) -> None:
    certificates.ensure(lab.cluster, lab.paths)
    asyncio.run(check_listening(lab))


async def check_deaf(lab: ScratchLab) -> None:
    async with lab.agent() as agent:
        answer = await agent.converge()
        (error,) = answer.errors
        assert error.subject == f"{lab.name}/default/ctl/controller"
        assert error.message == "does not listen on 80, 443"
        log = Path(error.hint.removeprefix("its log: "))
        assert "cannot load certificate" in log.read_text(encoding="utf-8")
        await agent.stop()


def test_an_nginx_that_does_not_start_is_told(
    lab: ScratchLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificates are missing here."""
    monkeypatch.setattr(readiness, "PATIENCE", 0.3)
    asyncio.run(check_deaf(lab))


def test_what_listens_is_read_of_the_netns_of_the_process(lab: ScratchLab) -> None:
    name = lab.netns_of("ctl")
    script = (
        "import socket, time; s = socket.create_server(('', 8081));"
        " print(flush=True); time.sleep(9)"
    )
    process = processes.spawn(["python3", "-c", script], context=Context(name), stdout=-1)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        found = [readiness.listens(process.pid, ports) for ports in ((8081,), (8081, 8082), ())]
        assert found == [True, False, True]
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert not readiness.listens(process.pid, (8081,))
