"""The system's curl and ping, and the datagram client, against every way a connection can end."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

import pytest

from kns.kernel import sockets
from kns.kernel.processes import Context
from kns.kinds.common import Protocol
from kns.probe.ask import curl, datagram
from kns.probe.ask.curl import CONNECTED_THEN_SILENT, CurlRequest
from kns.probe.ask.datagram import Datagram
from kns.probe.ask.ping import ping
from kns.promise.check import Datagrams, Echo, Http, ReadAddresses
from kns.promise.flow import Outcome
from tests.end_to_end.probe_room import CLIENT, SERVER, asker

pytestmark = pytest.mark.kernel

ADDRESS = "10.99.0.2"
PORT = 8080
SILENT_PORT = 8081
DROPPED_PORT = 8082
CLOSED_PORT = 8083


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=30)


@dataclass(frozen=True, slots=True)
class Room:
    """Two netns joined by a veth; a server in one."""

    client: str
    server: str

    @property
    def context(self) -> Context:
        return Context(netns=self.client)


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    found = Room(f"t-probe-c{os.getpid()}", f"t-probe-s{os.getpid()}")
    try:
        for name in (found.client, found.server):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        veth = ("link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", found.server)
        run("ip", "-n", found.client, *veth)
        for name, last in ((found.client, 1), (found.server, 2)):
            run("ip", "-n", name, "address", "add", f"10.99.0.{last}/24", "dev", "eth0")
            run("ip", "-n", name, "address", "add", f"fd99::{last}/64", "dev", "eth0", "nodad")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        drop = ("-A", "INPUT", "-p", "tcp", "--dport", str(DROPPED_PORT), "-j", "DROP")
        run("ip", "netns", "exec", found.server, "iptables", *drop)
        drop = ("-A", "INPUT", "-p", "udp", "--dport", str(DROPPED_PORT), "-j", "DROP")
        run("ip", "netns", "exec", found.server, "iptables", *drop)
        # a new link's IPv6 neighbors take a moment
        run("ip", "netns", "exec", found.client, "ping", "-6", "-c1", "-W", "10", "fd99::2")
        with serving(found.server):
            yield found
    finally:
        for name in (found.client, found.server):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class serving:  # noqa: N801 - reads as a word
    """A server of /whoami over TCP and UDP on both families, and one that accepts and is silent."""

    def __init__(self, netns: str) -> None:
        self._tcp = [sockets.listen(netns, address, PORT) for address in ("0.0.0.0", "::")]
        self._udp = sockets.listen(netns, "0.0.0.0", PORT, protocol="udp")
        self._silent = sockets.listen(netns, "0.0.0.0", SILENT_PORT)

    def __enter__(self) -> None:
        for sock in (*self._tcp, self._udp):
            sock.setblocking(True)
            work = self._datagrams if sock is self._udp else self._connections
            threading.Thread(target=work, args=(sock,), daemon=True).start()

    def __exit__(self, *_: object) -> Literal[False]:
        for sock in (*self._tcp, self._udp):
            sock.shutdown(socket.SHUT_RDWR) if sock is not self._udp else None
            sock.close()
        self._silent.close()
        return False

    @staticmethod
    def _connections(sock: socket.socket) -> None:
        while True:
            try:
                connection, peer = sock.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                body = whoami(peer[0], connection.getsockname()[0])
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                )
                connection.sendall(head.encode() + body)

    @staticmethod
    def _datagrams(sock: socket.socket) -> None:
        while True:
            try:
                _, peer = sock.recvfrom(65_536)
                sock.sendto(whoami(peer[0], ADDRESS), peer)
            except OSError:
                return


def whoami(client: str, server: str) -> bytes:
    answer = {"namespace": "default", "pod": "pod2", "container": "web", "hostname": "pod2"}
    return json.dumps({**answer, "client_address": client, "server_address": server}).encode()


# -- curl ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "outcome", "detail"),
    [
        (f"http://{ADDRESS}:{PORT}/whoami", Outcome.CONNECTED, ""),
        (f"http://[fd99::2]:{PORT}/whoami", Outcome.CONNECTED, ""),
        (f"http://{ADDRESS}:{CLOSED_PORT}/", Outcome.REFUSED, "Connection refused"),
        (f"http://{ADDRESS}:{DROPPED_PORT}/", Outcome.TIMEOUT, ""),
        (f"http://{ADDRESS}:{SILENT_PORT}/", Outcome.TIMEOUT, CONNECTED_THEN_SILENT),
        ("http://10.98.0.1/", Outcome.UNREACHABLE, "Network is unreachable"),
        ("http://10.99.0.77/", Outcome.UNREACHABLE, "No route to host"),
        ("http://no-such-name.invalid/", Outcome.DNS, None),
    ],
)
def test_curl_tells_how_a_connection_ended(
    room: Room, url: str, outcome: Outcome, detail: str | None
) -> None:
    # longer than the kernel asks for a neighbor (3 s), or silence would hide "no route to host"
    patience = 4.0 if "10.99.0.77" in url else 0.7
    request = CurlRequest(url, connect_timeout=patience, timeout=patience + 0.3)
    (attempt,) = curl.get(request, room.context)
    assert attempt.outcome is outcome
    if detail is not None:
        assert attempt.detail == detail


def test_curl_makes_a_new_connection_for_each_of_many_requests(room: Room) -> None:
    attempts = asker(room.client, room.server).http(
        CLIENT, Http(ip_address(ADDRESS), PORT, count=30)
    )
    assert len(attempts) == 30
    assert {a.backend for a in attempts} == {"pod2"}
    assert {a.client_address_seen for a in attempts} == {ip_address("10.99.0.1")}
    assert {a.status for a in attempts} == {200}


def test_curl_stops_at_the_first_failure_and_samples(room: Room) -> None:
    attempts = asker(room.client, room.server).http(
        CLIENT, Http(ip_address(ADDRESS), CLOSED_PORT, count=500)
    )
    assert {a.outcome for a in attempts} == {Outcome.REFUSED}
    assert len(attempts) < 20


# -- ping ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        (ADDRESS, Outcome.CONNECTED),
        ("fd99::2", Outcome.CONNECTED),
        ("10.98.0.1", Outcome.UNREACHABLE),
    ],
)
def test_ping(room: Room, address: str, outcome: Outcome) -> None:
    assert ping(ip_address(address), room.context).outcome is outcome


def test_ping_into_silence(room: Room) -> None:
    drop = ("INPUT", "-p", "icmp", "-s", "10.99.0.1", "-j", "DROP")
    run("ip", "netns", "exec", room.server, "iptables", "-I", *drop)
    try:
        found = asker(room.client, room.server).observe(CLIENT, Echo(ip_address(ADDRESS)))
    finally:
        run("ip", "netns", "exec", room.server, "iptables", "-D", *drop)
    assert getattr(found, "outcome", None) is Outcome.TIMEOUT


# -- UDP and SCTP ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "port", "outcome"),
    [
        (ADDRESS, PORT, Outcome.CONNECTED),
        (ADDRESS, CLOSED_PORT, Outcome.REFUSED),
        (ADDRESS, DROPPED_PORT, Outcome.TIMEOUT),
        ("10.98.0.1", PORT, Outcome.UNREACHABLE),
    ],
)
def test_udp(room: Room, address: str, port: int, outcome: Outcome) -> None:
    (attempt,) = datagram.udp(Datagram(room.client, ip_address(address), port, timeout=0.4))
    assert attempt.outcome is outcome


@pytest.mark.parametrize(
    ("verdict", "outcome"), [("REJECT", Outcome.REFUSED), ("DROP", Outcome.TIMEOUT)]
)
def test_rule_of_the_clients_own_host(room: Room, verdict: str, outcome: Outcome) -> None:
    """send() fails with EPERM in both; only REJECT answers, over the client's loopback."""
    rule = ("OUTPUT", "-p", "udp", "--dport", "8090", "-j", verdict)
    run("ip", "netns", "exec", room.client, "iptables", "-I", *rule)
    try:
        asked = Datagram(room.client, ip_address(ADDRESS), 8090, count=2, timeout=0.4)
        assert [attempt.outcome for attempt in datagram.udp(asked)] == [outcome] * 2
    finally:
        run("ip", "netns", "exec", room.client, "iptables", "-D", *rule)


def test_udp_server_says_who_it_is(room: Room) -> None:
    found = asker(room.client, room.server).observe(
        CLIENT, Datagrams(Protocol.UDP, ip_address(ADDRESS), PORT, 3)
    )
    assert isinstance(found, tuple)
    assert [(a.backend, a.client_address_seen) for a in found] == [
        ("pod2", ip_address("10.99.0.1"))
    ] * 3


@pytest.mark.sctp
def test_sctp_closed_port(room: Room) -> None:
    (attempt,) = datagram.sctp(Datagram(room.client, ip_address(ADDRESS), CLOSED_PORT, timeout=0.5))
    assert attempt.outcome is Outcome.REFUSED


# -- links -----------------------------------------------------------------------------------------


def test_addresses_are_read_from_the_kernel(room: Room) -> None:
    found = asker(room.client, room.server).observe(SERVER, ReadAddresses())
    assert getattr(found, "addresses", ()) == (ip_address(ADDRESS), ip_address("fd99::2"))
    assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", getattr(found, "mac", ""))
