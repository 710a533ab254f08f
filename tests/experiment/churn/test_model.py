"""To which event a loss belongs, how long it lasted, and who answered when."""

from __future__ import annotations

import json

from kns.experiment.churn.model import BackendSpan, ChurnResult, Event
from kns.probe.load.model import Break, BreakCause, Cause, Exchange, Kind

SECONDS = 4.0


def exchanges(
    text: str, kind: Kind = Kind.CONNECTION, stream: int = 0, pause: float = 0.1
) -> tuple[Exchange, ...]:
    """One each `pause`: `a`, `b` answered; `r` refused and `x` reset at once; `t` timed out."""
    causes = {"r": Cause.REFUSED, "x": Cause.RESET, "t": Cause.TIMEOUT}
    found = []
    for number, letter in enumerate(text):
        at, cause = round(number * pause, 3), causes.get(letter)
        ended = at + (0.95 if cause is Cause.TIMEOUT else 0.001)
        backend = "" if cause else letter
        found.append(Exchange(kind, stream, at, at, ended, cause, backend, backend and "10.0.0.1"))
    return tuple(found)


def result(
    *found: tuple[Exchange, ...], events: tuple[Event, ...] = (), breaks: tuple[Break, ...] = ()
) -> ChurnResult:
    every = sorted((i for group in found for i in group), key=lambda i: i.planned)
    return ChurnResult(
        "pod1", "svc", "path", "10.96.0.1", 80, 0, 10.0, SECONDS, tuple(every), breaks, events
    )


def losses(found: ChurnResult) -> list[list[tuple[Kind, dict[Cause, int], float, float]]]:
    return [[(i.kind, i.causes, i.start, i.end) for i in group] for group in found.losses]


def test_a_loss_belongs_to_the_event_before_it() -> None:
    events = (Event(0.45, "one"), Event(1.45, "two"))
    found = result(exchanges("aaaaarraaaaaaaaxraaaaa"), events=events)
    assert losses(found) == [
        [],
        [(Kind.CONNECTION, {Cause.REFUSED: 2}, 0.5, 0.7)],
        [(Kind.CONNECTION, {Cause.REFUSED: 1, Cause.RESET: 1}, 1.5, 1.7)],
    ]


def test_what_was_under_way_when_an_event_came_belongs_to_it() -> None:
    """A request that was sent 50 ms before, and never answered, was lost by what came then."""
    assert losses(result(exchanges("aaaata"), events=(Event(0.45, "one"),)))[1] == [
        (Kind.CONNECTION, {Cause.TIMEOUT: 1}, 0.4, 0.5)
    ]
    early = result(exchanges("aataaaa"), events=(Event(0.45, "one"),))
    assert [len(group) for group in losses(early)] == [1, 0]


def test_the_end_of_a_command_costs_nothing_itself() -> None:
    events = (Event(0.15, "starts"), Event(0.25, "ends", is_end=True))
    assert [len(group) for group in losses(result(exchanges("aarrra"), events=events))] == [0, 1, 0]


def test_a_stream_stays_broken_by_the_event_that_broke_it() -> None:
    """A new connection is a new try; a flow that is lost is lost until it is well again."""
    events = (Event(0.15, "one"), Event(0.35, "two"))
    flow = losses(result(exchanges("aattttaa", Kind.FLOW, 3), events=events))
    assert flow == [[], [(Kind.FLOW, {Cause.TIMEOUT: 4}, 0.2, 0.6)], []]
    connections = losses(result(exchanges("aarrrraa"), events=events))
    assert [[sum(i[1].values()) for i in group] for group in connections] == [[], [2], [2]]


def test_streams_are_well_again_when_the_last_of_them_is() -> None:
    one, two = exchanges("ataaaa", Kind.FLOW, 0), exchanges("atttaa", Kind.FLOW, 1)
    (lost,) = result(one, two, events=(Event(0.05, "one"),)).losses[1]
    assert (lost.count, lost.start, lost.end) == (4, 0.1, 0.4)


def test_a_loss_that_never_ends_lasts_to_the_end_of_the_run() -> None:
    (lost,) = result(exchanges("aatt"), events=(Event(0.15, "one"),)).losses[1]
    assert (lost.start, lost.end) == (0.2, SECONDS)


def test_backends_are_counted_before_during_and_after() -> None:
    events = (Event(0.15, "starts"), Event(0.45, "ends", is_end=True))
    assert result(exchanges("aaabbrbb"), events=events).backends == (
        BackendSpan("a", "10.0.0.1", 0.001, 0.201, 2, 1, 0),
        BackendSpan("b", "10.0.0.1", 0.301, 0.701, 0, 2, 2),
    )


def test_it_is_well_if_nothing_was_lost_and_the_change_was_made() -> None:
    assert result(exchanges("ab")).ok
    assert not result(exchanges("ar")).ok
    assert not result().ok
    assert not result(exchanges("ab"), breaks=(BREAK,)).ok


BREAK = Break(2, 0.0, 0.35, 1.2, BreakCause.SILENCE, "a", "10.0.0.1")


def test_a_broken_connection_was_away_from_its_last_word_to_the_next_answer() -> None:
    beats = exchanges("aaaattttttttttaa", Kind.HELD, 2)
    found = result(beats, breaks=(BREAK,), events=(Event(0.3, "one"),))
    assert round(found.again(BREAK) or 0, 3) == round(1.401 - 0.35, 3)
    assert result(beats[:-2], breaks=(BREAK,)).again(BREAK) is None


def test_json() -> None:
    events = (Event(0.35, "one"),)
    found = result(exchanges("aaaaraa"), breaks=(BREAK,), events=events).to_json()
    assert json.loads(json.dumps(found)) == found
    loss = {"kind": "connections", "lost": 1, "causes": {"refused": 1}}
    loss |= {"from_s": 0.4, "to_s": 0.5, "seconds": 0.1}
    assert found["events"] == [{"at_s": 0.35, "event": "one", "lost": [loss]}]
    assert found["breaks"] == [
        {
            "connection": 3,
            "backend": "a",
            "address": "10.0.0.1",
            "how": "silence",
            "opened_s": 0.0,
            "heard_s": 0.35,
            "ended_s": 1.2,
            "away_seconds": None,
        }
    ]
    assert found["client_late_ms"] == {"p50": 0.0, "p99": 0.0, "max": 0.0}
