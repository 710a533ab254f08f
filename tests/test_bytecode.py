"""kns run by root in a user's clone leaves no files of root's there."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SCRIPT = """
import os, sys
sys.dont_write_bytecode = False
stat = os.stat
def owned(path, *arguments, **options):
    found = stat(path, *arguments, **options)
    if not str(path).endswith("kns/__init__.py"):
        return found
    return os.stat_result((*found[:4], OWNER, *found[5:]))
os.geteuid = lambda: 0
os.stat = owned
import kns
print(sys.dont_write_bytecode)
"""


@pytest.mark.parametrize(("owner", "expected"), [(1000, "True"), (0, "False")])
def test_root_compiles_nothing_in_a_clone_of_somebody_else(owner: int, expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.replace("OWNER", str(owner))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected
