"""The entry: help, version, and the exit code and message of everything that goes wrong."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kns import __version__
from kns.cli import commands, signals
from kns.cli.main import main
from kns.cli.registry import VERBS
from kns.errors import ApplyError, LockedError, PlatformError, Problem, SpecError, UsageError

KNS = [sys.executable, "-m", "kns.cli.main"]
#: what `kns --help` must not import: each costs more than the rest of the start
HEAVY = ("click", "yaml", "rich", "pyroute2", "dns", "asyncio", "json", "subprocess")


def run_kns(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KNS, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **env},
    )


def raising(error: BaseException) -> click.Command:
    def callback() -> None:
        raise error

    return click.Command("broken", callback=callback)


@pytest.fixture
def run_raising(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    """Runs `kns ls` with a body that raises; gives exit code and stderr."""

    def run(error: BaseException, *options: str) -> tuple[int, str]:
        monkeypatch.setattr(commands.KnsGroup, "get_command", lambda *_: raising(error))
        code = main([*options, "ls"])
        return code, capsys.readouterr().err

    return run


def test_help_lists_every_verb_once() -> None:
    done = run_kns("--help")
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert done.returncode == 0
    assert [word for word in listed if word in VERBS] == list(VERBS)


def test_help_is_what_it_was() -> None:
    """It is an interface for people. After a change:  kns --help > tests/golden/cli/help.txt"""
    golden = Path(__file__).parents[1] / "golden/cli/help.txt"
    assert run_kns("--help", COLUMNS="100").stdout == golden.read_text(encoding="utf-8")


def test_nothing_of_kns_is_imported_before_signals_have_their_default_action() -> None:
    code = "import sys, kns.cli.main; print(*sorted(m for m in sys.modules if m[:3] == 'kns'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["kns", "kns.cli", "kns.cli.main"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from kns.cli.main import main; main(['--help']);"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip() == "[]"


def test_no_command_prints_the_help_as_a_usage_error() -> None:
    done = run_kns()
    assert (done.returncode, "Build and remove:" in done.stdout + done.stderr) == (2, True)


def test_version() -> None:
    assert run_kns("--version").stdout == f"kns {__version__} (kube-proxy 1.30 to 1.37)\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_command_and_help(verb: str) -> None:
    """The registry names modules as text: nothing else would notice a wrong one."""
    command = importlib.import_module(f"kns.cli.{verb}").command
    assert isinstance(command, click.Command)
    assert command.help


def test_unknown_verb_suggests_the_nearest() -> None:
    done = run_kns("prob", "pod1")
    assert done.returncode == 2
    assert done.stderr == "error: there is no command 'prob'\nhint: did you mean kns probe?\n"


def test_unknown_option_is_a_usage_error() -> None:
    done = run_kns("ls", "--nonsense")
    assert done.returncode == 2
    assert done.stderr == "error: No such option '--nonsense'.\nhint: kns ls --help\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (PlatformError("x"), 3),
        (ApplyError("x"), 4),
        (LockedError("x"), 4),
        (click.exceptions.Exit(1), 1),
        (KeyboardInterrupt(), 130),
        (signals.Terminated(), 143),
        (ZeroDivisionError("x"), 70),
        (ExceptionGroup("two", [UsageError("x"), ApplyError("y")]), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_code_by_class(run_raising: object, error: BaseException, code: int) -> None:
    assert callable(run_raising)
    assert run_raising(error)[0] == code


def test_message_and_hint_are_two_lines(run_raising: object) -> None:
    assert callable(run_raising)
    _code, said = run_raising(UsageError("what is wrong", hint="what to do"))
    assert said == "error: what is wrong\nhint: what to do\n"


def test_spec_error_says_every_problem(run_raising: object) -> None:
    assert callable(run_raising)
    problems = (
        Problem("lab.yaml", 3, 5, "pods[0].node", "there is no node n9", "nodes: node1"),
        Problem("lab.yaml", 0, 0, "", "no document of kind Lab"),
    )
    code, said = run_raising(SpecError(problems))
    assert code == 2
    assert said == (
        "lab.yaml:3:5: pods[0].node: there is no node n9\n"
        "  hint: nodes: node1\n"
        "lab.yaml: no document of kind Lab\n"
        "error: 2 problems in the file\n"
    )


def test_bug_has_no_traceback_without_debug(run_raising: object) -> None:
    assert callable(run_raising)
    _code, said = run_raising(ZeroDivisionError("division by zero"))
    assert (
        said.splitlines()[0] == "error: this is a bug in kns: ZeroDivisionError: division by zero"
    )
    assert "Traceback" not in said


def test_debug_shows_the_traceback(run_raising: object) -> None:
    assert callable(run_raising)
    assert "Traceback" in run_raising(ZeroDivisionError("x"), "--debug")[1]


def test_debug_is_taken_after_the_verb_too() -> None:
    done = run_kns("get", "--debug", "nonsense")
    assert "Traceback" in done.stderr


def test_reader_that_went_away_is_no_failed_check() -> None:
    """`kns --help | true`: 141 as for other programs, no complaint."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [*KNS, "--help"], stdout=pipe, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_it_with_one_line(number: int, code: int) -> None:
    script = (
        "import sys, time; import kns.cli.commands as c, kns.cli.main as m, click\n"
        "def wait():\n print('ready', flush=True); time.sleep(30)\n"
        "c.KnsGroup.get_command = lambda *_: click.Command('w', callback=wait)\n"
        "sys.exit(m.main(['ls']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _out, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("milliseconds", range(10, 100, 15))
def test_interrupted_start_shows_no_traceback(milliseconds: int) -> None:
    """A KeyboardInterrupt in the middle of an import comes out as anything.

    The time runs from where `main` has said what signals do: before that they are Python's.
    """
    code = (
        "import os, signal, threading; pid, set_action = os.getpid(), signal.signal\n"
        f"timer = threading.Timer({milliseconds / 1000}, os.kill, (pid, signal.SIGINT))\n"
        "from kns.cli.main import main\n"
        "def armed(number, action):\n"
        " before = set_action(number, action)\n"
        " if (number, action) == (signal.SIGINT, signal.SIG_DFL): timer.start()\n"
        " return before\n"
        "signal.signal = armed\n"
        "main(['probe', '--help']); os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in (-signal.SIGINT, 130, 9)
    assert done.stderr in ("", "kns: interrupted\n")


@pytest.mark.parametrize("verb", ["create", "edit", "describe"])
def test_kubectls_verbs_lead_to_the_one_that_does_it(verb: str) -> None:
    done = run_kns(verb, "-f", "x.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: there is no command {verb!r}\nhint: ")
    assert "kns up" in done.stderr or "kns get" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_asks_kns(shell: str) -> None:
    done = run_kns("completion", shell)
    assert done.returncode == 0
    assert f"_KNS_COMPLETE={shell}_complete" in done.stdout


def test_completes_verbs() -> None:
    done = run_kns(_KNS_COMPLETE="bash_complete", COMP_WORDS="kns sta", COMP_CWORD="1")
    assert done.stdout == "plain,status\n"


def test_completes_kinds() -> None:
    done = run_kns(_KNS_COMPLETE="bash_complete", COMP_WORDS="kns get s", COMP_CWORD="2")
    kinds = ("services", "secrets", "serviceaccounts", "statefulsets")
    assert done.stdout == "".join(f"plain,{kind}\n" for kind in kinds)


def test_of_very_many_problems_the_first_are_said(run_raising: object) -> None:
    assert callable(run_raising)
    problems = tuple(Problem("lab.yaml", n, 1, "", "wrong") for n in range(1, 1300))
    lines = run_raising(SpecError(problems))[1].splitlines()
    assert (lines[99], lines[100:]) == (
        "lab.yaml:100:1: wrong",
        ["… and 1,199 more", "error: 1299 problems in the file"],
    )
