"""The hint that tells how to call kns again names the program that was called."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kns import invocation


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / ".venv/bin/kns"
    file.parent.mkdir(parents=True)
    file.write_text("#!/bin/sh\n", encoding="utf-8")
    file.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(file), "up", "my lab.yaml"])
    monkeypatch.chdir(tmp_path)
    return file


def test_below_the_folder_it_is_named_from_there(program: Path) -> None:
    assert program.exists()
    assert invocation.as_root() == "sudo .venv/bin/kns up 'my lab.yaml'"


def test_elsewhere_it_is_named_in_full(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setattr(invocation, "_SUDO_PATH", "/nowhere")
    assert invocation.as_root(["doctor"]).endswith(f"{str(program).removeprefix('/')} doctor")


def test_where_sudo_finds_it_its_name_is_enough(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation, "_SUDO_PATH", str(program.parent))
    assert invocation.as_root(["doctor"]) == "sudo kns doctor"


def test_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/kns/cli/main.py", "up"])
    assert invocation.as_root() == f"sudo {sys.executable} -m kns.cli.main up"
