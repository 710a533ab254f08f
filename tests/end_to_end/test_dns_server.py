"""The DNS server over real sockets in a netns, asked by dnspython, dig and getent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from kns.addresses import IPAddress, IPFamily
from kns.agent.serve import dns as dns_server
from kns.agent.serve.dns import DNSServer
from kns.agent.serve.dns_forward import Forwarder
from kns.cluster.internet_dns import InternetZone
from kns.cluster.podfiles import NSSWITCH, ResolvConf
from kns.cluster.records import REVERSE_IPV4, REVERSE_IPV6, Zone
from kns.cluster.zone import ClusterZone
from kns.kernel import netns
from kns.kernel.processes import Context
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.service import Service, ServiceType
from tests.cluster.dns_vectors import Case, cases, normalised
from tests.end_to_end.dns_room import INTERNET, POD, POD6, Room, room

pytestmark = pytest.mark.kernel

OUTSIDE = InternetZone({"www.example.com.": (ip_address(INTERNET),)})


REVERSE = (REVERSE_IPV4, REVERSE_IPV6)


def upstream() -> tuple[IPAddress, ...]:
    """The servers that a Forwarder is told of."""
    return (ip_address(INTERNET),)


class Switch:
    """Zones that a test may exchange while servers answer from them."""

    def __init__(self) -> None:
        self.zones: tuple[Zone, ...] = ()

    def __call__(self) -> tuple[Zone, ...]:
        return self.zones


@pytest.fixture(scope="module")
def dns_room() -> Iterator[Room]:
    with room("server") as built:
        yield built


@pytest.fixture
def switch(dns_room: Room) -> Iterator[Switch]:
    """The DNS pod's server with its upstream in the internet's netns."""
    zones = Switch()
    outside = (OUTSIDE,)
    forwarder = Forwarder(dns_room.pod, upstream, timeout=0.5)
    dns_room.serve(DNSServer(zones, forwarder), dns_room.pod, "0.0.0.0", "::")
    dns_room.serve(DNSServer(lambda: outside), dns_room.internet, "0.0.0.0")
    yield zones
    dns_room.close_servers()


def vector_zone() -> ClusterZone:
    case = next(case for case in cases() if case.suite == "namespaces (all exposed)")
    options = replace(case.options, reverse_zones=REVERSE, fall_through=REVERSE)
    return ClusterZone(case.cluster, options)


def sections(message: dns.message.Message) -> tuple[object, ...]:
    found = [
        tuple(sorted(normalised(text) for rrset in section for text in rrset.to_text().split("\n")))
        for section in (message.answer, message.authority, message.additional)
    ]
    return (dns.rcode.to_text(message.rcode()), *found)


# -- the vectors, over the wire --------------------------------------------------------------------


@pytest.fixture(scope="module")
def truncating_upstream(dns_room: Room) -> Iterator[None]:
    """CoreDNS' test upstream: knows one name, and sets TC in its answer."""
    sock = netns.call_in(dns_room.internet, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((INTERNET, 5300))
    thread = threading.Thread(target=_truncated_answers, args=(sock,), daemon=True)
    thread.start()
    yield
    with contextlib.suppress(OSError):  # not connected, says the kernel, and wakes the reader
        sock.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    sock.close()


def _truncated_answers(sock: socket.socket) -> None:
    while True:
        wire, client = sock.recvfrom(4096)
        if not wire:
            return
        reply = dns.message.make_response(dns.message.from_wire(wire))
        reply.flags |= dns.flags.TC
        record = dns.rrset.from_text("ext.interwebs.test.", 5, "IN", "A", "1.2.3.4")
        reply.answer.append(record)
        sock.sendto(reply.to_wire(), client)


@pytest.mark.usefixtures("truncating_upstream")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_all_vectors_over_the_wire(dns_room: Room, transport: str) -> None:
    zones = Switch()
    forwarder = Forwarder(dns_room.pod, upstream, port=5300)
    dns_room.serve(DNSServer(zones, forwarder), dns_room.pod, POD, port=53)
    asked = [case for case in cases() if transport == "udp" or not is_outside(case)]
    wrong = {}
    for case in asked:
        zones.zones = (ClusterZone(case.cluster, case.options),)
        query = dns.message.make_query(case.qname, case.qtype, payload=4096)
        message = dns_room.udp(query) if transport == "udp" else dns_room.tcp(query)
        expected = (case.rcode, case.answer, case.authority, case.additional)
        if lowered(sections(message)) != lowered(expected):
            wrong[case.id] = sections(message)
        assert bool(message.flags & dns.flags.TC) == is_outside(case)
    dns_room.close_servers()
    assert wrong == {}
    assert len(asked) == (79 if transport == "udp" else 78)


def is_outside(case: Case) -> bool:
    """The case whose upstream speaks UDP only."""
    return any("1.2.3.4" in text for text in case.answer)


def lowered(found: tuple[object, ...]) -> str:
    """dnspython folds case where it merges names; the pure tests compare letter for letter."""
    return str(found).lower()


# -- real clients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("server", [POD, POD6])
def test_dig_asks_both_families(dns_room: Room, switch: Switch, server: str) -> None:
    switch.zones = (vector_zone(),)
    name = "svc-dual-stack.testns.svc.cluster.local"
    out = dns_room.command("dig", f"@{server}", "+short", name, "A", name, "AAAA")
    assert out.split() == ["10.0.0.3", "10::3"]


def test_dig_shows_srv_with_addresses_and_flags(dns_room: Room, switch: Switch) -> None:
    switch.zones = (vector_zone(),)
    name = "_http._tcp.svc1.testns.svc.cluster.local"
    out = dns_room.command("dig", f"@{POD}", name, "SRV")
    assert ";; flags: qr aa rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 2" in out
    answers = [line.split() for line in out.splitlines() if line and line[0] not in ";"]
    assert answers == [
        [f"{name}.", "5", "IN", "SRV", "0", "100", "80", "svc1.testns.svc.cluster.local."],
        ["svc1.testns.svc.cluster.local.", "5", "IN", "A", "10.0.0.1"],
    ]


def test_dig_transfer_is_refused(dns_room: Room, switch: Switch) -> None:
    switch.zones = (vector_zone(),)
    out = dns_room.command("dig", f"@{POD}", "cluster.local", "AXFR")
    assert "; Transfer failed." in out


def test_dig_gets_the_whole_of_a_large_answer_by_tcp(dns_room: Room, switch: Switch) -> None:
    switch.zones = (large_zone(200),)
    out = dns_room.command("dig", f"@{POD}", "+noedns", "many.testns.svc.cluster.local", "A")
    assert ";; Truncated, retrying in TCP mode." in out
    assert "ANSWER: 200" in out


def large_zone(count: int) -> ClusterZone:
    zone = vector_zone()
    addresses = (ip_address("172.16.0.1") + number for number in range(count))
    piece = EndpointSlice(
        "testns",
        "many-1",
        "many",
        IPFamily.IPV4,
        (EndpointPort(80, "http"),),
        tuple(Endpoint((address,)) for address in addresses),
    )
    cluster = replace(
        zone.cluster,
        services=(*zone.cluster.services, Service("testns", "many")),
        endpoint_slices=(*zone.cluster.endpoint_slices, piece),
    )
    return ClusterZone(cluster, zone.options)


def etc(folder: Path) -> Path:
    searches = ("testns.svc.cluster.local", "svc.cluster.local", "cluster.local")
    conf = ResolvConf((POD,), searches, ("ndots:5",))
    (folder / "resolv.conf").write_text(conf.text)
    (folder / "nsswitch.conf").write_text(NSSWITCH)
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("svc1", ["10.0.0.1", "svc1.testns.svc.cluster.local"]),
        ("svc1.testns", ["10.0.0.1", "svc1.testns.svc.cluster.local"]),
        ("svc1.testns.svc", ["10.0.0.1", "svc1.testns.svc.cluster.local"]),
        ("svc1.unexposedns", ["10.0.0.2", "svc1.unexposedns.svc.cluster.local"]),
        ("www.example.com", [INTERNET, "www.example.com"]),
        ("10.0.0.1", ["10.0.0.1", "svc1.testns.svc.cluster.local"]),
        ("nobody", []),
    ],
)
def test_getent_resolves_as_a_pod_does(
    dns_room: Room, switch: Switch, tmp_path: Path, name: str, expected: list[str]
) -> None:
    switch.zones = (vector_zone(),)
    context = Context(dns_room.pod, etc=etc(tmp_path))
    out = dns_room.command("getent", "hosts", name, context=context)
    assert out.split() == expected


