"""SIGINT and SIGTERM in the middle of an `up`: noted, so that it can take back what it has made."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from kns.errors import CancelledError


class Cancelled(threading.Event):
    """Set by a signal, whose number it keeps; 0 while there was none."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0


@contextlib.contextmanager
def cancelled_by_signals() -> Iterator[Cancelled]:
    """SIGINT and SIGTERM set the event instead of ending the process in the middle of an op.

    What the caller has told us to ignore (`nohup`, a shell's `&`) stays ignored.
    """
    cancelled = Cancelled()
    if threading.current_thread() is not threading.main_thread():
        yield cancelled
        return

    def note(number: int, _frame: FrameType | None) -> None:
        cancelled.number = number
        cancelled.set()

    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield cancelled
    except CancelledError as error:
        error.exit_code = 128 + cancelled.number  # as shells count
        raise
    finally:
        for number, action in before.items():
            signal.signal(number, action)
