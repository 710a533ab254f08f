"""What doctor says is what this machine does."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kns.compile.requirements import FEATURES, TOOLS
from kns.engine import doctor
from kns.engine.facts import Fact
from kns.report.doctor import doctor_text
from kns.state.requirements import Feature, Need
from tests.cli.process import AS_NOBODY

pytestmark = pytest.mark.kernel

KNS = [sys.executable, "-m", "kns.cli.main"]


def named(diagnosis: doctor.Diagnosis, name: str) -> Fact:
    return next(fact for fact in diagnosis.facts if fact.name == name)


def test_every_requirement_is_told_once() -> None:
    names = [fact.name for fact in doctor.examine().facts]
    expected = {feature.name for feature in FEATURES} | {tool.program for tool in TOOLS}
    assert len(names) == len(set(names))
    assert expected <= set(names)


def test_what_is_missing_says_how_to_mend_it() -> None:
    wrong = [fact for fact in doctor.examine().facts if fact.ok != (not fact.mend)]
    assert wrong == []


def test_bridge_is_found_and_the_netns_left_alone() -> None:
    before = Path("/proc/net/dev").read_text(encoding="ascii").count("\n")
    assert named(doctor.examine(), "bridge").ok
    assert Path("/proc/net/dev").read_text(encoding="ascii").count("\n") == before


def test_feature_that_the_kernel_lacks_is_missing() -> None:
    argv = ("ip", "link", "add", "kns0", "type", "no-such-kind")
    feature = Feature("nothing", Need.REQUIRED, "a test", argv, "no_such_module")
    diagnosis = doctor.examine(TOOLS, (feature,))
    fact = named(diagnosis, "nothing")
    assert (fact.ok, diagnosis.ok) == (False, False)
    assert "no_such_module" in fact.mend
    assert "This machine can't run labs yet: nothing." in doctor_text(diagnosis)


def test_missing_tool_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
    fact = named(doctor.Diagnosis(tuple(doctor.tool_fact(tool) for tool in TOOLS)), "nft")
    assert (fact.ok, fact.mend) == (False, "apt-get install nftables")


def test_exit_code_follows_the_verdict() -> None:
    done = subprocess.run(
        [*KNS, "doctor", "-o", "json"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == (0 if json.loads(done.stdout)["ok"] else 3)


def test_without_root_it_says_so_and_fails() -> None:
    done = subprocess.run(
        [*AS_NOBODY, *KNS, "doctor"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 3
    assert f"root: sudo {shlex.join(KNS)} doctor" in done.stdout


@pytest.mark.parametrize("name", ["nft_numgen", "nft_masq", "nft_fib", "nft_reject"])
def test_what_the_rules_of_nftables_mode_use_is_tried_one_by_one(name: str) -> None:
    assert named(doctor.examine(), name).ok == named(doctor.examine(), "nftables").ok
