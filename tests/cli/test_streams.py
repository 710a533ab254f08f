"""Files, names and standard streams as nobody should give them, and as people do."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kns.cli.exits import exit_code
from kns.cli.streams import say_problems
from kns.errors import PlatformError, Problem, Severity, from_os_error
from tests.cli.process import KNS, kns

Done = subprocess.CompletedProcess[str]
FULL = "error: no space left on device\nhint: make room there; df and df -i tell which file system"


def shell(line: str, **env: str) -> Done:
    return subprocess.run(
        ["bash", "-c", line.replace("KNS", " ".join(KNS))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **env},
    )


def test_file_without_an_end_is_too_large() -> None:
    done = kns("validate", "/dev/zero")
    assert (done.returncode, done.stderr) == (2, "/dev/zero: larger than 64 MiB\n")


def test_impossible_file_name_is_a_usage_error() -> None:
    done = kns("up", "a" * 5000)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "hint: name a lab file")
    assert done.stderr.endswith("a: file name too long\nhint: name a lab file\n")


def test_empty_file_name_is_no_folder() -> None:
    assert kns("up", "").stderr.startswith("error: '': no such file\n")


def test_what_is_warned_of_in_the_same_words_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "pods.yaml"
    pod = (
        "{apiVersion: v1, kind: Pod, metadata: {name: NAME}, spec: {containers: [{name: c,"
        " image: x, readinessProbe: {grpc: {port: 80}}}]}}\n"
    )
    pods = [pod.replace("NAME", name) for name in "abc"]
    file.write_text("---\n".join(pods))
    done = kns("validate", str(file))
    said = [line for line in done.stderr.splitlines() if "grpc" in line or "also" in line]
    assert len(said) == 2
    assert said[0].startswith(f"{file}:1:")
    assert said[1].split(" at ")[1].replace(":", " ").split()[::2] == ["3", "5"]
    assert done.stdout == f"{file}: no errors, 3 warnings\n"


def test_of_very_many_places_the_first_ones_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    places = [("a", line, 1) for line in range(1, 14)] + [("a", 0, 0), ("b", 0, 0)]
    say_problems([Problem(*place, "", "same", severity=Severity.WARNING) for place in places])
    told = capsys.readouterr().err.splitlines()
    listed = ", ".join(f"{line}:1" for line in range(2, 12))
    assert told == ["a:1:1: warning: same", f"  also at {listed} and 3 more"]


def test_a_file_as_a_whole_is_a_place_without_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    files = ("a", "a", "b")
    say_problems([Problem(file, 0, 0, "", "same", severity=Severity.WARNING) for file in files])
    assert capsys.readouterr().err.splitlines() == ["a: warning: same", "  also at b"]


@pytest.mark.parametrize("verb", ["down", "status", "verify"])
def test_empty_lab_name_is_not_the_lab_that_runs(verb: str) -> None:
    """`kns down "$LAB"` with LAB unset."""
    done = kns(verb, "")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: the lab's name is empty")


def test_escape_sequences_in_a_file_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text('"bad\\e[31m\\u202ekey": 1\nkind: Lab\n', encoding="utf-8")
    done = kns("validate", str(file))
    assert 'unknown field "bad\\x1b[31m\\u202ekey"' in done.stderr
    assert "\x1b" not in done.stderr


def test_escape_sequences_in_an_argument_are_shown_and_not_obeyed() -> None:
    done = kns("status", "\x1b]0;x\x07")
    assert done.stderr.startswith("error: no lab named \\x1b]0;x\\x07 is running\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--xyzzy",), "No such option '--xyzzy'."),
        (("a", "-l", "b"), "two labs are named: a and b"),
        (("",), "the lab's name is empty"),
    ],
)
def test_junit_is_written_where_the_arguments_are_wrong(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "report.xml"
    done = kns("verify", *arguments, "--junit", str(file))
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"error: {message}")
    assert [error.get("message") for error in ET.parse(file).getroot().iter("error")] == [message]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed: str) -> None:
    assert shell(f"KNS schema {closed}").returncode == 0


@pytest.mark.parametrize("verb", ["--help", "--version", "schema"])
def test_full_disk_under_stdout_is_said(verb: str) -> None:
    done = shell(f"KNS {verb} > /dev/full")
    assert (done.returncode, done.stderr[: len(FULL)]) == (3, FULL)


def test_full_disk_under_stderr_keeps_the_exit_code() -> None:
    assert shell("unset PYTHONUNBUFFERED; KNS nosuch 2> /dev/full").returncode == 2


def test_python_that_stays_after_its_program_does_not_stay() -> None:
    """PYTHONINSPECT: SystemExit would be shown as an error, and Python would wait for input."""
    done = kns("nosuch", PYTHONINSPECT="1")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)


def test_reader_that_goes_away_is_no_error() -> None:
    done = shell("KNS schema | true; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_signs_that_the_encoding_lacks_have_a_plain_one(encoding: str) -> None:
    code = "from kns.cli import streams; streams.prepare(); print('✔ ✘ a → b ☃')"
    python = KNS[0]
    done = subprocess.run(
        [python, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (done.stdout, done.stderr) == ("+ x a > b ?\n", "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(24, "Too many open files"), "error: too many open files\nhint: raise the limit"),
        (OSError(27, "File too large"), "error: file too large\nhint: raise the limit on the size"),
        (MemoryError(), "error: cannot allocate memory\nhint: free some memory"),
        (RuntimeError("can't start new thread"), "error: resource temporarily unavailable\nhint: "),
    ],
)
def test_what_the_machine_withholds_is_no_bug(
    error: BaseException, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (exit_code(error), capsys.readouterr().err[: len(said)]) == (3, said)


def test_os_error_names_the_file_once() -> None:
    error = from_os_error(OSError(30, "Read-only file system", "/run/kns/x"))
    assert isinstance(error, PlatformError)
    assert error.message == "/run/kns/x: read-only file system"


def test_interrupted_import_is_an_interruption_and_no_bug() -> None:
    """Python 3.11 raises RuntimeError from what __set_name__ raises, a Ctrl-C included."""
    error = RuntimeError("Error calling __set_name__")
    error.__cause__ = KeyboardInterrupt()
    assert exit_code(error) == 128 + signal.SIGINT
