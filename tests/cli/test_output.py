"""Who gets colours."""

from __future__ import annotations

import io

import pytest

from kns.cli import output
from kns.cli.up import _Checklist


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "unwanted", "mark"),
    [("xterm", "", "\x1b[32m✔\x1b[0m"), ("xterm", "1", "✔"), ("dumb", "", "✔")],
)
def test_colours_are_for_those_who_want_them(
    terminal: str, unwanted: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """https://no-color.org: a variable that is set and not empty."""
    stdout = _Terminal()
    monkeypatch.setattr("sys.stdout", stdout)
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("NO_COLOR", unwanted)
    with _Checklist() as checklist:
        checklist.step("building")
    assert stdout.getvalue() == f"… building\r{mark} building\n"
    assert (output.coloured(), output.on_terminal()) == (mark != "✔", True)
