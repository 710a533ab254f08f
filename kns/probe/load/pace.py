"""An event loop that wakes on time, and what calls at a fixed rate on it."""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable


class _PreciseSelector(selectors.EpollSelector):
    """Waits as long as it is asked to: epoll_wait alone rounds up to milliseconds."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers fire within a tenth of a millisecond."""
    return asyncio.SelectorEventLoop(_PreciseSelector())


class OpenLoop:
    """Calls `send` with each planned time, whatever has come of those before: an open loop.

    What is overdue is called for at once, with the time at which it was due. After `count` calls,
    if that is given, it is over.
    """

    def __init__(
        self,
        start: float,
        interval: float,
        send: Callable[[float], None],
        *,
        count: int | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._start = start
        self._interval = interval
        self._send = send
        self._count = count
        self._number = 0
        self._timer = self._loop.call_at(start, self._tick)

    def stop(self) -> None:
        """Call no more."""
        self._timer.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        while (planned := self._start + self._number * self._interval) <= now:
            if self._number == self._count:
                return
            self._number += 1
            self._send(planned)
        self._timer = self._loop.call_at(planned, self._tick)
