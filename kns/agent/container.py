"""One container with a `command`: its process, and when that is started again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

from kns.agent import process_table
from kns.agent.backoff import Backoff
from kns.agent.serve.server import Inode
from kns.compile.paths import LabPaths
from kns.compile.programs.program import Program
from kns.engine import accounts, environment, etc
from kns.engine.orders import ContainerState, ContainerStatus, Failure
from kns.engine.private import ensure_folder, write_private
from kns.engine.process_records import ProcessRecord, log_path, record_path, variables
from kns.errors import PlatformError
from kns.kernel import processes

#: seconds between SIGTERM and SIGKILL; kubelet's 30 would make every `down` wait
GRACE_SECONDS = 2.0
#: kubelet notices a container's end within a second (its PLEG asks the runtime so often); without
#: such a pause `kns down`, which ends agent and containers at once, would race with the restart
NOTICE_SECONDS = 0.2


class Child(Protocol):
    """A process that this agent has started: only its parent learns how it ended."""

    pid: int

    def poll(self) -> int | None:
        """The exit status once it has ended, negative for a signal."""


class ContainerObserver(Protocol):
    """Who is told of a container's starts and ends, and says when it is tried again."""

    def resume(self, restarts: int, backoff: Backoff) -> None:
        """How often it was started again before, and what its next end costs."""

    def began(self) -> None:
        """It runs."""

    def ended(self, exit_code: int, signal_number: int = 0) -> float | None:
        """It has ended. Seconds until it is to be started again, None for never."""


