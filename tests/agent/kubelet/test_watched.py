"""What kubelet makes of a container's probes, starts and ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace

from kns.agent.kubelet.asking import PASSED, ProbeAnswer
from kns.agent.kubelet.watched import ContainerEvent, WatchedContainer
from kns.kinds.lifecycle import (
    ExecAction,
    HookAction,
    HTTPGetAction,
    Lifecycle,
    Probe,
    ProbeAction,
    SleepAction,
)
from kns.kinds.pod import Container, Pod, RestartPolicy

READINESS, LIVENESS, STARTUP = (HTTPGetAction(port) for port in (1, 2, 3))


class Room:
    """A container whose probes answer what the test says, and whose runtime notes what it does."""

    def __init__(self, container: Container, policy: RestartPolicy = RestartPolicy.ALWAYS) -> None:
        pod = Pod("default", "web", "node1", (), containers=(container,), restart_policy=policy)
        self.answers: dict[object, bool] = {}
        self.asked: list[object] = []
        self.ends: list[float] = []
        self.events: list[ContainerEvent] = []
        self.watched = WatchedContainer(pod, container, self.ask, lambda: None, self.events.append)
        self.watched.runtime = self

    async def ask(self, action: ProbeAction | HookAction, timeout: float) -> ProbeAnswer:
        self.asked.append(action)
        if isinstance(action, SleepAction):
            await asyncio.sleep(min(timeout, action.seconds / 100))
            return PASSED
        return ProbeAnswer(self.answers.get(action, True), "no")

    async def end(self, grace: float) -> None:
        self.ends.append(grace)
        self.watched.ended(0)

    def send_signal(self, number: signal.Signals) -> None:
        raise AssertionError(number)


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await body()

    asyncio.run(main())


async def eventually(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not found():
            await asyncio.sleep(0.001)


def probe(action: ProbeAction, **fields: int) -> Probe:
    return Probe(action, **{"period_seconds": 0, "failure_threshold": 1, **fields})


def container(**fields: object) -> Container:
    return replace(Container("c"), **fields)  # type: ignore[arg-type]


def test_without_probes_a_container_is_ready_as_it_runs() -> None:
    async def body() -> None:
        room = Room(container())
        room.watched.began()
        assert room.watched.report.ready
        assert not room.asked

    run(body)


def test_a_readiness_probe_decides_both_ways() -> None:
    async def body() -> None:
        room = Room(container(readiness_probe=probe(READINESS)))
        room.watched.began()
        assert not room.watched.report.ready
        await eventually(lambda: room.watched.report.ready)
        room.answers[READINESS] = False
        await eventually(lambda: not room.watched.report.ready)
        assert room.events[0] == ContainerEvent("Unhealthy", "Readiness probe failed: no", True)
        assert not room.ends

    run(body)


def test_a_failed_liveness_probe_ends_the_container_with_its_grace() -> None:
    async def body() -> None:
        own = probe(LIVENESS, termination_grace_period_seconds=7)
        room = Room(container(liveness_probe=own))
        room.answers[LIVENESS] = False
        room.watched.began()
        await eventually(lambda: bool(room.ends))
        assert room.ends == [7]
        told = [event.message for event in room.events if event.reason == "Killing"]
        assert told == ["Container c failed liveness probe, will be restarted"]

    run(body)


def test_other_probes_wait_for_the_startup_probe() -> None:
    async def body() -> None:
        room = Room(
            container(
                startup_probe=probe(STARTUP, failure_threshold=1000),
                readiness_probe=probe(READINESS),
            )
        )
        room.answers[STARTUP] = False
        room.watched.began()
        await eventually(lambda: len(room.asked) > 5)
        assert READINESS not in room.asked
        assert not room.watched.report.started
        room.answers[STARTUP] = True
        await eventually(lambda: room.watched.report.ready)
        assert room.watched.report.started

    run(body)


def test_the_back_off_doubles_and_is_told() -> None:
    async def body() -> None:
        room = Room(container())
        delays: list[float | None] = []
        for _ in range(4):
            room.watched.began()
            delays.append(room.watched.ended(1))
        assert delays == [0, 10, 20, 40]
        assert room.watched.report.waiting[0] == "CrashLoopBackOff"
        assert room.watched.report.restarts == 3

    run(body)


def test_the_restart_policy_is_kept_to() -> None:
    async def body() -> None:
        never = Room(container(), RestartPolicy.NEVER)
        never.watched.began()
        assert never.watched.ended(1) is None
        on_failure = Room(container(), RestartPolicy.ON_FAILURE)
        on_failure.watched.began()
        assert on_failure.watched.ended(0) is None
        on_failure.watched.began()
        assert on_failure.watched.ended(1) is not None

    run(body)


def test_termination_runs_the_hook_and_leaves_what_is_left_of_the_grace() -> None:
    async def body() -> None:
        room = Room(container(lifecycle=Lifecycle(pre_stop=SleepAction(10))))
        room.watched.began()
        await room.watched.terminate(30)
        assert room.asked == [SleepAction(10)]
        (left,) = room.ends
        assert 25 < left < 30
        assert room.watched.report.ended is not None
        # it is over: nothing starts it again
        assert room.watched.report.waiting == ("", "")

    run(body)


def test_a_hook_that_takes_all_of_the_grace_leaves_two_seconds() -> None:
    async def body() -> None:
        room = Room(container(lifecycle=Lifecycle(pre_stop=SleepAction(30))))
        room.watched.began()
        await room.watched.terminate(0.1)
        assert room.ends == [2.0]

    run(body)


def test_a_post_start_hook_that_fails_ends_the_container() -> None:
    async def body() -> None:
        hook = ExecAction(("false",))
        room = Room(container(lifecycle=Lifecycle(post_start=hook)))
        room.answers[hook] = False
        room.watched.began()
        await eventually(lambda: bool(room.ends))
        assert any(event.reason == "FailedPostStartHook" for event in room.events)

    run(body)
