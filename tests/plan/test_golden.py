"""Plans as they should be, as shell: a folder each in tests/golden/plan.

    before.yaml, after.yaml     a lab, and what it becomes
    ops.sh                      the plan that leads from one to the other

KNS_WRITE_GOLDEN=1 writes ops.sh anew: look at what has changed before you keep it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kns.compile.lab import compile_host
from kns.engine.up import desire
from kns.plan.diff import plan
from kns.plan.shell import script
from kns.state.model import HostState

FOLDERS = sorted((Path(__file__).parents[1] / "golden" / "plan").iterdir())


def state_of(file: Path) -> HostState:
    return compile_host(desire(file, None, fresh=True).cluster)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_plan_is_as_it_should_be(folder: Path) -> None:
    before, after = state_of(folder / "before.yaml"), state_of(folder / "after.yaml")
    found = script(plan(after, before))
    golden = folder / "ops.sh"
    if os.environ.get("KNS_WRITE_GOLDEN"):
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def test_there_are_plans() -> None:
    assert len(FOLDERS) >= 9
