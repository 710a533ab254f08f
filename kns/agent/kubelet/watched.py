"""One container as kubelet watches it: its probes, its hooks, when it is tried again.

What it is made of, a process or built-in servers, its runtime knows, which starts and ends it:

    began() ─▶ probes ─▶ ended(how): seconds until the runtime starts it again ─▶ began() …
                  └─ a liveness or startup probe fails: the runtime ends it, with its grace period
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from kns.agent.backoff import Backoff
from kns.agent.kubelet.asking import ProbeAnswer
from kns.agent.kubelet.probing import ProbeKind, ProbeWorker
from kns.agent.kubelet.reports import ContainerReport, Ended
from kns.kinds.lifecycle import GRPCAction, HookAction, Probe, ProbeAction
from kns.kinds.pod import Container, Pod, RestartPolicy

#: seconds that a hook has which may take as long as it wants: as long as its pod
_HOOK_SECONDS = 3600.0
#: kuberuntime_container.go minimumGracePeriodInSeconds
MINIMUM_GRACE = 2.0


class ContainerRuntime(Protocol):
    """What starts and ends a container, and tells its observer of it."""

    async def end(self, grace: float) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds; returns when it has ended."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, which may end it."""


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """What is told of a container, as an event about its pod."""

    reason: str
    message: str
    is_warning: bool = False


