"""What a soak asks by its own sockets it finds as curl and ping do."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import pytest

from kns.kernel import netns
from kns.kernel.processes import Context
from kns.probe.ask.curl import CurlRequest
from kns.promise.flow import Outcome
from tests.soak.direct import PORTS, echo, get

ANSWER = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\nwho?"
HERE = Context(netns="here")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "call_in", lambda _name, function, *args: function(*args))


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def url(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}/whoami"


def test_each_request_is_a_connection_of_its_own(server: socket.socket) -> None:
    heard: list[bytes] = []
    ports: list[int] = []

    def serve() -> None:
        for _ in range(3):
            sock, peer = server.accept()
            ports.append(peer[1])
            with sock:
                heard.append(sock.recv(1000))
                sock.sendall(ANSWER[:20])
                sock.sendall(ANSWER[20:])

    thread = threading.Thread(target=serve)
    thread.start()
    found = get(CurlRequest(url(server), count=3, headers=("X-A: b",)), HERE)
    thread.join()
    assert [(a.outcome, a.status, a.body) for a in found] == [(Outcome.CONNECTED, 503, "who?")] * 3
    assert ports == sorted(set(ports))
    assert {*ports} <= {*PORTS}
    assert all(head.startswith(b"GET /whoami HTTP/1.1\r\nHost: 127.0.0.1:") for head in heard)
    assert all(b"\r\nX-A: b\r\n\r\n" in head for head in heard)


def test_a_refusal_and_silence_are_told_apart(server: socket.socket) -> None:
    silent = get(CurlRequest(url(server), timeout=0.2), HERE)
    assert [(a.outcome, a.latency_ms) for a in silent] == [(Outcome.TIMEOUT, None)]
    assert silent[0].detail == "connected, but no answer came"
    where = url(server)
    server.close()
    refused = get(CurlRequest(where, count=5, is_eager=True), HERE)
    assert [(a.outcome, a.detail) for a in refused] == [(Outcome.REFUSED, "Connection refused")]
    assert refused[0].latency_ms is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets are root's")
def test_an_echo_is_told_from_those_of_others() -> None:
    loopback = ip_address("127.0.0.1")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: echo(loopback, HERE, count=3), range(16)))
    assert {(r.outcome, r.sent, r.received) for r in found} == {(Outcome.CONNECTED, 3, 3)}


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets are root's")
def test_who_has_no_way_is_told_so() -> None:
    # class E has no route anywhere
    found = echo(ip_address("240.0.0.1"), HERE, wait=0.1)
    assert found.received == 0
    assert found.outcome in {Outcome.UNREACHABLE, Outcome.TIMEOUT}
