"""A container that the agent serves itself: it begins and ends as a process would.

SIGTERM closes its sockets and lets its connections end, as a program that shuts down gracefully
does; with the annotation `kns.dev/on-sigterm: drop` it ends at once, as many programs do.
"""

from __future__ import annotations

import asyncio
import signal

from kns.agent.container import ContainerObserver
from kns.agent.serve.listeners import ContainerKey, Listeners
from kns.kinds.pod import Pod

ON_SIGTERM = "kns.dev/on-sigterm"
DROP = "drop"
#: the seconds that a SIGTERM of nobody's who would send a SIGKILL after it leaves
_UNHURRIED = 3600.0
_ENDING = frozenset({
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL, signal.SIGABRT,
    signal.SIGSEGV, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGALRM,
})  # fmt: skip


class ServedContainer:
    """The built-in servers of one container."""

    def __init__(self, pod: Pod, name: str, listeners: Listeners) -> None:
        self._key: ContainerKey = (pod.namespace, pod.name, name)
        self._drops = pod.annotations.get(ON_SIGTERM) == DROP
        self._listeners = listeners
        self._observer: ContainerObserver | None = None
        self._ending: asyncio.Task[None] | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._is_closed = False

    def observe(self, observer: ContainerObserver) -> None:
        """Tell `observer` of what happens from now on, and that it runs."""
        self._observer = observer
        if self._listeners.has_ended(self._key):
            # a pod of the same name was here before, as in a StatefulSet
            self._ending = asyncio.get_running_loop().create_task(self._begin())
            self._ending.add_done_callback(self._forget)
        else:
            observer.began()

    async def end(self, grace: float) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds."""
        if self._drops or not grace:
            number = signal.SIGTERM if grace else signal.SIGKILL
            await self._end(0, number)
        else:
            await self._end(grace, signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """One that ends a process ends it; one that it would ignore it ignores."""
        if number not in _ENDING or self._ending is not None:
            return
        graceful = number in {signal.SIGTERM, signal.SIGINT} and not self._drops
        work = self._end(_UNHURRIED if graceful else 0, number)
        self._ending = asyncio.get_running_loop().create_task(work)
        self._ending.add_done_callback(self._forget)

    def close(self) -> None:
        """Let it be as it is."""
        self._is_closed = True
        if self._restart is not None:
            self._restart.cancel()

    def _forget(self, _task: asyncio.Task[None]) -> None:
        self._ending = None

    async def _end(self, grace: float, number: signal.Signals) -> None:
        """The exit code is 0 if the last connection ended in time, else that of the signal."""
        in_time = await self._listeners.end(self._key, grace)
        if self._observer is None or self._is_closed:
            return
        graceful = in_time and grace > 0
        delay = self._observer.ended(0 if graceful else 128 + number, 0 if graceful else number)
        if delay is not None:
            loop = asyncio.get_running_loop()
            self._restart = loop.call_later(delay, lambda: loop.create_task(self._begin()))

    async def _begin(self) -> None:
        if self._is_closed:
            return
        await self._listeners.begin(self._key)
        if self._observer is not None:
            self._observer.began()
