"""The order in which glibc tries names, and its options."""

from __future__ import annotations

import pytest

from kns.cluster.podfiles import ResolvConf
from kns.cluster.records import Record
from kns.errors import UsageError
from kns.probe.ask.dns_model import (
    DNSQuery,
    DNSTrace,
    ResolutionOutcome,
    ResolverOptions,
    hosts_addresses,
    question_of,
    search_order,
)

SEARCHES = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
POD = ResolvConf(("10.96.0.10",), SEARCHES, ("ndots:5",))


@pytest.mark.parametrize(
    ("name", "conf", "expected"),
    [
        ("svc-a.", POD, ["svc-a."]),
        (
            "example.com",
            POD,
            [*(f"example.com.{domain}." for domain in SEARCHES), "example.com."],
        ),
        (
            "a.b.c.d.e.f",
            POD,
            ["a.b.c.d.e.f.", *(f"a.b.c.d.e.f.{domain}." for domain in SEARCHES)],
        ),
        ("svc-a", ResolvConf((), ("x",), ()), ["svc-a.x.", "svc-a."]),
        ("a.b", ResolvConf((), ("x",), ()), ["a.b.", "a.b.x."]),
        ("a.b", ResolvConf((), (), ("ndots:5",)), ["a.b."]),
        ("a", ResolvConf((), (".", "x"), ("ndots:5",)), ["a.", "a.x."]),
    ],
)
def test_search_order_is_glibcs(name: str, conf: ResolvConf, expected: list[str]) -> None:
    assert list(search_order(name, conf)) == expected


def test_options_are_read_and_capped_as_resolv_conf_says() -> None:
    words = ("ndots:99", "timeout:1", "attempts:0", "use-vc", "rotate", "edns0", "ndots:x")
    assert ResolverOptions.of(ResolvConf(options=words[:-1])) == ResolverOptions(
        ndots=15, timeout=1, attempts=1, use_vc=True, edns0=True
    )
    assert ResolverOptions.of(ResolvConf()) == ResolverOptions(1, 5, 2)


def test_hosts_file_is_read_without_case_and_comments() -> None:
    hosts = "# c\n10.0.0.1\tweb.team pod1 # pod2\n::1 localhost\n127.0.0.1 LOCALHOST\n"
    assert hosts_addresses(hosts, "POD1") == ("10.0.0.1",)
    assert hosts_addresses(hosts, "localhost.") == ("::1", "127.0.0.1")
    assert hosts_addresses(hosts, "pod2") == ()


def test_trace_tells_addresses_and_the_name_that_led_there() -> None:
    name = "svc-a.default.svc.cluster.local."
    answer = Record(name, "A", 30, "10.96.0.20")
    queries = (
        DNSQuery("svc-a.other.", "A", "10.96.0.10", "udp", "NXDOMAIN", latency_ms=0.5),
        DNSQuery(name, "A", "10.96.0.10", "udp", "NOERROR", (answer,), truncated=True),
        DNSQuery(name, "A", "10.96.0.10", "tcp", "NOERROR", (answer,)),
        DNSQuery(name, "AAAA", "10.96.0.10", "udp", "NOERROR"),
    )
    trace = DNSTrace("pod1", "svc-a", ("A", "AAAA"), POD, ResolutionOutcome.RESOLVED, queries)
    assert (trace.ok, trace.resolved_name, trace.addresses) == (True, name, ("10.96.0.20",))
    assert [query.found for query in queries] == [False, False, True, False]
    shape = trace.to_json()
    assert list(shape) == [
        "source",
        "name",
        "types",
        "resolver",
        "ok",
        "outcome",
        "resolved_name",
        "addresses",
        "from_hosts",
        "queries",
    ]


@pytest.mark.parametrize(
    ("name", "rdtype", "expected"),
    [
        ("svc-a", "", ("svc-a", "")),
        ("svc-a", "srv", ("svc-a", "SRV")),
        ("10.96.0.1", "", ("1.0.96.10.in-addr.arpa.", "PTR")),
        ("10.96.0.1", "A", ("1.0.96.10.in-addr.arpa.", "A")),
    ],
)
def test_question_of_an_address_is_its_ptr(
    name: str, rdtype: str, expected: tuple[str, str]
) -> None:
    assert question_of(name, rdtype) == expected


@pytest.mark.parametrize(
    ("name", "rdtype"), [("svc-a", "AXFR"), ("svc-a", "B"), ("a..b", ""), ("", ""), ("a" * 64, "")]
)
def test_question_of_what_is_no_name_or_type_is_refused(name: str, rdtype: str) -> None:
    with pytest.raises(UsageError):
        question_of(name, rdtype)