class WatchedContainer:
    """A container. `on_change` is called when its report is another one."""

    runtime: ContainerRuntime

    def __init__(
        self,
        pod: Pod,
        container: Container,
        ask: Callable[[ProbeAction | HookAction, float], Awaitable[ProbeAnswer]],
        on_change: Callable[[], None],
        tell: Callable[[ContainerEvent], None],
    ) -> None:
        self.pod, self.container = pod, container
        self._ask = ask
        self._on_change, self._tell = on_change, tell
        self._workers: list[ProbeWorker] = []
        self._backoff = Backoff()
        self._tasks: set[asyncio.Task[None]] = set()
        #: whether its pod is on its way out, or nobody watches it any more
        self.is_ending = False
        self._probed_ready = False
        self.report = ContainerReport(container.name)

    # -- starts ------------------------------------------------------------------------------------

    def resume(self, restarts: int, backoff: Backoff) -> None:
        """How often it was started again before it was watched, and what its next end costs."""
        self._backoff = backoff
        self._change(restarts=restarts)

    def began(self) -> None:
        """It runs: its probes begin."""
        self._probed_ready = self.container.readiness_probe is None
        started = self.container.startup_probe is None
        restarts = self.report.restarts + (self.report.ended is not None)
        self._change(running=time.time(), started=started, waiting=("", ""), restarts=restarts)
        for kind, probe in self._probes():
            is_startup = kind is ProbeKind.STARTUP
            if started or is_startup:
                self._watch(kind, probe)
        if self.container.lifecycle.post_start is not None:
            self._run(self._post_start(self.container.lifecycle.post_start))

    def _probes(self) -> list[tuple[ProbeKind, Probe]]:
        found = (
            (ProbeKind.STARTUP, self.container.startup_probe),
            (ProbeKind.LIVENESS, self.container.liveness_probe),
            (ProbeKind.READINESS, self.container.readiness_probe),
        )
        return [(kind, probe) for kind, probe in found if probe is not None]

    def _watch(self, kind: ProbeKind, probe: Probe) -> None:
        if isinstance(probe.action, GRPCAction):
            self._on_result(kind, passed=True)
            return
        worker = ProbeWorker(
            kind,
            probe,
            lambda: self._ask(probe.action, probe.timeout_seconds),
            lambda kind, passed: self._on_result(kind, passed=passed),
            self._on_failure,
        )
        self._workers.append(worker)
        worker.start()

    async def _post_start(self, hook: HookAction) -> None:
        answer = await self._ask(hook, _HOOK_SECONDS)
        if not answer.passed:
            message = f"PostStartHook failed: {answer.message}"
            self._tell(ContainerEvent("FailedPostStartHook", message, is_warning=True))
            self.end("FailedPostStartHook")

    # -- probes ------------------------------------------------------------------------------------

    def _on_result(self, kind: ProbeKind, *, passed: bool) -> None:
        match kind:
            case ProbeKind.READINESS:
                self._probed_ready = passed
                self._change()
            case ProbeKind.STARTUP if passed:
                self._change(started=True)
                for other, probe in self._probes():
                    if other is not ProbeKind.STARTUP:
                        self._watch(other, probe)
            case ProbeKind.LIVENESS | ProbeKind.STARTUP:
                if not passed and not self.is_ending:
                    self.end(f"failed {kind.lower()} probe", self._grace(kind))

    def _on_failure(self, kind: ProbeKind, message: str) -> None:
        text = f"{kind} probe failed: {message}"
        self._tell(ContainerEvent("Unhealthy", text, is_warning=True))

    def _grace(self, kind: ProbeKind) -> float:
        probe = dict(self._probes())[kind]
        own = probe.termination_grace_period_seconds
        return self.pod.termination_grace_period_seconds if own is None else own

    # -- ends --------------------------------------------------------------------------------------

    def end(self, why: str, grace: float | None = None) -> None:
        """End it, because of `why`; it is started again."""
        seconds = self.pod.termination_grace_period_seconds if grace is None else grace
        message = f"Container {self.container.name} {why}, will be restarted"
        self._tell(ContainerEvent("Killing", message))
        self._run(self._stop(seconds))

    async def terminate(self, grace: float) -> None:
        """Its pod is on its way out: `preStop`, SIGTERM, and SIGKILL after `grace` seconds in all.

        Its readiness goes on being asked, since endpoints serve until their connections end.
        """
        if self.is_ending:
            return
        self.is_ending = True
        if not self.report.running:
            return
        self._tell(ContainerEvent("Killing", f"Stopping container {self.container.name}"))
        await self._stop(grace)

    async def _stop(self, grace: float) -> None:
        hook = self.container.lifecycle.pre_stop
        if hook is not None and grace > 0:
            grace = await self._pre_stop(hook, grace)
        await self.runtime.end(grace)

    async def _pre_stop(self, hook: HookAction, grace: float) -> float:
        """Run the hook; the seconds that are left, two of them however long it took."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        answer = await self._ask(hook, grace)
        if not answer.passed:
            message = f"PreStopHook failed: {answer.message}"
            self._tell(ContainerEvent("FailedPreStopHook", message, is_warning=True))
        return max(grace - (loop.time() - begun), MINIMUM_GRACE)

    def ended(self, exit_code: int, signal_number: int = 0) -> float | None:
        """It has ended. Seconds until it is to be started again, None for never."""
        self._close_probes()
        how = Ended(exit_code, self.report.running or time.time(), time.time(), signal_number)
        self._change(running=0.0, started=False, ended=how)
        policy = self.pod.restart_policy
        again = policy is RestartPolicy.ALWAYS or (
            policy is RestartPolicy.ON_FAILURE and exit_code != 0
        )
        return self._pause() if again and not self.is_ending else None

    def _pause(self) -> float:
        delay, self._backoff = self._backoff.after_end(asyncio.get_running_loop().time())
        if delay:
            who = f"{self.container.name} pod={self.pod.name}_{self.pod.namespace}"
            text = f"back-off {delay:.0f}s restarting failed container={who}"
            self._change(waiting=("CrashLoopBackOff", text))
            told = f"Back-off restarting failed container {self.container.name} in pod "
            self._tell(ContainerEvent("BackOff", f"{told}{self.pod.name}", is_warning=True))
        return delay

    def close(self) -> None:
        """Watch it no more; it goes on."""
        self.is_ending = True
        self._close_probes()
        for task in tuple(self._tasks):
            task.cancel()

    def _close_probes(self) -> None:
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        self._probed_ready = False

    def _change(self, **fields: object) -> None:
        made = replace(self.report, **fields)  # type: ignore[arg-type]
        ready = bool(made.running) and made.started and self._probed_ready
        made = replace(made, ready=ready)
        if made != self.report:
            self.report = made
            self._on_change()

    def _run(self, work: Awaitable[None]) -> None:
        async def body() -> None:
            await work

        task = asyncio.get_running_loop().create_task(body())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
