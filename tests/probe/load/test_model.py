"""What the load client tells, as lines and back."""

from __future__ import annotations

from kns.probe.load.model import (
    READY,
    Break,
    BreakCause,
    Cause,
    Exchange,
    Kind,
    Load,
    line_of,
    load_of,
    read,
)

LOST = Exchange(
    Kind.FLOW, 3, 1.0, 1.25, 2.0, Cause.WRONG, "web", "10.0.0.2", "10.0.0.1", "HTTP 503"
)
BROKEN = Break(2, 1.0, 3.5, 4.0, BreakCause.SILENCE, "web", "10.0.0.2")


def test_lines_are_read_as_they_were_written() -> None:
    answered = Exchange(Kind.CONNECTION, 0, 1.0, 1.001, 1.002)
    told = (answered, LOST, BROKEN)
    assert tuple(read(READY + "".join(f"{line_of(item)}\n" for item in told))) == told


def test_a_line_that_is_not_whole_is_left_out() -> None:
    assert tuple(read(f"{line_of(LOST)}\n{line_of(BROKEN)}"[:-1])) == (LOST,)


def test_an_order_is_read_as_it_was_written() -> None:
    load = Load("fd00::1", 80, 53, "/x", "[fd00::1]:80", 1000.0, 5, 6, 0.5)
    assert load_of(load.to_json()) == load


def test_a_request_asks_for_the_end_of_the_connection_unless_it_is_kept() -> None:
    load = Load("10.96.0.1", 80, host="web")
    assert load.request() == b"GET /whoami HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
    assert load.request(keep=True) == b"GET /whoami HTTP/1.1\r\nHost: web\r\n\r\n"


def test_latency_counts_from_when_it_was_due() -> None:
    """A client that is late hides no stall."""
    assert (LOST.latency_ms, LOST.late) == (1000.0, 0.25)
