"""What `kns dns` prints."""

from __future__ import annotations

from kns.cluster.podfiles import ResolvConf
from kns.cluster.records import Record
from kns.probe.ask.dns_model import DNSQuery, DNSTrace, ResolutionOutcome
from kns.report.dns import answer, render_trace

CONF = ResolvConf(("10.96.0.10",), ("default.svc.cluster.local",), ("ndots:5",))
SERVER = "10.96.0.10"


def test_trace_shows_each_query_and_what_ndots_cost() -> None:
    found = Record("www.example.com.", "A", 300, "203.0.113.10")
    queries = (
        DNSQuery(
            "www.example.com.d.svc.cluster.local.",
            "A",
            SERVER,
            "udp",
            "NXDOMAIN",
            (),
            False,
            0.44,
        ),
        DNSQuery("www.example.com.", "A", SERVER, "udp", "NOERROR", (found,), False, 1.26),
    )
    trace = DNSTrace("pod1", "www.example.com", ("A",), CONF, ResolutionOutcome.RESOLVED, queries)
    assert render_trace(trace) == (
        "pod1 asks for www.example.com A\n"
        "  search     default.svc.cluster.local\n"
        "  nameserver 10.96.0.10\n"
        "  options    ndots:5\n"
        "\n"
        "#   QUERY                                  TYPE   SERVER       ANSWER         TIME\n"
        "1   www.example.com.d.svc.cluster.local.   A      10.96.0.10   NXDOMAIN       0.4 ms\n"
        "2   www.example.com.                       A      10.96.0.10   203.0.113.10   1.3 ms\n"
        "\n"
        "www.example.com is 203.0.113.10 (2 queries)\n"
        "1 of them for the search list, because of ndots:5; www.example.com. asks only once\n"
    )


def test_unanswered_name_says_why() -> None:
    query = DNSQuery("a.", "A", SERVER, "tcp", "TIMEOUT")
    trace = DNSTrace("pod1", "a.", ("A",), CONF, ResolutionOutcome.TIMEOUT, (query,))
    lines = render_trace(trace).splitlines()
    assert lines[-3].split() == ["1", "a.", "A", "10.96.0.10", "tcp", "TIMEOUT", "-"]
    assert lines[-1] == "a. not resolved: no server answered in time (1 query)"


def test_name_of_the_hosts_file_says_so() -> None:
    trace = DNSTrace(
        "pod1", "pod1", ("A", "AAAA"), CONF, ResolutionOutcome.RESOLVED, from_hosts=("10.244.0.2",)
    )
    last = render_trace(trace).splitlines()[-1]
    assert last == "pod1 is 10.244.0.2, by /etc/hosts: no server was asked"


def test_answer_tells_cname_from_address_and_counts_the_rest() -> None:
    alias = Record("a.", "CNAME", 5, "b.")
    addresses = tuple(Record("b.", "A", 5, f"192.0.2.{number}") for number in range(4))
    query = DNSQuery("a.", "A", SERVER, "udp", "NOERROR", (alias, *addresses))
    assert answer(query) == "CNAME b., 192.0.2.0, 192.0.2.1, +2"
    assert answer(DNSQuery("a.", "A", SERVER, "udp", "NOERROR")) == "NODATA"
    assert answer(DNSQuery("a.", "A", SERVER, "udp", "NOERROR", addresses, True)) == "truncated"
