"""At 80 columns every report fits, and no word, address or number of it is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from ipaddress import ip_address, ip_network

import pytest

from kns.cluster.podfiles import ResolvConf
from kns.cluster.records import Record
from kns.compile.lab import compile_host
from kns.compile.paths import LabPaths
from kns.engine.change_lines import change_lines
from kns.engine.doctor import AREAS, Diagnosis
from kns.engine.facts import Fact
from kns.engine.labs import RunningLab
from kns.engine.status import LabStatus
from kns.engine.up import UpResult
from kns.kinds.networking import ProxyMode
from kns.plan.diff import plan
from kns.probe.ask.dns_model import DNSQuery, DNSTrace, ResolutionOutcome
from kns.probe.watch_model import WatchResult
from kns.report.bench import bench_table
from kns.report.compare import compare_text
from kns.report.dns import render_trace
from kns.report.doctor import doctor_text
from kns.report.probe import probe_text
from kns.report.rules import Options, rules_text
from kns.report.status import status_text
from kns.report.table import Table, render_table
from kns.report.trace import trace_text
from kns.report.up import changes_text
from kns.report.verify import print_report, verify_console
from kns.report.watch import watch_text
from kns.state.requirements import Need
from tests.clusters import make_cluster, make_network
from tests.compile.proxy.services import load_balancer
from tests.report.test_bench import REPORT as MEASUREMENT
from tests.report.test_compare import REPORT as COMPARISON
from tests.report.test_probe_text import REFUSED, SHARED
from tests.report.test_rules import listing
from tests.report.test_trace_report import REQUEST, TRACE
from tests.report.test_verify_report import BAD, GOOD, report
from tests.report.test_watch import SAMPLES

WIDE, NARROW = 400, 80
#: bars and time lines, which are drawn to size, and what is told of their columns
DRAWN = frozenset("█▏▎▍▌▋▊▉▒·")

LONG = "front.with-a-namespace.svc.cluster.local."
SERVERS = ("10.96.0.10", "fd00:10:96::a")
DNS = DNSTrace(
    "pod1",
    LONG,
    ("A", "AAAA"),
    ResolvConf(SERVERS, ("with-a-namespace.svc.cluster.local", "cluster.local"), ("ndots:5",)),
    ResolutionOutcome.RESOLVED,
    tuple(
        DNSQuery(f"{LONG}{suffix}", kind, server, "udp", "NOERROR", records, False, 12.34)
        for suffix in ("svc.cluster.local.", "")
        for kind, server, records in (
            ("A", SERVERS[0], tuple(Record(LONG, "A", 5, f"203.0.113.{n}") for n in range(9))),
            ("AAAA", SERVERS[1], (Record(LONG, "AAAA", 5, "2001:db8:203::1234:5678"),)),
        )
    ),
)
PROBE = replace(
    SHARED,
    hostname="svc-of-quite-some-length.with-a-namespace",
    address=ip_address("fd00:10:96::1234:5678"),
    attempts=tuple(
        replace(
            item,
            latency_ms=1234.5,
            lookup_ms=3.26,
            server_address=ip_address("fd00:10:244:1::1234"),
        )
        for item in SHARED.attempts
    ),
)
WATCH = WatchResult(
    "internet",
    "svc-of-quite-some-length",
    "internet-to-service",
    ip_address("2001:db8:203::1234:5678"),
    80,
    200.0,
    60.0,
    SAMPLES,
    ("web1", "web2"),
)
FACTS = Diagnosis(
    tuple(
        Fact(AREAS[0], name, Need.OPTIONAL, ok, use, found, "apt-get install it")
        for name, ok, use, found in (
            ("iptables-restore", True, "kubeProxyMode: iptables and ipvs", "v1.8.9 (nf_tables)"),
            ("nginx", False, "Ingress, by the controller's pods in ingress-nginx", ""),
        )
    )
)
COMPARED = replace(
    COMPARISON,
    results=tuple(
        replace(item, backends={f"web{n}-76b65d7cf9": 12 + n for n in range(4)})
        for item in COMPARISON.results
    ),
)
MEASURED = replace(
    MEASUREMENT,
    points=tuple(replace(item, services=10000 + item.services) for item in MEASUREMENT.points),
)
IPTABLES = make_cluster("lab-of-quite-some-length", pods=4)
NFTABLES = make_cluster(IPTABLES.name, pods=3, network=make_network(mode=ProxyMode.NFTABLES))
OPS = plan(compile_host(NFTABLES), compile_host(IPTABLES))
NOTE = "proxy mode iptables → nftables: 3 connections to services were open, and go on"
CHANGED = UpResult(
    IPTABLES.name, NFTABLES, created=False, ops=OPS, agent_started=False, seconds=1.5, notes=(NOTE,)
)
STATUS = LabStatus(
    RunningLab(IPTABLES.name, NFTABLES, LabPaths(IPTABLES.name)),
    drift=tuple(change_lines(IPTABLES.name, OPS)),
    agent_pid=None,
    agent=None,
    agent_error="",
    netns=9,
)
INGRESSES = Table(
    ("NAMESPACE", "NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS"),
    (
        (
            "default",
            "apps",
            "nginx",
            "*.apps.example.com,cart.apps.example.com,shop.example.com",
            "198.51.100.1",
            "80, 443",
        ),
    ),
)


def verified(width: int) -> str:
    out = StringIO()
    found = report(GOOD, BAD)
    print_report(verify_console(out, terminal=False, width=width), found, verbose=True)
    return out.getvalue()


def traced(width: int) -> str:
    first, *rest = REQUEST.hops
    hops = (replace(first, not_in=(ip_network("10.244.0.0/24"),)), *rest)
    bridge = "bridge cni0: 0a:58:0a:f4:00:03 is behind veth12345678; br_netfilter shows it"
    hops = (*hops[:-1], replace(hops[-1], bridge=bridge))
    return trace_text(replace(TRACE, request=replace(REQUEST, hops=hops)), width=width)


REPORTS: dict[str, Callable[[int], str]] = {
    "dns": lambda width: render_trace(DNS, width),
    "probe": lambda width: probe_text(PROBE, width=width),
    "probe, refused": lambda width: probe_text(REFUSED, width=width),
    "probe --for": lambda width: watch_text(WATCH, width=width),
    "doctor": lambda width: doctor_text(FACTS, width),
    "get ingresses": lambda width: render_table(INGRESSES, width),
    "rules": lambda width: rules_text(listing(load_balancer()), Options(width=width)),
    "trace": traced,
    "verify": verified,
    "compare": lambda width: compare_text(COMPARED, width),
    "bench": lambda width: bench_table(MEASURED, width),
    "up": lambda width: changes_text(CHANGED, width),
    "status": lambda width: status_text(STATUS, width),
}


def words(text: str) -> set[str]:
    """Words, and what commas part; without what is drawn to size."""
    found = text.replace(",", " ").replace("│", " ").replace("▶", " ").split()
    return {word for word in found if not set(word) & DRAWN and set(word) != {"-"}}


@pytest.mark.parametrize("name", REPORTS)
def test_no_word_address_or_number_is_broken_at_80_columns(name: str) -> None:
    wide, narrow = REPORTS[name](WIDE), REPORTS[name](NARROW)
    # a column of the time line is longer where there are fewer
    told = {word for word in words(wide) if name != "probe --for" or "column" not in word}
    missing = told - words(narrow) - {"0.10", "1.00", "RULE", "ANSWER", "SERVER"}
    assert missing == set(), narrow


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_fits_into_80_columns(name: str) -> None:
    lines = REPORTS[name](NARROW).splitlines()
    assert [line for line in lines if len(line) > NARROW] == []


def test_a_table_that_fits_is_left_alone() -> None:
    assert render_table(INGRESSES, WIDE) == render_table(INGRESSES)
    assert len(render_table(INGRESSES).splitlines()) == 2


def test_columns_stay_in_line_where_a_cell_is_folded() -> None:
    lines = render_table(INGRESSES, NARROW).splitlines()
    start = lines[0].index("HOSTS")
    assert [line[start:].split("  ")[0].strip() for line in lines[1:]] == [
        "*.apps.example.com,",
        "cart.apps.example.com,",
        "shop.example.com",
    ]
