"""Refusals are asked for no faster than Linux sends ICMP errors."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kns.probe.ask.pace import BURST, SECONDS_PER_ERROR, Pace


class Slept(threading.Event):
    """Notes how long `wait` was asked to wait, and doesn't."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return False


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Slept:
    """With a clock that stands still."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    return Slept()


def test_a_burst_passes_at_once_and_the_rest_is_spread(slept: Slept) -> None:
    pace = Pace(slept)
    for _ in range(BURST + 2):
        pace.wait("pod1")
    expected = [0.0] * BURST + [SECONDS_PER_ERROR, 2 * SECONDS_PER_ERROR]
    assert slept.seconds == pytest.approx(expected)


def test_pairs_do_not_share_a_bucket(slept: Slept) -> None:
    pace = Pace(slept)
    for _ in range(BURST):
        pace.wait("pod1")
    pace.wait("pod2")
    assert slept.seconds[-1] == 0.0


def test_an_error_that_did_not_come_means_an_empty_bucket(slept: Slept) -> None:
    """Whoever emptied it: an earlier verify may have."""
    pace = Pace(slept)
    pace.wait("pod1")
    pace.drained("pod1")
    pace.drained("pod1")
    for _ in range(2):
        pace.wait("pod1")
    assert slept.seconds == pytest.approx([0.0, SECONDS_PER_ERROR, 2 * SECONDS_PER_ERROR])


def test_what_has_no_pair_never_waits(slept: Slept) -> None:
    pace = Pace(slept)
    pace.drained("")
    for _ in range(BURST + 2):
        pace.wait("")
    assert slept.seconds == []


def test_one_client_at_a_time_waits_for_a_pairs_errors(slept: Slept) -> None:
    pace = Pace(slept)
    with ThreadPoolExecutor(1) as pool:
        with pace.turn("pod1"):
            second = pool.submit(_take_turn, pace, "pod1")
            assert _take_turn(pace, "pod2")
            assert not second.done()
        assert second.result(timeout=10)


def _take_turn(pace: Pace, pair: str) -> bool:
    with pace.turn(pair):
        return True
