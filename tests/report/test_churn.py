"""`kns churn` for people, and as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from kns.experiment.churn.model import ChurnResult, Event
from kns.probe.load.model import Break, BreakCause, Cause, Exchange, Kind
from kns.report.churn import churn_text
from kns.report.churn_svg import churn_svg


def one(number: int, kind: Kind, cause: Cause | None, backend: str, stream: int = 0) -> Exchange:
    at = number / 10
    return Exchange(
        kind, stream, at, at + 0.0002, at + 0.002, cause, "" if cause else backend, "10.244.0.3"
    )


EXCHANGES = tuple(
    one(n, kind, Cause.REFUSED if 20 <= n < 23 and kind is Kind.CONNECTION else None, who)
    for n in range(60)
    for kind in (Kind.CONNECTION, Kind.HELD)
    for who in ("web-1" if n < 20 else "web-2",)
)
RESULT = ChurnResult(
    source="pod1",
    target="svc",
    path="pod-to-service",
    address="10.96.0.1",
    tcp_port=80,
    udp_port=0,
    rate=10.0,
    seconds=6.0,
    exchanges=EXCHANGES,
    breaks=(Break(0, 0.0, 1.9, 2.0, BreakCause.RESET, "web-1", "10.244.0.3"),),
    events=(Event(1.95, "starts: kns scale web=1"), Event(3.0, "ends", is_end=True)),
    notes=("the other node remembers",),
)

TEXT = """\
pod1 → svc   pod-to-service   10.96.0.1:80 (TCP), 10 a second for 6.0 s
  new connections   57 of 60 answered  lost: 3 refused
                    median 2.00 ms, 99% 2.00 ms, slowest 2.0 ms
  held connections  1 connection, 60 of 60 answered
                    median 2.00 ms, 99% 2.00 ms, slowest 2.0 ms

  events                               1          2
  new connections   ████████████████████···█████████████████████████████████████
  held connections  ████████████████████████████████████████████████████████████
  web-1             ▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬
  web-2                                 ▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬▬
                    0.10 s a column

    1    1.95 s  starts: kns scale web=1
               new connections: lost 3 refused; 2.00 s to 2.30 s: 0.30 s
    2    3.00 s  ends

  broken  connection 1 reset at 2.00 s, web-1 (10.244.0.3);
            last heard 1.90 s, again after 0.10 s

  backend  address      before  during   after  first seen  last seen
  web-1    10.244.0.3       40       0       0      0.00 s     1.90 s
  web-2    10.244.0.3        0      17      60      2.00 s     5.90 s

  the client itself was late by 0.20 ms (median), 0.20 ms (99%), 0.2 ms at most
  look at   the other node remembers
"""


def test_it_tells_what_was_lost_when_and_why() -> None:
    assert churn_text(RESULT) == TEXT


def test_nothing_is_coloured_unless_asked() -> None:
    assert "\x1b" not in churn_text(RESULT)
    assert "\x1b[" in churn_text(RESULT, colour=True)


def test_many_events_that_cost_nothing_are_counted() -> None:
    events = (*(Event(n / 10, f"event {n}") for n in range(30)), Event(5.0, "ends", is_end=True))
    text = churn_text(replace(RESULT, events=events))
    assert "event 20" in text
    assert "event 5" not in text
    assert "26 more events cost nothing" in text


def test_words_from_outside_move_no_cursor() -> None:
    evil = replace(RESULT, events=(Event(1.0, "\x1b[2J"),), failure="\x1b[31m", notes=("\x07",))
    assert "\x1b" not in churn_text(evil)
    assert "\x07" not in churn_text(evil)


def test_the_picture_shows_each_kind_backend_and_event() -> None:
    drawn = ET.fromstring(churn_svg(replace(RESULT, target="<svc>")))
    words = ["".join(text.itertext()) for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "pod1 → <svc>   pod-to-service" in words
    assert {"new connections", "held connections", "web-1", "web-2", "57 of 60"} <= set(words)
    at = words.index("  1  1.95 s  starts: kns scale web=1")
    assert words[at + 1] == "     new connections: lost 3 refused; 2.00 s to 2.30 s"
    assert "  2  3.00 s  ends" in words
    tips = [t.text for t in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert "2.00 s: 0 answered, 1 lost" in tips
