"""kubelet's restart delays."""

from __future__ import annotations

from kns.agent.backoff import Backoff


def delays(*lifetimes: float) -> list[float]:
    """The waits before each restart of a container that lives so long each time."""
    now, backoff, found = 0.0, Backoff(), []
    for lifetime in lifetimes:
        now += lifetime
        delay, backoff = backoff.after_end(now)
        found.append(delay)
        now += delay
    return found


def test_first_restart_is_immediate_then_delays_double_to_five_minutes() -> None:
    assert delays(*[1.0] * 8) == [0, 10, 20, 40, 80, 160, 300, 300]


def test_container_that_ran_for_ten_minutes_begins_anew() -> None:
    assert delays(1, 1, 1, 601, 1) == [0, 10, 20, 0, 10]


def test_container_that_ran_for_less_than_ten_minutes_does_not() -> None:
    assert delays(1, 1, 1, 599, 1) == [0, 10, 20, 40, 80]
