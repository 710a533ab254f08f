"""The stub resolver of `kns dns` against real servers, and against getent in the same netns."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from kns.agent.serve.dns import DNSServer
from kns.cluster.internet_dns import InternetZone
from kns.cluster.podfiles import NSSWITCH, ResolvConf
from kns.cluster.records import Rcode, Record, Zone, ZoneAnswer
from kns.kernel import netns
from kns.kernel.processes import Context
from kns.probe.ask.dns import DNSSource, trace_name
from kns.probe.ask.dns_model import DNSTrace, ResolutionOutcome
from tests.end_to_end.dns_room import INTERNET, POD, Room, room

pytestmark = pytest.mark.kernel

SEARCHES = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
ADDRESS = ip_address("10.96.0.20")
NAMES = InternetZone(
    {
        "svc-a.default.svc.cluster.local.": (ADDRESS,),
        "www.example.com.": (ip_address(INTERNET), ip_address("2001:db8:203::10")),
    }
)


class Failing:
    """A zone that can't answer."""

    def lookup(self, qname: str, qtype: str) -> ZoneAnswer:  # noqa: ARG002 - a Zone's signature
        return ZoneAnswer(Rcode.SERVFAIL)


class Large:
    """A zone with more addresses than 512 bytes hold."""

    def lookup(self, qname: str, qtype: str) -> ZoneAnswer:
        if qtype != "A":
            return ZoneAnswer(Rcode.NOERROR)
        found = (Record(qname, "A", 5, f"192.0.2.{number}") for number in range(60))
        return ZoneAnswer(Rcode.NOERROR, tuple(found))


@pytest.fixture(scope="module")
def dns_room() -> Iterator[Room]:
    with room("resolver") as built:
        yield built


@pytest.fixture(autouse=True)
def no_server_stays(dns_room: Room) -> Iterator[None]:
    yield
    dns_room.close_servers()


def serve(dns_room: Room, zone: Zone, address: str = POD) -> None:
    zones = (zone,)
    dns_room.serve(DNSServer(lambda: zones), dns_room.pod, address)


def resolve(
    dns_room: Room,
    name: str,
    rdtype: str = "",
    *,
    servers: tuple[str, ...] = (POD,),
    options: tuple[str, ...] = ("ndots:5", "timeout:1"),
    hosts: str = "",
) -> DNSTrace:
    conf = ResolvConf(servers, SEARCHES, options)
    return trace_name(DNSSource("pod1", dns_room.pod, conf, hosts), name, rdtype)


def steps(trace: DNSTrace) -> list[tuple[str, str, str]]:
    return [(query.name, query.type, query.rcode) for query in trace.queries]


def test_short_name_needs_one_pair_of_queries(dns_room: Room) -> None:
    serve(dns_room, NAMES)
    trace = resolve(dns_room, "svc-a")
    name = "svc-a.default.svc.cluster.local."
    assert steps(trace) == [(name, "A", "NOERROR"), (name, "AAAA", "NOERROR")]
    assert trace.addresses == (str(ADDRESS),)


def test_name_outside_costs_eight_queries_with_ndots_5(dns_room: Room) -> None:
    serve(dns_room, NAMES)
    trace = resolve(dns_room, "www.example.com")
    expected = [
        (f"www.example.com.{domain}.", rdtype, "NXDOMAIN")
        for domain in SEARCHES
        for rdtype in ("A", "AAAA")
    ]
    last = [("www.example.com.", rdtype, "NOERROR") for rdtype in ("A", "AAAA")]
    assert steps(trace) == [*expected, *last]
    assert trace.addresses == (INTERNET, "2001:db8:203::10")
    assert all(query.latency_ms is not None for query in trace.queries)


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("www.example.com.", ("ndots:5",), 2),
        ("www.example.com", ("ndots:2",), 2),
        ("www.example.com", ("ndots:5", "no-aaaa"), 4),
        ("www.example.com", ("ndots:5", "single-request"), 8),
    ],
)
def test_options_change_the_number_of_queries(
    dns_room: Room, name: str, options: tuple[str, ...], count: int
) -> None:
    serve(dns_room, NAMES)
    trace = resolve(dns_room, name, options=options)
    assert (trace.outcome, len(trace.queries)) == (ResolutionOutcome.RESOLVED, count)


def test_unknown_name_is_nxdomain_after_the_whole_search_list(dns_room: Room) -> None:
    serve(dns_room, NAMES)
    trace = resolve(dns_room, "nobody")
    assert (trace.outcome, len(trace.queries)) == (ResolutionOutcome.NXDOMAIN, 8)


