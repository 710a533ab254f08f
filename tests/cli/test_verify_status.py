"""What `kns verify` tells while it runs: on a terminal, on a dumb one, and in a pipe."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from kns.cli import verify
from kns.probe.verify import Progress, VerifyReport
from kns.probe.verify_lab import Observer

WEB = "pod/web-1: it is not ready"
PLAIN = f"waiting: {WEB}\nnot so after 7.5 s, checked as it is: {WEB}\n"
CLEAR = "\r\x1b[K"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def observed(
    _lab: str | None, _only: str, _timeout: float, observer: Observer
) -> tuple[object, VerifyReport]:
    observer.waiting(WEB)
    observer.left(WEB)
    observer.progress(Progress(3, 0, 9))
    observer.progress(Progress(9, 2, 9))
    return SimpleNamespace(), VerifyReport("lab", (), (), 1.0)


@pytest.mark.parametrize(
    ("stream", "terminal", "expected"),
    [
        (io.StringIO, "xterm", PLAIN),
        # escapes would be seen as they are
        (_Terminal, "dumb", PLAIN),
        (
            _Terminal,
            "xterm",
            f"{CLEAR}waiting: {WEB}{CLEAR}not so after 7.5 s, checked as it is: {WEB}\n"
            f"{CLEAR}3 of 9 checks{CLEAR}9 of 9 checks, 2 failed{CLEAR}",
        ),
    ],
)
def test_what_is_told_meanwhile(
    stream: type[io.StringIO], terminal: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = stream()
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr(verify, "verify_lab", observed)
    verify._verify(None, "", 7.5, strict=False)
    assert stderr.getvalue() == expected
