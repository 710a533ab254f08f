"""DNS messages and the server's part that needs no socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from ipaddress import IPv4Address

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdata
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kns.agent.serve import dns_cache
from kns.agent.serve.dns import DNSServer
from kns.agent.serve.dns_wire import UnanswerableError, WireAnswer, read_query, response, rotated
from kns.cluster.internet_dns import InternetZone
from kns.cluster.records import Rcode, Record, Zone, ZoneAnswer
from kns.cluster.zone import ClusterZone
from tests.cluster.dns_vectors import Case, cases, normalised

ADDRESSES = tuple(Record("many.example.", "A", 5, f"192.0.2.{i}") for i in range(100))


class OneAnswer:
    """A zone that gives the same answer to every question."""

    def __init__(self, answer: ZoneAnswer) -> None:
        self.answer = answer

    def lookup(self, qname: str, qtype: str) -> ZoneAnswer:  # noqa: ARG002 - a Zone's signature
        return self.answer


def ask(zones: tuple[Zone, ...], wire: bytes, *, tcp: bool = False) -> bytes:
    reply = DNSServer(lambda: zones).answer_now(wire, tcp=tcp)
    assert isinstance(reply, bytes)
    return reply


def query(name: str, rdtype: str = "A", *, payload: int = 0) -> bytes:
    edns = 0 if payload else -1
    return dns.message.make_query(name, rdtype, use_edns=edns, payload=payload).to_wire()


@pytest.mark.parametrize("case", [c for c in cases() if c.answer], ids=lambda case: case.id)
def test_wire_keeps_every_letter_of_the_vectors(case: Case) -> None:
    """dnspython compares names without case, so compare text: owner, case and all."""
    found = ClusterZone(case.cluster, case.options).lookup(case.qname, case.qtype)
    assert found is not None
    reply = response(read_query(query(case.qname, case.qtype, payload=4096)), WireAnswer.of(found))
    message = dns.message.from_wire(reply, one_rr_per_rrset=True)
    actual = sorted(normalised(rrset.to_text()) for rrset in message.answer)
    # the CNAME that leads outside: its target's records come from another server
    assert actual == [text for text in case.answer if "1.2.3.4" not in text]


def test_reply_repeats_id_question_and_rd() -> None:
    wire = query("WWW.Example.COM")
    reply = ask((InternetZone({}),), wire)
    message = dns.message.from_wire(reply)
    assert reply[:2] == wire[:2]
    assert message.question[0].to_text() == "WWW.Example.COM. IN A"
    flags = dns.flags.to_text(message.flags).split()
    assert flags == ["QR", "AA", "RD"]


def test_answer_over_512_bytes_without_edns_is_cut_with_tc() -> None:
    zone = OneAnswer(ZoneAnswer(Rcode.NOERROR, ADDRESSES))
    reply = ask((zone,), query("many.example"))
    message = dns.message.from_wire(reply)
    assert len(reply) <= 512
    assert message.flags & dns.flags.TC
    # 12 of header, 18 of question, 16 a record
    assert len(message.answer[0]) == (512 - 30) // 16


@pytest.mark.parametrize(("payload", "count"), [(1232, 74), (4096, 100), (100, 29)])
def test_answer_is_cut_to_the_payload_of_edns(payload: int, count: int) -> None:
    """RFC 6891 6.2.3: a payload below 512 counts as 512."""
    zone = OneAnswer(ZoneAnswer(Rcode.NOERROR, ADDRESSES))
    reply = ask((zone,), query("many.example", payload=payload))
    message = dns.message.from_wire(reply)
    assert len(reply) <= max(payload, 512)
    assert len(message.answer[0]) == count
    assert bool(message.flags & dns.flags.TC) == (count < 100)
    assert message.edns == 0


def test_answer_by_tcp_is_never_cut() -> None:
    zone = OneAnswer(ZoneAnswer(Rcode.NOERROR, ADDRESSES))
    message = dns.message.from_wire(ask((zone,), query("many.example"), tcp=True))
    assert len(message.answer[0]) == 100
    assert not message.flags & dns.flags.TC


def test_additional_records_that_do_not_fit_are_left_out_without_tc() -> None:
    answer = ZoneAnswer(Rcode.NOERROR, ADDRESSES[:1], additional=ADDRESSES)
    message = dns.message.from_wire(ask((OneAnswer(answer),), query("many.example")))
    assert len(message.answer[0]) == 1
    assert 0 < len(message.additional[0]) < 100
    assert not message.flags & dns.flags.TC


def test_dnssec_ok_bit_is_copied() -> None:
    wire = dns.message.make_query("a.example", "A", want_dnssec=True).to_wire()
    message = dns.message.from_wire(ask((InternetZone({}),), wire))
    assert message.ednsflags & dns.flags.DO


@pytest.mark.parametrize("wire", [b"", b"\0" * 11, b"\xff" * 2 + b"\x80\0" + b"\0" * 8])
def test_what_is_no_query_gets_no_reply(wire: bytes) -> None:
    with pytest.raises(UnanswerableError) as caught:
        read_query(wire)
    assert caught.value.reply == b""


def test_garbage_after_a_query_header_is_formerr() -> None:
    reply = ask((), b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\xff\xff")
    message = dns.message.from_wire(reply)
    assert (message.id, message.rcode()) == (0x1234, dns.rcode.FORMERR)


def test_other_opcodes_are_not_implemented() -> None:
    message = dns.message.make_query("a.example", "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    reply = dns.message.from_wire(ask((), message.to_wire()))
    assert (reply.opcode(), reply.rcode()) == (dns.opcode.NOTIFY, dns.rcode.NOTIMP)


def test_two_questions_are_formerr() -> None:
    message = dns.message.make_query("a.example", "A")
    message.question.append(dns.message.make_query("b.example", "A").question[0])
    assert dns.message.from_wire(ask((), message.to_wire())).rcode() == dns.rcode.FORMERR


def test_class_chaos_is_refused() -> None:
    wire = dns.message.make_query("version.bind", "TXT", "CH").to_wire()
    assert dns.message.from_wire(ask((), wire)).rcode() == dns.rcode.REFUSED


def test_edns_version_1_is_badvers() -> None:
    wire = dns.message.make_query("a.example", "A", use_edns=1).to_wire()
    reply = dns.message.from_wire(ask((InternetZone({}),), wire))
    assert reply.rcode() == dns.rcode.BADVERS


def test_zone_transfer_is_refused() -> None:
    zone = InternetZone({})
    reply = dns.message.from_wire(ask((zone,), query("example.com", "AXFR"), tcp=True))
    assert (reply.rcode(), reply.flags & dns.flags.AA) == (dns.rcode.REFUSED, 0)


def test_question_of_nobody_is_refused_without_forwarder() -> None:
    assert dns.message.from_wire(ask((), query("a.example"))).rcode() == dns.rcode.REFUSED


def test_rotated_puts_aliases_first_and_turns_addresses() -> None:
    alias = Record("a.example.", "CNAME", 5, "many.example.")
    one, two, three, cname = WireAnswer.of(
        ZoneAnswer(Rcode.NOERROR, (*ADDRESSES[:3], alias))
    ).answer
    assert rotated((one, two, three, cname), 1) == (cname, two, three, one)


def test_cached_reply_takes_the_addresses_in_turn() -> None:
    zones = (OneAnswer(ZoneAnswer(Rcode.NOERROR, ADDRESSES[:3])),)
    server = DNSServer(lambda: zones)
    wire = query("many.example")
    assert server.answer_cached(wire) is None
    server.answer_now(wire)
    firsts = []
    for _ in range(6):
        reply = server.answer_cached(wire)
        assert reply is not None
        firsts.append(dns.message.from_wire(reply).answer[0][0].to_text())
    assert sorted(firsts) == [f"192.0.2.{i}" for i in (0, 0, 1, 1, 2, 2)]
    assert len(set(firsts[:3])) == 3


def test_cached_reply_has_the_new_questions_id() -> None:
    zones = (OneAnswer(ZoneAnswer(Rcode.NOERROR, ADDRESSES[:1])),)
    server = DNSServer(lambda: zones)
    wire = query("many.example")
    server.answer_now(wire)
    reply = server.answer_cached(b"\xab\xcd" + wire[2:])
    assert reply is not None
    assert reply[:2] == b"\xab\xcd"


def test_new_zones_empty_the_cache() -> None:
    current: list[tuple[Zone, ...]] = [(OneAnswer(ZoneAnswer(Rcode.NOERROR, ADDRESSES[:1])),)]
    server = DNSServer(lambda: current[0])
    wire = query("many.example")
    server.answer_cached(wire)
    server.answer_now(wire)
    current[0] = (OneAnswer(ZoneAnswer(Rcode.NXDOMAIN)),)
    assert server.answer_cached(wire) is None
    reply = server.answer_now(wire)
    assert isinstance(reply, bytes)
    assert dns.message.from_wire(reply).rcode() == dns.rcode.NXDOMAIN


def test_cache_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_cache, "MAX_ENTRIES", 50)
    zones = (InternetZone({}),)
    server = DNSServer(lambda: zones)
    for number in range(55):
        server.answer_now(query(f"n{number}.example"))
    assert len(server._cache) == 5


def test_cache_has_a_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for what is added later: the other orders of the addresses."""
    monkeypatch.setattr(dns_cache, "MAX_BYTES", 100_000)
    zones = (OneAnswer(ZoneAnswer(Rcode.NOERROR, ADDRESSES[:20])),)
    server = DNSServer(lambda: zones)
    for number in range(55):
        wire = query("many.example", payload=512 + number)
        for _ in range(20):
            assert server.answer_cached(wire) or server.answer_now(wire)
    assert 0 < len(server._cache) < 10


