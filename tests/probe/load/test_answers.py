"""What came back, and what it means."""

from __future__ import annotations

import errno
import json

import pytest

from kns.probe.load.answers import Reply, cause_of, datagram_answer, last_answer, take_answer
from kns.probe.load.model import Cause

WHO = {
    "pod": "web-1",
    "namespace": "shop",
    "client_address": "10.244.0.2",
    "server_address": "10.244.1.3",
}
ANSWER = Reply("shop/web-1", "10.244.1.3", "10.244.0.2", 200)


def http(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


def test_answers_on_one_connection_are_taken_one_by_one() -> None:
    buffer = bytearray(http(json.dumps(WHO)) + http("x") + http("half")[:-1])
    assert take_answer(buffer) == ANSWER
    assert take_answer(buffer) == Reply(status=200)
    assert take_answer(buffer) is None
    assert bytes(buffer) == http("half")[:-1]


@pytest.mark.parametrize(
    ("received", "answer"),
    [
        (http(json.dumps(WHO)), ANSWER),
        (http("half")[:-1], None),
        (b"HTTP/1.0 200 OK\r\n\r\nwithout a length", Reply(status=200)),
        (b"HTTP/1.0 200 OK\r\n", None),
        (b"", None),
        (b"no http\r\n\r\n", None),
    ],
)
def test_a_connection_that_is_over_has_an_answer_if_it_is_whole(
    received: bytes, answer: Reply | None
) -> None:
    assert last_answer(bytearray(received)) == answer


def test_a_proxy_that_has_no_backend_is_a_wrong_answer() -> None:
    answer = last_answer(bytearray(http("", "503 Service Unavailable")))
    assert answer is not None
    assert (answer.cause, answer.detail) == (Cause.WRONG, "HTTP 503")
    assert last_answer(bytearray(http("", "404 Not Found"))) == Reply(status=404)


def test_a_datagram_says_which_one_it_answers() -> None:
    assert datagram_answer(json.dumps({**WHO, "message": "7"}).encode()) == (
        "7",
        Reply("shop/web-1", "10.244.1.3", "10.244.0.2"),
    )
    assert datagram_answer(json.dumps(WHO).encode()) is None
    assert datagram_answer(b"\xff") is None


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ECONNREFUSED, Cause.REFUSED),
        (errno.ECONNRESET, Cause.RESET),
        (errno.ENETUNREACH, Cause.UNREACHABLE),
        (errno.ETIMEDOUT, Cause.TIMEOUT),
        (errno.EADDRNOTAVAIL, Cause.OTHER),
    ],
)
def test_errors_are_told_apart(number: int, cause: Cause) -> None:
    assert cause_of(number) is cause
