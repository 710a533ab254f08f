"""Programs that a probe runs: what they say, and what is left of one that nobody waits for."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kns.agent.kubelet import asking
from kns.agent.kubelet.asking import MAX_BODY, ProbeAnswer, ProbedContainer, ask
from kns.kernel.processes import Context
from kns.kinds.lifecycle import ExecAction
from kns.kinds.pod import Container

#: the pids of the programs
STARTED: list[int] = []
ASKED = ProbedContainer("none", "192.0.2.1", Container("web"), lambda: Context("none"))


@pytest.fixture(name="worker")
def _worker() -> Iterator[ThreadPoolExecutor]:
    worker = ThreadPoolExecutor(1)
    yield worker
    worker.shutdown()


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs run in this test's own netns."""

    def spawn(command: Sequence[str], _context: object, write: int) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(command, stdout=write, stderr=write, start_new_session=True)
        STARTED.append(child.pid)
        return child

    monkeypatch.setattr(asking, "_spawn", spawn)


async def eventually(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not found():
            await asyncio.sleep(0.02)


def answer(script: str, worker: ThreadPoolExecutor) -> ProbeAnswer:
    action = ExecAction(("sh", "-c", script))
    return asyncio.run(ask(action, ASKED, 60, worker))


def test_a_program_that_says_more_than_a_pipe_holds_ends(worker: ThreadPoolExecutor) -> None:
    found = answer("seq 1 40000; exit 3", worker)
    assert not found.passed
    assert found.message.startswith("1\n2\n3\n")
    assert MAX_BODY - 8 < len(found.message) <= MAX_BODY


def test_what_a_program_says_at_last_is_told(worker: ThreadPoolExecutor) -> None:
    assert answer("echo broken >&2; exit 1", worker) == ProbeAnswer(False, "broken")
    # it closes its output, and goes on for a moment
    assert answer("echo shut; exec >&- 2>&-; sleep 0.1; exit 1", worker).message == "shut"


def run_cancelled(when: Callable[[], Awaitable[None]], worker: ThreadPoolExecutor) -> None:
    """Begin a program that would not end, and cancel it after that."""

    async def main() -> None:
        task = asyncio.ensure_future(ask(ExecAction(("sleep", "600")), ASKED, 600, worker))
        await when()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: bool(STARTED) and gone(STARTED[-1]))

    open_files = set(Path("/proc/self/fd").iterdir())
    STARTED.clear()
    asyncio.run(main())
    assert set(Path("/proc/self/fd").iterdir()) <= open_files


def gone(pid: int) -> bool:
    """Whether it is killed and reaped: a zombie is there still."""
    return not Path(f"/proc/{pid}").exists()


def test_a_program_is_killed_and_reaped_when_nobody_waits_for_it(
    worker: ThreadPoolExecutor,
) -> None:
    run_cancelled(lambda: eventually(lambda: bool(STARTED)), worker)
    # while it is being started
    run_cancelled(lambda: asyncio.sleep(0), worker)