class ContainerProcess:
    """A container in a netns. Its process is started, watched, started again and stopped."""

    def __init__(self, spec: Program, inode: Inode, paths: LabPaths, worker: Executor) -> None:
        self.spec = spec
        self.inode = inode
        self._paths = paths
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._pid = 0
        self._pidfd = -1
        self._child: Child | None = None
        self._adopted = False
        self._restarts = 0
        self._message = ""
        self._backoff = Backoff()
        self._restart: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._ended.set()
        self._stopping = False
        #: it has ended and is not started again
        self._is_over = False
        self._observer: ContainerObserver | None = None

    def observe(self, observer: ContainerObserver) -> None:
        """Tell `observer` of what happens from now on, and at once that it runs if it does."""
        self._observer = observer
        observer.resume(self._restarts, self._backoff)
        if self._pidfd >= 0:
            observer.began()
        elif self._is_over:
            # a pod of the same name was here before
            self._is_over = False
            self._run(self._started_after(tuple(self._tasks)))

    def send_signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._signal(number)

    @property
    def status(self) -> ContainerStatus:
        """What it does at the moment."""
        return ContainerStatus(
            container=self.spec.key,
            netns=self.spec.netns,
            digest=self.spec.digest,
            files_digest=self.spec.files_digest,
            state=ContainerState.RUNNING if self._pidfd >= 0 else ContainerState.WAITING,
            pid=self._pid if self._pidfd >= 0 else 0,
            restarts=self._restarts,
            adopted=self._adopted,
            message=self._message,
        )

    async def start(self) -> Failure | None:
        """Start the process. One that can't be started is tried again like one that has ended."""
        try:
            self._child = await self._loop.run_in_executor(
                self._worker, spawn, self.spec, self._paths
            )
        except (OSError, PlatformError) as error:
            self._message = str(error)
            self._start_later(self._own_pause())
            hint = error.hint if isinstance(error, PlatformError) else ""
            return Failure(self.spec.key, self._message, hint)
        self._watch(self._child.pid)
        return None

    def adopt(self, record: ProcessRecord) -> bool:
        """Take over the process of an earlier agent; False if it has ended in the meantime."""
        try:
            self._watch(record.pid)
        except ProcessLookupError:
            return False
        if not process_table.is_running(record):
            self.release()
            return False
        self._adopted = True
        return True

    async def update(self, spec: Program) -> None:
        """Write the spec's files; the process reads them anew if one of them changed."""
        self.spec = spec
        if await self._loop.run_in_executor(self._worker, write_files, spec):
            self._signal(signal.Signals(spec.reload_signal))

    async def stop(self) -> None:
        """SIGTERM, after the grace SIGKILL, its children too; when it returns, nothing is left."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
        if self._tasks:  # a start or clean-up that is under way
            await asyncio.wait(self._tasks)
        await self.end(GRACE_SECONDS)
        await self._kill_rest()

    async def end(self, grace: float) -> None:
        """SIGTERM, after `grace` seconds SIGKILL; whether it starts again, its observer says."""
        self._signal(signal.SIGTERM if grace > 0 else signal.SIGKILL)
        try:
            await asyncio.wait_for(self._ended.wait(), grace)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            with contextlib.suppress(TimeoutError):  # one that the kernel holds in a system call
                await asyncio.wait_for(self._ended.wait(), GRACE_SECONDS)

    def release(self) -> None:
        """Let the process be: the next agent takes it over, and who watched it hears no more."""
        self._stopping = True
        self._observer = None
        if self._restart is not None:
            self._restart.cancel()
        self._close_pidfd()

    def _watch(self, pid: int) -> None:
        # a pidfd becomes readable when its process ends, also when that is nobody's child here
        self._pidfd = os.pidfd_open(pid)
        self._pid = pid
        self._message = ""
        self._ended.clear()
        self._loop.add_reader(self._pidfd, self._on_end)
        if self._observer is not None:
            self._observer.began()

    def _on_end(self) -> None:
        self._close_pidfd()
        status = self._child.poll() if self._child is not None else None
        self._message = _how_it_ended(status)
        self._child = None
        self._adopted = False
        self._ended.set()
        delay = self._pause(status)
        self._is_over = delay is None
        if not self._stopping:
            self._run(self._clean_up_and_restart(delay))

    def _pause(self, status: int | None) -> float | None:
        """Seconds until it is started again, None for never."""
        if self._observer is None:
            return self._own_pause()
        # of a process that another agent has started nobody learns how it ended
        number = -status if status is not None and status < 0 else 0
        return self._observer.ended(128 + number if number else status or 0, number)

    def _own_pause(self) -> float:
        delay, self._backoff = self._backoff.after_end(time.monotonic())
        return delay

    async def _clean_up_and_restart(self, delay: float | None) -> None:
        await self._kill_rest()
        if not self._stopping and delay is not None:
            self._start_later(delay)

    async def _kill_rest(self) -> None:
        await self._loop.run_in_executor(
            self._worker, process_table.kill_members, self.spec.key, self._pid, self.inode[1]
        )
        record_path(self._paths, self.spec).unlink(missing_ok=True)

    def _start_later(self, delay: float) -> None:
        delay = max(delay, NOTICE_SECONDS)
        log = logging.getLogger(__name__)
        log.warning("%s: %s; restart in %.0f s", self.spec.key, self._message, delay)
        self._restart = self._loop.call_later(delay, self._start_again)

    def _start_again(self) -> None:
        self._restarts += 1
        self._run(self._started())

    async def _started_after(self, others: Sequence[asyncio.Task[None]]) -> None:
        if others:
            await asyncio.wait(others)
        await self._started()

    async def _started(self) -> None:
        if not self._stopping:
            await self.start()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _close_pidfd(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


def write_files(spec: Program) -> bool:
    """Write the files of a spec that are not as it says; True if there was one."""
    changed = False
    for name, text in spec.files:
        path = Path(name)
        ensure_folder(path.parent)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_private(path, text)
            changed = True
    return changed


def spawn(spec: Program, paths: LabPaths) -> Child:
    """Start the container's process, its output appended to its log. Blocks for milliseconds."""
    write_files(spec)
    folder = etc.folder(paths, spec.etc_name)
    services = environment.read_service_variables(folder)
    context = processes.Context(
        netns=spec.netns,
        etc=folder,
        hostname=spec.hostname,
        env=dict(variables(spec, services)),
        run=accounts.files(paths, spec.account),
    )
    ensure_folder(paths.logs)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log = os.open(log_path(paths, spec), flags, 0o600)
    try:
        child: Child = processes.spawn(spec.command, context=context, stdout=log, stderr=log)
    finally:
        os.close(log)
    started = process_table.start_time(child.pid)
    if started is not None:
        record = ProcessRecord(spec.key, child.pid, started, spec.digest)
        process_table.write_record(record_path(paths, spec), record)
    return child


def _how_it_ended(status: int | None) -> str:
    if status is None:
        return "ended"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exited with {status}"
