"""Programs that load or read rules and never end: a limit, their name, and all is taken back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from kns.engine.down import down
from kns.engine.up import up
from kns.errors import ApplyError
from kns.kernel import processes
from tests.cli.process import KNS
from tests.end_to_end.labfiles import leftovers, small_lab, write_lab

pytestmark = pytest.mark.kernel

LAB = "hangingtest"
PROGRAMS = {
    "iptables": ("iptables-restore", "ip6tables-restore", "iptables-save"),
    "nftables": ("nft",),
}
HANGING = [(mode, program) for mode, found in PROGRAMS.items() for program in found]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    down(LAB)
    assert leftovers(LAB) == {}


def lab_file(folder: Path, mode: str) -> Path:
    network = f"networking: {{kubeProxyMode: {mode}, ipFamily: dual, "
    return write_lab(folder, small_lab(LAB).replace("networking: {", network))


def path_with_hanging(folder: Path, program: str) -> str:
    """A PATH on which the program starts another one that sleeps, and waits for it."""
    (folder / "bin").mkdir()
    stub = folder / "bin" / program
    stub.write_text("#!/bin/sh\nsleep 31536\n", encoding="utf-8")
    stub.chmod(0o755)
    return f"{stub.parent}:{os.environ['PATH']}"


def sleepers() -> list[str]:
    done = subprocess.run(["pgrep", "-f", "^sleep 31536$"], stdout=PIPE, text=True, check=False)
    return done.stdout.split()


@pytest.mark.parametrize(("mode", "program"), HANGING)
def test_up_ends_and_tells_by_what_it_was_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, program: str
) -> None:
    lab = lab_file(tmp_path, mode)
    if program.endswith("-save"):  # what is read first is there already
        up(lab)
    before = sleepers()
    monkeypatch.setenv("PATH", path_with_hanging(tmp_path, program))
    monkeypatch.setattr(processes, "PATIENCE", 2.0)
    with pytest.raises(ApplyError, match=f"{program} did not end within [0-9]+ s"):
        up(lab)
    assert sleepers() == before


@pytest.mark.parametrize(("mode", "program"), HANGING)
def test_up_ends_by_a_signal_while_a_program_hangs(tmp_path: Path, mode: str, program: str) -> None:
    lab = lab_file(tmp_path, mode)
    if program.endswith("-save"):
        up(lab)
    before = sleepers()
    env = {**os.environ, "PATH": path_with_hanging(tmp_path, program)}
    with subprocess.Popen([*KNS, "up", str(lab)], env=env, stdout=PIPE, stderr=PIPE) as process:
        while sleepers() == before and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=25)
    assert process.returncode == 143, err
    assert sleepers() == before


def test_what_a_program_has_started_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it keeps the pipes of the one that was killed open."""
    monkeypatch.setenv("KNS_TEST", "1")
    before = sleepers()
    done = processes.run(["sh", "-c", "echo so far; sleep 31536 & wait"], timeout=0.3)
    assert (done.timed_out, done.failure) == (True, "sh did not end within 1 s")
    (left,) = set(sleepers()) - set(before)
    os.kill(int(left), signal.SIGKILL)