def test_type_is_asked_for_alone(dns_room: Room) -> None:
    serve(dns_room, NAMES)
    trace = resolve(dns_room, "svc-a", "SRV")
    assert trace.outcome is ResolutionOutcome.NODATA
    assert steps(trace)[0] == ("svc-a.default.svc.cluster.local.", "SRV", "NOERROR")
    assert len(trace.queries) == 4


def test_truncated_answer_is_asked_for_again_by_tcp(dns_room: Room) -> None:
    serve(dns_room, Large())
    trace = resolve(dns_room, "many.")
    found = [(query.type, query.protocol, query.truncated) for query in trace.queries]
    assert found == [("A", "udp", True), ("AAAA", "udp", False), ("A", "tcp", False)]
    assert len(trace.addresses) == 60


def test_use_vc_asks_by_tcp_only(dns_room: Room) -> None:
    serve(dns_room, NAMES)
    trace = resolve(dns_room, "svc-a", options=("ndots:5", "use-vc"))
    assert [query.protocol for query in trace.queries] == ["tcp", "tcp"]
    assert trace.ok


def test_failing_server_is_asked_twice_then_the_next_domain(dns_room: Room) -> None:
    serve(dns_room, Failing())
    trace = resolve(dns_room, "svc-a", "A")
    assert trace.outcome is ResolutionOutcome.SERVFAIL
    assert steps(trace)[:3] == [
        ("svc-a.default.svc.cluster.local.", "A", "SERVFAIL"),
        ("svc-a.default.svc.cluster.local.", "A", "SERVFAIL"),
        ("svc-a.svc.cluster.local.", "A", "SERVFAIL"),
    ]


def test_closed_port_ends_the_search_at_once(dns_room: Room) -> None:
    trace = resolve(dns_room, "svc-a", "A")
    assert trace.outcome is ResolutionOutcome.REFUSED
    assert [query.rcode for query in trace.queries] == ["CONNREFUSED", "CONNREFUSED"]


def test_second_server_is_asked_when_the_first_is_dead(dns_room: Room) -> None:
    serve(dns_room, NAMES)
    trace = resolve(dns_room, "svc-a", "A", servers=("10.244.0.99", POD))
    assert trace.ok
    assert [query.server for query in trace.queries] == ["10.244.0.99", POD]


def test_silent_server_is_a_timeout_and_ends_the_search(dns_room: Room) -> None:
    """A socket that nobody reads stands for a server that takes questions and never answers."""
    silent = netns.call_in(dns_room.pod, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((POD, 53))
    options = ("ndots:5", "timeout:1", "attempts:1")
    trace = resolve(dns_room, "svc-a", options=options)
    silent.close()
    assert trace.outcome is ResolutionOutcome.TIMEOUT
    assert steps(trace) == [
        ("svc-a.default.svc.cluster.local.", "A", "TIMEOUT"),
        ("svc-a.default.svc.cluster.local.", "AAAA", "TIMEOUT"),
        ("svc-a.", "A", "TIMEOUT"),
        ("svc-a.", "AAAA", "TIMEOUT"),
    ]


def test_hosts_file_is_asked_before_any_server(dns_room: Room) -> None:
    trace = resolve(dns_room, "pod1", hosts="10.244.0.2\tpod1\n")
    assert (trace.ok, trace.addresses, trace.queries) == (True, ("10.244.0.2",), ())


def test_resolv_conf_without_server_is_said(dns_room: Room) -> None:
    assert resolve(dns_room, "svc-a", servers=()).outcome is ResolutionOutcome.NO_SERVER


@pytest.mark.parametrize("name", ["svc-a", "www.example.com", "a.b.c.d.e.f", "nobody"])
def test_getent_sends_the_same_queries(dns_room: Room, tmp_path: Path, name: str) -> None:
    """The trace is what glibc really does: compare with the questions that a server sees."""
    seen: list[tuple[str, str]] = []

    class Recording:
        def lookup(self, qname: str, qtype: str) -> ZoneAnswer:
            seen.append((qname, qtype))
            return NAMES.lookup(qname, qtype)

    class Changing:
        """A new tuple of zones at each question, so that no reply is taken from the store."""

        def __call__(self) -> tuple[Zone, ...]:
            return (Recording(),)

    dns_room.serve(DNSServer(Changing()), dns_room.pod, POD)
    conf = ResolvConf((POD,), SEARCHES, ("ndots:5",))
    (tmp_path / "resolv.conf").write_text(conf.text)
    (tmp_path / "nsswitch.conf").write_text(NSSWITCH)
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    dns_room.command("getent", "ahosts", name, context=Context(dns_room.pod, etc=tmp_path))
    by_getent, seen[:] = list(seen), []
    trace_name(DNSSource.at("pod1", dns_room.pod, tmp_path), name)
    assert sorted(by_getent) == sorted(seen)
    assert [name for name, _ in by_getent] == [name for name, _ in seen]
