"""What a probe's answers come to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import pytest

from kns.agent.kubelet.asking import PASSED, ProbeAnswer
from kns.agent.kubelet.probing import ProbeKind, ProbeWorker, Tally
from kns.kinds.lifecycle import Probe, TCPSocketAction

FAILED = ProbeAnswer(False, "no")
ACTION = TCPSocketAction(80)


@pytest.mark.parametrize(
    ("answers", "success", "failure", "expected"),
    [
        ("", 1, 3, None),
        ("+", 1, 3, True),
        ("+", 2, 3, None),
        ("++", 2, 3, True),
        ("+-+", 2, 3, None),
        ("--", 1, 3, None),
        ("---", 1, 3, False),
        ("+--", 1, 3, True),
        ("+---", 1, 3, False),
        ("+--+-", 1, 3, True),
        ("---+", 1, 3, True),
        ("---+", 2, 3, False),
    ],
)
def test_the_result_changes_at_the_threshold(
    answers: str, success: int, failure: int, *, expected: bool | None
) -> None:
    probe = Probe(ACTION, success_threshold=success, failure_threshold=failure)
    tally = Tally()
    for answer in answers:
        tally = tally.after(probe, passed=answer == "+")
    assert tally.result is expected


def results(kind: ProbeKind, answers: Iterable[ProbeAnswer], **fields: int) -> list[bool]:
    """The results that a worker tells of these answers; it is closed after the last one."""
    found: list[bool] = []
    given = iter(answers)

    async def body() -> None:
        over = asyncio.Event()

        async def ask() -> ProbeAnswer:
            try:
                return next(given)
            except StopIteration:
                over.set()
                await asyncio.Event().wait()
                raise

        probe = Probe(ACTION, period_seconds=0, **fields)
        worker = ProbeWorker(
            kind, probe, ask, lambda _kind, passed: found.append(passed), lambda _kind, _why: None
        )
        worker.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), 0.2)
        worker.close()

    asyncio.run(body())
    return found


def test_a_readiness_probe_tells_each_change() -> None:
    answers = [PASSED, PASSED, FAILED, FAILED, FAILED, FAILED, PASSED]
    assert results(ProbeKind.READINESS, answers) == [True, False, True]


def test_a_liveness_probe_asks_no_more_when_it_has_failed() -> None:
    answers = [PASSED, FAILED, PASSED]
    assert results(ProbeKind.LIVENESS, answers, failure_threshold=1) == [True, False]


def test_a_startup_probe_asks_no_more_when_it_has_passed() -> None:
    assert results(ProbeKind.STARTUP, [FAILED, PASSED, FAILED]) == [True]
