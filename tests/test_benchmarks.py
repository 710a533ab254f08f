"""`make bench` measures what it says, and judges it rightly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.run import cell, targets
from tests.readme_console import PROJECT

FLOOR = {"up": 100.0, "down": 10.0}
KNS = {"up": 450.0, "again": 500.0, "probe": 190.0, "down": 160.0, "agent_mb": 50.0}


def test_ratio_is_to_the_floor_of_the_same_phase() -> None:
    assert cell({"up": 250.0}, FLOOR, "up") == "250 (2.50)"
    assert cell({"again": 250.0}, FLOOR, "again") == "250"
    assert cell(None, FLOOR, "up") == "-"


def test_targets_of_a_hundred_pods() -> None:
    found = {
        target.name: target for target in targets({"floor": {100: FLOOR}, "kns": {100: KNS}}, 90)
    }
    assert {name: (target.bound, target.ok) for name, target in found.items()} == {
        "up again, 100 pods": (600, True),
        "up, 100 pods: 1.5 x floor + 300": (450.0, True),
        "probe, one curl, 100 pods": (200, True),
        "down, 100 pods: 1.2 x floor + 150": (162.0, True),
        "kns --help": (100, True),
    }


def test_target_is_missed_above_its_bound() -> None:
    slow = {**KNS, "up": 451.0}
    found = targets({"floor": {100: FLOOR}, "kns": {100: slow}}, 101)
    assert [target.name for target in found if not target.ok] == [
        "up, 100 pods: 1.5 x floor + 300",
        "kns --help",
    ]


@pytest.mark.kernel
def test_bench_runs_and_writes_its_numbers(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    options = ["--pods", "3", "--rounds", "1", "--only", "floor,kns", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *options],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(file.read_text(encoding="utf-8"))
    assert set(told["medians"]["kns"]["3"]) == {"up", "again", "probe", "down", "agent_mb"}
    assert told["medians"]["kns"]["3"]["up"] > told["medians"]["floor"]["3"]["up"] > 0
    assert list(Path("/run/netns").glob("kns.bench.*")) == []


@pytest.mark.kernel
def test_policies_are_measured(tmp_path: Path) -> None:
    file = tmp_path / "policies.json"
    options = ["--pods", "8", "--sizes", "0,3", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.policies", *options],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(json.loads(file.read_text(encoding="utf-8"))) == {
        "connect, 0 policies",
        "connect, 3 policies",
        "apply, one label changed",
        "up again, nothing changed",
        "up again, one label changed",
    }
    assert list(Path("/run/netns").glob("kns.bench.*")) == []


@pytest.mark.kernel
def test_latency_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    options = ["--sizes", "4:2", "--rounds", "2", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.latency", *options],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = {item["cause"]: item for item in json.loads(file.read_text(encoding="utf-8"))}
    assert list(found) == ["scale", "pod deleted", "service written"]
    assert all(seconds > 0 for item in found.values() for seconds in item["rules"])
    assert [len(item["names"]) for item in found.values()] == [2, 2, 0]
    assert list(Path("/run/netns").glob("kns.bench.*")) == []
