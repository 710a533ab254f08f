"""What goes over the agent's socket is read as it was written, and nothing else is read."""

from __future__ import annotations

import json

import pytest

from kns.engine.orders import (
    AgentAnswer,
    AgentStatus,
    ContainerState,
    ContainerStatus,
    Converge,
    Converged,
    Failure,
    GetStatus,
    Order,
    Refused,
    Settle,
    Settled,
    Shutdown,
    Stopped,
    decode_answer,
    decode_order,
    encode,
)

FAILURE = Failure("default/b/web", "address already in use", "ss -lntup")
STATUS = AgentStatus(
    pid=7,
    rss_kb=20_000,
    listeners={"kns.l.b tcp 0.0.0.0:80": "0123456789abcdef"},
    containers=(
        ContainerStatus(
            "l/default/b/c", "kns.l.b", "1", "2", ContainerState.WAITING, 0, 2, False, "exited"
        ),
    ),
    errors=(FAILURE,),
    addresses={"198.51.100.1": ("node1", "node2"), "198.51.100.2": ()},
)


@pytest.mark.parametrize("order", [Converge(), GetStatus(), Settle(), Shutdown()])
def test_orders_are_read_as_they_were_written(order: Order) -> None:
    assert decode_order(encode(order)) == order


@pytest.mark.parametrize(
    "answer",
    [Converged(4, 1), Converged(4, 1, (FAILURE,)), STATUS, Settled(("pod/a: b",)), Stopped()],
)
def test_answers_are_read_as_they_were_written(answer: AgentAnswer) -> None:
    line = encode(answer)
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert decode_answer(line, type(answer)) == answer


def test_a_refusal_is_an_answer_to_everything() -> None:
    assert decode_answer(encode(Refused("no", "try")), Stopped) == Refused("no", "try")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"7",
        b"[]",
        b"{}",
        b'"Converge"',
        b'{"op": "stop"}',
        b'{"Converge": null}',
        b'{"Converge": {"more": 1}}',
        b'{"Converge": {}, "Stop": {}}',
        b'{"Stopped": {}}',
        b"[" * 100_000,
        b'{"Converge": ' * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_order_is_told(line: bytes) -> None:
    with pytest.raises(ValueError, match="not an order"):
        decode_order(line)


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "4"},
        {"pid": True},
        {"pid": None},
        {"errors": {}},
        {"errors": [["a", "b", "c"]]},
        {"errors": [{"subject": "a", "message": "b"}]},
        {"addresses": {"198.51.100.1": "node1"}},
        {
            "containers": [
                {
                    "container": "a",
                    "state": "asleep",
                    "pid": 1,
                    "restarts": 0,
                    "adopted": False,
                    "message": "",
                }
            ]
        },
        {"later": 1},
    ],
)
def test_an_answer_of_another_kns_is_told(change: dict[str, object]) -> None:
    fields = json.loads(encode(STATUS))["AgentStatus"]
    line = json.dumps({"AgentStatus": {**fields, **change}}).encode()
    with pytest.raises(ValueError, match="not AgentStatus"):
        decode_answer(line, AgentStatus)


def test_an_answer_to_another_order_is_told() -> None:
    with pytest.raises(ValueError, match="not Converged"):
        decode_answer(encode(Stopped()), Converged)
