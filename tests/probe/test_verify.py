"""Choosing checks, and the documented JSON."""

from __future__ import annotations

import pytest

from kns.errors import UsageError
from kns.probe.verify import CheckResult, VerifyReport, choose
from kns.promise.check import CheckSet, Skip
from kns.promise.checks import cluster_checks
from tests.probe.scenes import four_paths


def test_only_chooses_by_id_and_says_what_it_leaves_out() -> None:
    found = cluster_checks(four_paths())
    chosen = choose(found, "hairpin/pod2->")
    assert [check.id for check in chosen.checks] == [
        "pod-to-service/hairpin/pod2->svc-a",
        "pod-to-service/hairpin/pod2->svc-web",
    ]
    assert chosen.skips == (Skip("other checks", "--only hairpin/pod2->", len(found.checks) - 2),)


def test_without_only_everything_is_chosen() -> None:
    found = cluster_checks(four_paths())
    assert choose(found, "") == CheckSet(found.checks, found.skips)


@pytest.mark.parametrize(
    ("only", "message"),
    [("(", "is no regular expression"), ("nonsense", "matches no check")],
)
def test_only_that_chooses_nothing(only: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose(cluster_checks(four_paths()), only)


def test_report_counts_and_json() -> None:
    good = CheckResult("a/x->y", "a", "x", "y", "e", "y answered", ok=True, evidence="1/1")
    bad = CheckResult("a/x->z", "a", "x", "z", "e", "TIMEOUT", ok=False, evidence="", advice="look")
    report = VerifyReport("lab", (good, bad), (Skip("pairs", "too many", 7),), 1.5)
    assert report.to_json() == {
        "lab": "lab",
        "passed": 1,
        "failed": 1,
        "skipped": 7,
        "checks": [
            {
                "id": "a/x->y",
                "path": "a",
                "source": "x",
                "target": "y",
                "expected": "e",
                "actual": "y answered",
                "ok": True,
                "evidence": "1/1",
            },
            {
                "id": "a/x->z",
                "path": "a",
                "source": "x",
                "target": "z",
                "expected": "e",
                "actual": "TIMEOUT",
                "ok": False,
                "evidence": "",
            },
        ],
    }