def test_padded_question_is_answered_and_not_kept() -> None:
    zones = (OneAnswer(ZoneAnswer(Rcode.NOERROR, ADDRESSES[:1])),)
    server = DNSServer(lambda: zones)
    padding = dns.edns.GenericOption(dns.edns.OptionType.PADDING, bytes(50_000))
    wire = dns.message.make_query("many.example", "A", options=[padding]).to_wire(max_size=65535)
    reply = server.answer_now(wire)
    assert isinstance(reply, bytes)
    assert dns.message.from_wire(reply).answer
    assert len(server._cache) == 0


def test_external_name_without_upstream_is_no_data_with_the_soa() -> None:
    soa = Record("cluster.local.", "SOA", 5, "ns.dns.cluster.local. h.cluster.local. 1 2 3 4 5")
    alias = Record("e.cluster.local.", "CNAME", 5, "x.example.")

    class External:
        def lookup(self, qname: str, qtype: str) -> ZoneAnswer:  # noqa: ARG002 - a Zone's signature
            if qtype == "A":
                return ZoneAnswer(Rcode.NOERROR, (alias,), pending="x.example.")
            return ZoneAnswer(Rcode.NOERROR, authority=(soa,))

    reply = DNSServer(lambda: (External(),)).answer_now(query("e.cluster.local"))
    assert not isinstance(reply, bytes)
    message = dns.message.from_wire(asyncio.run(_awaited(reply)))
    assert (message.rcode(), message.answer) == (dns.rcode.NOERROR, [])
    assert message.authority[0].name.to_text() == "cluster.local."


