"""SIGINT and SIGTERM while a command runs: both unwind, so that what is under way rolls back."""

from __future__ import annotations

import signal
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM: unwinds like Ctrl-C."""


def unwind() -> None:
    """From now on both signals are exceptions. A SIGINT that the caller has ignored stays so."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated
