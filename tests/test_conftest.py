"""A tier in which nothing ran fails."""

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
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    test = f"import pytest\ndef test_it():\n    {body}\n"
    (tmp_path / "test_it.py").write_text(test, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "KNS_TIER": tier},
    )
    assert (done.returncode, "counts as failed" in done.stdout) == (
        code,
        body.startswith("pytest.skip") and bool(tier),
    )
