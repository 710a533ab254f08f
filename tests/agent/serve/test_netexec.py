"""The netexec dialect, question by question."""

from __future__ import annotations

import json

import pytest

from kns.agent.serve.messages import JSON, Peer, Request, Response
from kns.agent.serve.netexec import MAX_BYTES, answer, answer_datagram
from kns.compile.listeners import Identity

WHO = Identity(hostname="web-0", namespace="shop", pod="web", node="node1", container="main")
PEER = Peer("10.244.1.2", 40000, "10.244.2.3", 8080)
PEER6 = Peer("fd00:10:244::2", 40000, "fd00:10:244:1::3", 8080)


def ask(path: str, who: Identity = WHO, peer: Peer = PEER, /, **values: str) -> Response:
    headers = (("Host", "svc-a"), ("X-One", "1"), ("x-one", "2"))
    request = Request("GET", f"{path}?q", path, values, headers)
    return answer(who, request, peer, lambda: (("HOSTNAME", "web-0"), ("A", "b c")))


@pytest.mark.parametrize("path", ["/hostname", "/hostName"])
def test_hostname(path: str) -> None:
    assert ask(path) == Response("web-0")


@pytest.mark.parametrize(
    ("peer", "text"), [(PEER, "10.244.1.2:40000"), (PEER6, "[fd00:10:244::2]:40000")]
)
def test_clientip_has_the_port_as_in_go(peer: Peer, text: str) -> None:
    assert ask("/clientip", WHO, peer) == Response(text)
    assert answer_datagram(WHO, b"clientip", peer) == text.encode()


@pytest.mark.parametrize("path", ["/", "/index.html", "/api/v1"])
def test_root_takes_every_unknown_path(path: str) -> None:
    reply = ask(path)
    assert (reply.status, reply.body[:7]) == (200, "NOW: 20")


def test_echo() -> None:
    assert ask("/echo", msg="Hello") == Response("Hello")
    assert ask("/echo", msg="no", code="503") == Response("no", status=503)


def test_echo_refuses_a_code_that_is_none() -> None:
    assert ask("/echo", code="abc") == Response(
        "argument 'code' must be an integer or empty, got \"abc\"\n"
    )
    assert ask("/echo", code="101").status == 400
    assert ask("/echo", code="9" * 5000).status == 200  # as for any text that is no integer


def test_healthz_follows_readiness() -> None:
    unready = Identity(hostname="web-0", namespace="shop", pod="web", ready=False)
    assert ask("/healthz") == Response(status=200)
    assert ask("/healthz", unready) == Response(status=412)


def test_header_gives_one_or_all() -> None:
    assert ask("/header", key="x-ONE") == Response("1")
    assert ask("/header", key="absent") == Response("")
    assert ask("/header") == Response("Host: svc-a\nX-One: 1\nx-one: 2\n")


def test_redirect_can_not_smuggle_a_header() -> None:
    reply = ask("/redirect", location="/a?b=c%20d\r\nSet-Cookie: x", code="307")
    assert (reply.status, reply.headers) == (
        307,
        (("Location", "/a?b=c%20d%0D%0ASet-Cookie:%20x"),),
    )
    assert ask("/redirect", location="/").status == 302
    assert ask("/redirect", code="200").status == 400


def test_env() -> None:
    assert ask("/env") == Response("HOSTNAME=web-0\nA=b c\n")


def test_whoami_names_both_ends() -> None:
    expected = {
        "namespace": "shop",
        "pod": "web",
        "node": "node1",
        "container": "main",
        "hostname": "web-0",
        "client_address": "10.244.1.2",
        "client_port": 40000,
        "server_address": "10.244.2.3",
        "server_port": 8080,
    }
    reply = ask("/whoami")
    page = json.loads(reply.body)
    assert reply.content_type == JSON
    assert {name: page[name] for name in expected} == expected
    assert (page["method"], page["path"]) == ("GET", "/whoami?q")
    assert page["headers"]["host"] == "svc-a"
    assert json.loads(answer_datagram(WHO, b"whoami\n", PEER) or b"") == expected


def test_bytes_and_delay_have_limits() -> None:
    assert ask("/bytes", size="1000").filler == 1000
    assert ask("/delay", ms="250").delay == 0.25
    for reply in (
        ask("/bytes", size=str(MAX_BYTES + 1)),
        ask("/bytes", size="-1"),
        ask("/bytes"),
        ask("/delay", ms="60001"),
        ask("/delay", ms="٣"),
    ):
        assert (reply.status, reply.filler, reply.delay) == (400, 0, 0)


@pytest.mark.parametrize("path", ["/shell", "/exit", "/shutdown", "/upload", "/dial"])
def test_what_would_run_or_write_something_is_refused_with_the_reason(path: str) -> None:
    reply = ask(path, cmd="id")
    assert reply.status == 501
    assert "run no program" in reply.body


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        (b"hostname", b"web-0"),
        (b" HostName\n", b"web-0"),
        (b"echo Hello World", b"hello world"),
        (b"echo  two", b" two"),
        (b"echo", None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"quit", None),
    ],
)
def test_datagrams(message: bytes, reply: bytes | None) -> None:
    assert answer_datagram(WHO, message, PEER) == reply
