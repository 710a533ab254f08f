"""One probe of one container: when it is asked, and what its answers come to.

Source: pkg/kubelet/prober/worker.go. The first question comes when `initialDelaySeconds` are over,
the next every `periodSeconds`; as many answers of one kind in a row as the threshold says change
the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from kns.agent.kubelet.asking import ProbeAnswer
from kns.kinds.lifecycle import Probe


class ProbeKind(StrEnum):
    """What a probe decides."""

    READINESS = "Readiness"
    LIVENESS = "Liveness"
    STARTUP = "Startup"


@dataclass(frozen=True, slots=True)
class Tally:
    """The result so far, None before there is one, and how many equal answers came last."""

    result: bool | None = None
    last: bool | None = None
    run: int = 0

    def after(self, probe: Probe, *, passed: bool) -> Tally:
        """The result after one more answer."""
        run = self.run + 1 if passed == self.last else 1
        threshold = probe.success_threshold if passed else probe.failure_threshold
        return Tally(passed if run >= threshold else self.result, passed, run)


class ProbeWorker:
    """Asks until it is closed; `on_result` gets each result that is another one than before.

    A startup probe has asked enough when it has a result, a liveness probe when it has failed: its
    container is made anew, and so is the worker.
    """

    def __init__(
        self,
        kind: ProbeKind,
        probe: Probe,
        ask: Callable[[], Awaitable[ProbeAnswer]],
        on_result: Callable[[ProbeKind, bool], None],
        on_failure: Callable[[ProbeKind, str], None],
    ) -> None:
        self._kind, self._probe = kind, probe
        self._ask, self._on_result, self._on_failure = ask, on_result, on_failure
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with a container that is started now."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        tally = Tally()
        at = loop.time() + self._probe.initial_delay_seconds
        while not self._has_asked_enough(tally):
            await asyncio.sleep(max(0.0, at - loop.time()))
            answer = await self._ask()
            if not answer.passed:
                self._on_failure(self._kind, answer.message)
            before, tally = tally.result, tally.after(self._probe, passed=answer.passed)
            if tally.result is not None and tally.result != before:
                self._on_result(self._kind, tally.result)
            at = max(at + self._probe.period_seconds, loop.time())

    def _has_asked_enough(self, tally: Tally) -> bool:
        match self._kind:
            case ProbeKind.READINESS:
                return False
            case ProbeKind.LIVENESS:
                return tally.result is False
            case ProbeKind.STARTUP:
                return tally.result is not None
