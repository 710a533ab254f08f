"""Refusals are asked for no faster than Linux sends ICMP errors."""

from __future__ import annotations

import time

import pytest

from kns.probe.pace import BURST, SECONDS_PER_ERROR, Pace


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still, and how long `wait` slept."""
    found: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def test_a_burst_passes_at_once_and_the_rest_is_spread(slept: list[float]) -> None:
    pace = Pace()
    for _ in range(BURST + 2):
        pace.wait("pod1")
    expected = [0.0] * BURST + [SECONDS_PER_ERROR, 2 * SECONDS_PER_ERROR]
    assert slept == pytest.approx(expected)


def test_pairs_do_not_share_a_bucket(slept: list[float]) -> None:
    pace = Pace()
    for _ in range(BURST):
        pace.wait("pod1")
    pace.wait("pod2")
    assert slept[-1] == 0.0
