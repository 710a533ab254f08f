"""What kns says about wrong lab files, message by message.

Each `tests/golden/errors/CASE.yaml` has its messages in `CASE.txt`, a line for each with the hint
below it. `UPDATE_GOLDEN=1` rewrites them; read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kns.errors import SpecError
from kns.kinds.load import load_lab_text

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "errors"
CASES = sorted(path.stem for path in GOLDEN.glob("*.yaml"))


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("case", CASES)
def test_messages_are_those_of_the_golden_file(case: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_lab_text((GOLDEN / f"{case}.yaml").read_bytes(), file=f"{case}.yaml")
    lines: list[str] = []
    for problem in caught.value.problems:
        lines.append(str(problem))
        if problem.hint:
            lines.append(f"    hint: {problem.hint}")
    actual = "\n".join(lines) + "\n"
    golden = GOLDEN / f"{case}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(actual, encoding="utf-8")
    assert actual == golden.read_text(encoding="utf-8")
