"""`kns verify` for people, and as JUnit."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from kns.errors import UsageError
from kns.probe.verify import CheckResult, VerifyReport
from kns.promise.check import Skip
from kns.report.junit import junit_error, junit_xml
from kns.report.verify import PROMISES, SHOWN, print_report, verify_console, workflow_annotations

GOOD = CheckResult(
    id="pod-to-service/hairpin/pod2->svc-a",
    path="pod-to-service",
    source="pod2",
    target="svc-a",
    expected="pod2 and pod3, nobody else",
    actual="pod2, pod3 answered",
    ok=True,
    evidence="28/28 · pod2 15, pod3 13",
    seconds=0.25,
)
BAD = replace(
    GOOD,
    id="pod-to-service/hairpin/pod3->svc-a",
    source="pod3",
    actual="9 of 28 TIMEOUT",
    ok=False,
    advice="hairpin <off> & so on",
)


def report(*checks: CheckResult) -> VerifyReport:
    return VerifyReport("four-paths", checks, (Skip("pairs", "too many", 7),), 1.5)


def text(
    found: VerifyReport,
    *,
    verbose: bool = True,
    every: bool = False,
    drift: tuple[str, ...] = (),
) -> str:
    out = io.StringIO()
    console = verify_console(out, terminal=False, width=100)
    print_report(console, replace(found, drift=drift), verbose=verbose, every=every)
    return out.getvalue()


def test_text_has_promise_evidence_advice_and_count() -> None:
    found = text(report(GOOD, BAD))
    assert "✘ pod-to-service  1 of 2  a cluster IP leads to its endpoints alone" in found
    assert "hairpin  a pod reaches itself by its own service" in found
    assert "✔  pod2 → svc-a" in found
    assert "✘  pod3 → svc-a" in found
    assert "9 of 28 TIMEOUT" in found
    assert "→ hairpin <off> & so on" in found
    assert "– pairs: too many" in found
    assert found.endswith("four-paths: 1 passed, 1 failed, 7 left out in 1.5 s\n")


def test_text_has_no_colours_and_no_trailing_spaces() -> None:
    found = text(report(GOOD, BAD))
    assert "\x1b" not in found
    assert [line for line in found.splitlines() if line != line.rstrip()] == []


def test_text_shows_all_failures_and_some_of_many_that_passed() -> None:
    many = [replace(GOOD, id=f"a/k/p{n}->x", path="a", source=f"p{n}") for n in range(20)]
    many[15] = replace(many[15], ok=False)
    found = text(report(*many))
    assert found.count("✔  p") == SHOWN
    assert "✘  p15 → svc-a" in found
    assert f"… and {20 - SHOWN - 1} more" in found
    assert text(report(*many), every=True).count("✔  p") == 19


def test_text_gives_the_same_advice_once() -> None:
    other = replace(BAD, id="pod-to-service/hairpin/pod4->svc-a", source="pod4")
    found = text(report(BAD, other))
    assert found.count("hairpin <off>") == 1
    assert "→ as at pod3 → svc-a" in found


def test_a_path_that_keeps_its_promise_is_one_line() -> None:
    found = text(report(GOOD, replace(GOOD, started=1.0)), verbose=False)
    assert found.splitlines() == [
        "✔ pod-to-service  2  a cluster IP leads to its endpoints alone"
        "                                 1.2 s",
        "– pairs: too many",
        "four-paths: 2 passed, 0 failed, 7 left out in 1.5 s",
    ]


@pytest.mark.parametrize("path", PROMISES)
def test_the_promise_is_whole_on_a_terminal_of_80_columns(path: str) -> None:
    """Beside the longest name of a path and hundreds of checks."""
    longest = max(map(len, PROMISES))
    assert len(f"✔ {path:<{longest}}  999  {PROMISES[path]}  12.3 s") <= 80


@pytest.mark.parametrize("path", PROMISES)
def test_every_path_fits_on_a_line_of_80_columns(path: str) -> None:
    out = io.StringIO()
    console = verify_console(out, terminal=False, width=80)
    print_report(console, report(replace(GOOD, path=path)))
    first = out.getvalue().splitlines()[0]
    assert (len(first) <= 80, first.endswith(" 0.2 s")) == (True, True)


def test_failures_are_told_at_the_end_with_drift_and_trace() -> None:
    bad = replace(BAD, trace="kns trace pod3 svc-a")
    found = text(report(GOOD, bad), verbose=False, drift=("node1: route add 10.244.1.0/24",))
    assert found.splitlines()[-13:] == [
        "",
        "The kernel is not as the lab's file says; kns up mends:",
        "  node1: route add 10.244.1.0/24",
        "",
        "Failed:",
        "✘ pod-to-service/hairpin/pod3->svc-a",
        "  expected  pod2 and pod3, nobody else",
        "  seen      9 of 28 TIMEOUT",
        "            28/28 · pod2 15, pod3 13",
        "  trace     kns trace pod3 svc-a",
        "  → hairpin <off> & so on",
        "",
        "four-paths: 1 passed, 1 failed, 7 left out in 1.5 s",
    ]


def test_annotations_are_one_line_each() -> None:
    bad = replace(BAD, actual="100% lost,\nreally")
    (line,) = workflow_annotations(report(GOOD, bad))
    assert line == (
        "::error title=kns verify%3A pod-to-service/hairpin/pod3->svc-a::"
        "expected: pod2 and pod3, nobody else%0Aseen: 100%25 lost,%0Areally%0A"
        "28/28 · pod2 15, pod3 13%0Alook at: hairpin <off> & so on"
    )


def test_junit_has_a_suite_a_path_and_a_case_a_check() -> None:
    root = ET.fromstring(junit_xml(report(GOOD, BAD)))
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
    }
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert names == [
        ("pod-to-service", GOOD.id),
        ("pod-to-service", BAD.id),
        ("left out", "pairs"),
    ]
    failure = next(root.iter("failure"))
    assert failure.get("message") == "9 of 28 TIMEOUT"
    assert "look at: hairpin <off> & so on" in (failure.text or "")


def test_junit_survives_characters_that_xml_cannot_hold() -> None:
    root = ET.fromstring(junit_xml(report(replace(BAD, actual="a\x00b\x1b[31m"))))
    assert next(root.iter("failure")).get("message") == "a�b�[31m"


def test_junit_of_a_failed_set_up() -> None:
    error = UsageError("no lab is running", hint="kns up LAB.yaml makes one")
    root = ET.fromstring(junit_error("kns verify", error))
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    found = next(root.iter("error"))
    assert (found.get("type"), found.get("message")) == ("UsageError", "no lab is running")
    assert "hint: kns up LAB.yaml makes one" in (found.text or "")
