"""What the built-in servers have answered lately, a line each, for `kubectl logs`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

#: lines that are kept of each container
KEPT = 200


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, and when it was said (seconds since the epoch)."""

    time: float
    text: str


class ServerLogs:
    """The last lines of every built-in server, by `namespace/pod/container`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lines: dict[str, deque[LogLine]] = {}
        self._subscribers: dict[str, list[Callable[[LogLine], None]]] = {}

    def note(self, who: str, text: str) -> None:
        """Keep a line."""
        line = LogLine(self._clock(), text)
        found = self._lines.get(who)
        if found is None:
            found = self._lines[who] = deque(maxlen=KEPT)
        found.append(line)
        for callback in tuple(self._subscribers.get(who, ())):
            callback(line)

    def lines(self, who: str) -> tuple[LogLine, ...]:
        """What is kept of a container."""
        return tuple(self._lines.get(who, ()))

    def forget(self, kept: set[str]) -> None:
        """Drop the lines of containers that are none of `kept`."""
        for who in set(self._lines) - kept:
            del self._lines[who]

    def subscribe(self, who: str, callback: Callable[[LogLine], None]) -> Callable[[], None]:
        """Call `callback` with each line from now on, until what is returned is called."""
        listed = self._subscribers.setdefault(who, [])
        listed.append(callback)

        def unsubscribe() -> None:
            listed.remove(callback)
            if not listed:
                self._subscribers.pop(who, None)

        return unsubscribe
