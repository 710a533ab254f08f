"""Windows of loss in what was watched."""

from __future__ import annotations

from ipaddress import ip_address

from kns.probe.watch_model import Sample, WatchResult, Window, windows
from kns.promise.flow import Outcome

CLIENT = ip_address("1.2.3.4")


def samples(text: str, pause: float = 0.1) -> tuple[Sample, ...]:
    """`a` and `b`: answered by that backend; `.`: lost."""
    return tuple(
        Sample(round(number * pause, 3), Outcome.TIMEOUT)
        if letter == "."
        else Sample(round(number * pause, 3), Outcome.CONNECTED, 1.0 + number, letter, CLIENT)
        for number, letter in enumerate(text)
    )


def result(text: str, candidates: tuple[str, ...] = ("a", "b")) -> WatchResult:
    found = samples(text)
    end = len(text) * 0.1
    return WatchResult(
        "internet", "svc", "path", CLIENT, 80, 10.0, end, found, candidates
    )  # fmt: skip


def test_nothing_lost_is_no_window() -> None:
    assert windows(samples("aaaa"), 0.4) == ()
    assert result("aaab").ok


def test_a_window_lasts_from_the_first_loss_to_the_next_answer() -> None:
    assert windows(samples("aa...bb"), 0.7) == (Window(0.2, 0.5, 3, 3),)


def test_losses_among_answers_are_one_window() -> None:
    """One of two ways is dead: each other request is lost."""
    assert windows(samples("a.b.b.bb"), 0.8) == (Window(0.1, 0.6, 5, 3),)


def test_losses_far_apart_are_two_windows() -> None:
    assert windows(samples("a." + "a" * 12 + ".a"), 1.6) == (
        Window(0.1, 0.2, 1, 1),
        Window(1.4, 1.5, 1, 1),
    )


def test_a_window_that_is_still_open_ends_with_the_watch() -> None:
    assert windows(samples("aa.."), 0.4) == (Window(0.2, 0.4, 2, 2),)


def test_an_answer_by_somebody_else_is_wrong() -> None:
    found = result("aaxa")
    assert (found.ok, found.wrong, found.lost) == (False, {"x": 1}, 0)
    assert result("aaxa", candidates=()).ok


def test_json() -> None:
    shown = result("aa..bb").to_json()
    assert shown["windows"] == [{"from_s": 0.2, "to_s": 0.4, "seconds": 0.2, "sent": 2, "lost": 2}]
    assert (shown["sent"], shown["answered"], shown["lost"]) == (6, 4, 2)
    assert shown["outcomes"] == {"CONNECTED": 4, "TIMEOUT": 2}
    assert shown["latency_ms"] == {"p50": 3.5, "p99": 5.0, "max": 6.0}
    assert shown["backends"] == {"a": 2, "b": 2}
