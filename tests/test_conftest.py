"""A tier in which nothing ran fails; a test of real packets has two tries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")


@pytest.mark.parametrize(
    ("body", "tier", "code"),
    [
        ("pytest.skip('no kernel')", "kernel", 1),
        ("pytest.skip('no kernel')", "", 0),
        ("pass", "kernel", 0),
        ("assert False", "kernel", 1),
    ],
)
def test_tier_without_a_passed_test_fails(tmp_path: Path, body: str, tier: str, code: int) -> None:
    found, said = outcome(tmp_path, f"import pytest\ndef test_it():\n    {body}\n", tier)
    silent = body.startswith("pytest.skip") and bool(tier)
    assert (found, "counts as failed" in said) == (code, silent)


#: a counter in a module's fixture, which has to outlive the first try
TRIES = """\
import pytest

@pytest.fixture(scope="module")
def tries():
    return []

@pytest.mark.{mark}
def test_it(tries):
    tries.append(1)
    assert len(tries) == {passes}

def test_another(tries):
    assert tries
"""


@pytest.mark.parametrize(
    ("mark", "tier", "passes", "code"),
    [
        ("kernel", "kernel", 2, 0),
        ("kernel", "kernel", 3, 1),
        ("kernel", "", 2, 1),
        ("slow", "unit", 2, 1),
    ],
)
def test_packets_have_a_second_try(
    tmp_path: Path, mark: str, tier: str, passes: int, code: int
) -> None:
    found, said = outcome(tmp_path, TRIES.format(mark=mark, passes=passes), tier)
    assert (found, "passed at the second try: test_it.py::test_it" in said) == (code, code == 0)


def outcome(folder: Path, test: str, tier: str) -> tuple[int, str]:
    """pytest's exit code and output with this suite's conftest.py."""
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "KNS_TIER": tier},
    )
    return done.returncode, done.stdout