async def _awaited(reply: Awaitable[bytes]) -> bytes:
    return await reply


def test_internet_zone_knows_names_and_addresses() -> None:
    address = IPv4Address("203.0.113.10")
    zone = InternetZone({"example.com.": (address,), "www.example.com.": (address,)})
    answers = [
        (zone.lookup(name, rdtype).rcode, [r.data for r in zone.lookup(name, rdtype).answer])
        for name, rdtype in [
            ("www.example.com.", "A"),
            ("WWW.example.COM.", "A"),
            ("www.example.com.", "AAAA"),
            ("com.", "A"),
            ("ftp.example.com.", "A"),
            ("10.113.0.203.in-addr.arpa.", "PTR"),
            ("11.113.0.203.in-addr.arpa.", "PTR"),
        ]
    ]
    assert answers == [
        (Rcode.NOERROR, ["203.0.113.10"]),
        (Rcode.NOERROR, ["203.0.113.10"]),
        (Rcode.NOERROR, []),
        (Rcode.NOERROR, []),
        (Rcode.NXDOMAIN, []),
        (Rcode.NOERROR, ["www.example.com."]),
        (Rcode.NXDOMAIN, []),
    ]


@pytest.mark.parametrize(
    ("rdtype", "data"),
    [
        ("A", "192.0.2.1"),
        ("AAAA", "2001:db8::1"),
        ("CNAME", "www.Example.COM."),
        ("PTR", "a\\.b.example."),
        ("NS", "."),
        ("SRV", "0 16 8080 dup-name.hdls1.testns.svc.cluster.local."),
        ("SOA", "ns.dns.cluster.local. hostmaster.cluster.local. 4294967295 7200 1800 86400 30"),
        ("TXT", '"1.1.0"'),
    ],
)
def test_records_are_written_as_dnspython_writes_them(rdtype: str, data: str) -> None:
    (record,) = WireAnswer.of(ZoneAnswer(Rcode.NOERROR, (Record("a.b.", rdtype, 5, data),))).answer
    assert record.rdata == dns.rdata.from_text("IN", rdtype, data).to_wire()
    assert record.labels == (b"a", b"b", b"")


@given(st.binary(max_size=80))
def test_no_bytes_from_a_client_can_hurt(wire: bytes) -> None:
    """What is answered at all is answered with the client's id and QR set."""
    reply = DNSServer(lambda: ()).answer_now(wire)
    assert isinstance(reply, bytes)
    assert reply == b"" or (reply[:2] == wire[:2] and reply[2] & 0x80)