# -- forwarding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_names_outside_are_asked_upstream(dns_room: Room, switch: Switch, transport: str) -> None:
    switch.zones = (vector_zone(),)
    query = dns.message.make_query("www.example.com", "A")
    message = dns_room.udp(query) if transport == "udp" else dns_room.tcp(query)
    assert sections(message)[:2] == ("NOERROR", (f"www.example.com. 300 IN A {INTERNET}",))


def test_external_name_is_followed_upstream(dns_room: Room, switch: Switch) -> None:
    zone = vector_zone()
    external = Service(
        "testns", "out", type=ServiceType.EXTERNAL_NAME, external_name="www.example.com"
    )
    cluster = replace(zone.cluster, services=(*zone.cluster.services, external))
    switch.zones = (ClusterZone(cluster, zone.options),)
    message = dns_room.udp(dns.message.make_query("out.testns.svc.cluster.local", "A"))
    assert sections(message)[:2] == (
        "NOERROR",
        (
            "out.testns.svc.cluster.local. 5 IN CNAME www.example.com.",
            f"www.example.com. 300 IN A {INTERNET}",
        ),
    )


def test_silent_upstream_is_servfail_in_time(dns_room: Room) -> None:
    """A socket that nobody reads stands for a server that takes questions and never answers."""
    silent = netns.call_in(dns_room.internet, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((INTERNET, 5301))
    forwarder = Forwarder(dns_room.pod, upstream, port=5301, timeout=0.4)
    dns_room.serve(DNSServer(tuple, forwarder), dns_room.pod, POD)
    start = time.monotonic()
    message = dns_room.udp(dns.message.make_query("www.example.com", "A"))
    seconds = time.monotonic() - start
    silent.close()
    dns_room.close_servers()
    assert message.rcode() == dns.rcode.SERVFAIL
    assert 0.4 <= seconds < 2.0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_refusing_upstream_is_servfail_at_once(dns_room: Room, transport: str) -> None:
    forwarder = Forwarder(dns_room.pod, upstream, port=5302, timeout=5.0)
    dns_room.serve(DNSServer(tuple, forwarder), dns_room.pod, POD)
    query = dns.message.make_query("www.example.com", "A")
    start = time.monotonic()
    message = dns_room.udp(query) if transport == "udp" else dns_room.tcp(query)
    seconds = time.monotonic() - start
    dns_room.close_servers()
    assert message.rcode() == dns.rcode.SERVFAIL
    assert seconds < 1.0


def test_second_upstream_is_asked_when_the_first_is_dead(dns_room: Room) -> None:
    outside = (OUTSIDE,)
    dns_room.serve(DNSServer(lambda: outside), dns_room.internet, INTERNET, port=5303)
    servers = (ip_address("203.0.113.99"), ip_address(INTERNET))
    forwarder = Forwarder(dns_room.pod, lambda: servers, port=5303, timeout=1.0)
    dns_room.serve(DNSServer(tuple, forwarder), dns_room.pod, POD)
    message = dns_room.udp(dns.message.make_query("www.example.com", "A"))
    dns_room.close_servers()
    assert message.answer[0][0].to_text() == INTERNET


def test_upstream_is_asked_from_the_address_that_the_pod_has_now(dns_room: Room) -> None:
    """As after a change of the pod network: another address in the same netns."""
    outside = (OUTSIDE,)
    dns_room.serve(DNSServer(lambda: outside), dns_room.internet, INTERNET, port=5304)
    forwarder = Forwarder(dns_room.pod, upstream, port=5304, timeout=0.5)
    dns_room.serve(DNSServer(tuple, forwarder), dns_room.pod, "0.0.0.0")
    query = dns.message.make_query("www.example.com", "A")
    before = dns_room.udp(query)
    dns_room.command(*["ip", "address", "add", "10.244.7.9/24", "dev", "eth0"])
    dns_room.command(*f"ip address del {POD}/24 dev eth0".split())
    after = dns_room.udp(query, "10.244.7.9")
    dns_room.command(*f"ip address add {POD}/24 dev eth0".split())
    dns_room.command(*["ip", "address", "del", "10.244.7.9/24", "dev", "eth0"])
    dns_room.close_servers()
    assert [message.answer[0][0].to_text() for message in (before, after)] == [INTERNET] * 2


def test_no_more_questions_are_handed_on_than_it_takes(
    dns_room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CoreDNS' max_concurrent: the one that is too many is refused, the others are waited for."""
    monkeypatch.setattr(dns_server, "MAX_FORWARDED", 3)
    silent = netns.call_in(dns_room.internet, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((INTERNET, 5305))
    server = DNSServer(tuple, Forwarder(dns_room.pod, upstream, port=5305, timeout=0.5))

    async def ask_all() -> list[bytes]:
        wires = [dns.message.make_query(f"n{n}.example.com", "A").to_wire() for n in range(4)]
        replies = []
        for wire in wires:
            reply = server.answer_now(wire)
            replies.append(_immediate(reply) if isinstance(reply, bytes) else _started(reply))
            await asyncio.sleep(0)
        found = await asyncio.gather(*replies)
        server.close()
        return found

    rcodes = [dns.message.from_wire(reply).rcode() for reply in dns_room.run(ask_all)]
    silent.close()
    assert rcodes == [dns.rcode.SERVFAIL] * 3 + [dns.rcode.REFUSED]


def _started(reply: Coroutine[object, None, bytes]) -> asyncio.Task[bytes]:
    return asyncio.get_running_loop().create_task(reply)


def _immediate(reply: bytes) -> asyncio.Task[bytes]:
    async def body() -> bytes:
        return reply

    return _started(body())


def test_many_questions_at_once_get_their_own_replies(dns_room: Room, switch: Switch) -> None:
    """Forwarded questions share one socket; each client's id and question come back to it."""
    del switch
    names = [f"n{number}.example.com." for number in range(200)]

    async def ask_all() -> list[str]:
        forwarder = Forwarder(dns_room.pod, upstream)
        queries = [dns.message.make_query(name, "A") for name in names]
        replies = await asyncio.gather(*(forwarder.ask(query.to_wire()) for query in queries))
        forwarder.close()
        found = [dns.message.from_wire(reply) for reply in replies]
        assert [message.id for message in found] == [query.id for query in queries]
        return [str(message.question[0].name) for message in found]

    assert dns_room.run(ask_all) == names


# -- changes ---------------------------------------------------------------------------------------


def test_records_follow_the_cluster_at_once(dns_room: Room, switch: Switch) -> None:
    query = dns.message.make_query("many.testns.svc.cluster.local", "A")
    switch.zones = (large_zone(1),)
    before = dns_room.udp(query)
    switch.zones = (large_zone(2),)
    after = dns_room.udp(query)
    assert [len(message.answer[0]) for message in (before, after)] == [1, 2]


def test_addresses_come_in_turn(dns_room: Room, switch: Switch) -> None:
    switch.zones = (large_zone(3),)
    query = dns.message.make_query("many.testns.svc.cluster.local", "A")
    replies = [dns_room.udp(query) for _ in range(4)]
    firsts = {message.answer[0][0].to_text() for message in replies}
    assert firsts == {"172.16.0.1", "172.16.0.2", "172.16.0.3"}


def test_closed_server_leaves_its_port(dns_room: Room) -> None:
    server = DNSServer(lambda: (vector_zone(),))
    dns_room.serve(server, dns_room.pod, POD)
    dns_room.close_servers()
    out = dns_room.command("dig", f"@{POD}", "+tries=1", "+time=1", "a.example")
    assert "connection refused" in out
