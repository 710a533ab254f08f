"""Waiting for what was written, and for pods that are on their way."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kns.engine import agent, settling
from kns.engine.orders import Order, Refused, Settle, Settled
from kns.errors import ApplyError

WEB, DB = "pod/web-1: it is not ready", "pod/db-1: it has not ended yet"


@dataclass
class FakeAgent:
    """Gives one answer after the other, the last one again and again; it counts the orders."""

    answers: list[Settled | Refused | ApplyError]
    is_there: bool = True
    orders: list[Order] = field(default_factory=list)

    def order(
        self, _lab: str, what: Order, _answer: type[Settled], *, patience: float
    ) -> Settled | Refused:
        assert patience == settling.PATIENCE
        answer = self.answers[min(len(self.orders), len(self.answers) - 1)]
        self.orders.append(what)
        if isinstance(answer, ApplyError):
            raise answer
        return answer


def serve(patch: pytest.MonkeyPatch, fake: FakeAgent) -> FakeAgent:
    patch.setattr(agent, "is_running", lambda _lab: fake.is_there)
    patch.setattr(agent, "order", fake.order)
    patch.setattr(settling, "_PAUSE", 0.0)
    return fake


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (Settled(), ()),
        (Settled((WEB, DB)), (WEB, DB)),
        (Refused("an order of another kns"), ()),
        (ApplyError("it does not answer"), ()),
    ],
)
def test_settle_tells_what_is_on_its_way(
    answer: Settled | Refused | ApplyError,
    waits: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = serve(monkeypatch, FakeAgent([answer]))
    assert settling.settle("lab") == waits
    assert fake.orders == [Settle()]


def test_a_lab_without_an_agent_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = serve(monkeypatch, FakeAgent([Settled((WEB,))], is_there=False))
    assert settling.settle("lab") == ()
    assert fake.orders == []


def test_pods_are_awaited_and_each_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(WEB, DB), (WEB,), (DB,), (DB,), ()]
    fake = serve(monkeypatch, FakeAgent([Settled(waits) for waits in answers]))
    told: list[str] = []
    assert settling.await_pods("lab", 60.0, told.append) == ()
    assert told == [WEB, DB]
    assert len(fake.orders) == len(answers)


@pytest.mark.parametrize(("timeout", "left"), [(0.0, ()), (-1.0, (WEB,))])
def test_a_timeout_of_nothing_or_that_is_over_asks_once(
    timeout: float, left: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = serve(monkeypatch, FakeAgent([Settled((WEB,))]))
    assert settling.await_pods("lab", timeout, pytest.fail) == left
    # what was written is waited for all the same
    assert fake.orders == [Settle()]


def test_pods_that_never_come_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, FakeAgent([Settled((WEB, DB))]))
    told: list[str] = []
    assert settling.await_pods("lab", 0.01, told.append) == (WEB, DB)
    assert told in ([WEB], [])


@pytest.mark.parametrize(("age", "settled"), [(0.0, ["lab"]), (60.0, []), (None, [])])
def test_only_a_lab_that_was_written_lately_is_settled(
    age: float | None, settled: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the age of its objects' journal; a lab without one was not written at all."""
    journal = tmp_path / "objects"
    if age is not None:
        journal.touch()
        os.utime(journal, (time.time() - age,) * 2)

    @dataclass
    class Paths:
        lab: str
        objects: Path = journal

    asked: list[str] = []
    monkeypatch.setattr(settling, "LabPaths", Paths)
    monkeypatch.setattr(settling, "choose_lab", lambda _lab: "lab")
    monkeypatch.setattr(settling, "running", lambda name: f"running {name}")
    monkeypatch.setattr(settling, "settle", asked.append)
    assert str(settling.running_settled(None)) == "running lab"
    assert asked == settled
