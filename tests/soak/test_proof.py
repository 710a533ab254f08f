"""What of a lab's checks a soak makes after an operation."""

from __future__ import annotations

from pathlib import Path
from random import Random

from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab
from kns.promise.checks import cluster_checks
from tests.soak.soak import FEW, in_turn

FILE = Path(__file__).with_name("lab.yaml")


def test_only_checks_that_connect_often_are_drawn() -> None:
    checks = cluster_checks(resolve(load_lab(FILE).spec).cluster).checks
    often = {c.id for c in checks if any(getattr(s.ask, "count", 1) > FEW for s in c.steps)}
    assert 20 < len(often) < len(checks) / 2
    seen: set[str] = set()
    for number in range(30):
        drawn = {check.id for check in in_turn(checks, Random(number))}
        assert drawn >= {check.id for check in checks} - often
        assert 0 < len(drawn & often) < len(often)
        seen |= drawn & often
    assert seen == often
