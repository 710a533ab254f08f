"""What a terminal would obey is shown instead."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.probe.identify import identify
from kns.probe.model import Attempt, ProbeResult
from kns.probe.trace.model import Trace
from kns.probe.verify import CheckResult, VerifyReport
from kns.probe.watch_model import Sample, WatchResult
from kns.promise.flow import Outcome
from kns.report.printable import printable
from kns.report.probe import probe_text
from kns.report.trace import trace_text
from kns.report.verify import print_report, verify_console, workflow_annotations
from kns.report.watch import watch_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, ünïcode → ✔\n\tindented", "plain words, ünïcode → ✔\n\tindented"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("over\rwrite\b\x7f", r"over\x0dwrite\x08\x7f"),
        ("\x9b2J", r"\x9b2J"),
        ("pod\u202e1\u2066", r"pod\u202e1\u2066"),
        ("a\u2028b", r"a\u2028b"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


# -- what a pod's server says ----------------------------------------------------------------------

ESCAPES = "\x1b]0;title\x07\x9b2J"
SHOWN = r"\x1b]0;title\x07\x9b2J"
WHOAMI = {
    "pod": f"pod{ESCAPES}",
    "container": ESCAPES,
    "client_address": "10.0.0.1",
    "server_address": f"fe80::1%{ESCAPES}",
}
HOSTILE = ProbeResult(
    source="pod1",
    target="svc-a",
    path="pod-to-service",
    outcome=Outcome.CONNECTED,
    reason=f"a redirect to {ESCAPES}",
    address=ip_address("10.96.0.10"),
    attempts=(identify(Attempt(Outcome.CONNECTED, body=json.dumps(WHOAMI)), {}),),
    notes=(f"X-Header: {ESCAPES}",),
    port=80,
)


def is_harmless(text: str) -> bool:
    return SHOWN in text and not {"\x1b", "\x07", "\x9b"}.intersection(text)


def test_probe_shows_a_servers_escapes() -> None:
    assert is_harmless(probe_text(HOSTILE))
    assert is_harmless(probe_text(replace(HOSTILE, attempts=HOSTILE.attempts * 2)))


def test_colours_of_ours_stay() -> None:
    assert "\x1b[32m✔\x1b[0m" in probe_text(HOSTILE, colour=True)


def test_watch_shows_a_servers_escapes() -> None:
    samples = (Sample(0.0, Outcome.CONNECTED, 1.0, ESCAPES, ip_address("10.0.0.1")),)
    address = ip_address("10.96.0.10")
    found = WatchResult("pod1", "svc", "pod-to-service", address, 80, 1, 1, samples, ("pod2",))
    assert is_harmless(watch_text(found))


def test_trace_shows_a_servers_escapes() -> None:
    assert is_harmless(trace_text(Trace(HOSTILE, None)))


def test_verify_shows_a_servers_escapes() -> None:
    check = CheckResult(
        *("a/b/c", "a", "pod1", "svc-a", "pod2 answers"),
        actual=f"{ESCAPES} answered",
        ok=False,
        evidence=ESCAPES,
        seconds=0.1,
    )
    report = VerifyReport("lab", (check,), (), 1.0)
    out = io.StringIO()
    console = verify_console(out, terminal=False, width=200)
    print_report(console, replace(report, drift=(ESCAPES,)), verbose=True)
    assert is_harmless(out.getvalue())
    assert is_harmless("".join(workflow_annotations(report)))


def test_server_that_answers_deep_brackets_is_nobody() -> None:
    deep = Attempt(Outcome.CONNECTED, body="[" * 100_000)
    assert identify(deep, {}).backend == ""
