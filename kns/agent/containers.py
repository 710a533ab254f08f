"""The containers of a lab that are real processes, kept as the lab file wants them.

    stop_others(specs)     stop what is not wanted any more, or not any more like this
    start_missing(specs)   take over what still runs from an earlier agent, start what is missing

Like a kubelet's, containers outlive their agent: an agent that is started anew finds them
(`process_table`) and does not start a second one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from kns.agent import process_table, readiness
from kns.agent.container import GRACE_SECONDS, ContainerProcess
from kns.agent.serve.server import Inode
from kns.compile.paths import LabPaths
from kns.compile.programs.program import Program
from kns.engine.orders import ContainerStatus, Failure
from kns.engine.process_records import ProcessRecord, log_path
from kns.kernel import netns, processes

#: kubelet's containerLogMaxSize; one older file is kept. A lab's files are in memory
LOG_MAX = 10 * 1024 * 1024
#: a loop that prints writes half a gigabyte a second, into memory
SIZE_CHECK_SECONDS = 1.0


class Containers:
    """Every container process of a lab that this agent watches."""

    def __init__(self, worker: Executor, paths: LabPaths) -> None:
        self._worker = worker
        self._paths = paths
        self._watched: dict[str, ContainerProcess] = {}
        self._looked_back = False
        self._size_check: asyncio.TimerHandle | None = None
        self._left: dict[str, ProcessRecord] = {}

    @property
    def statuses(self) -> tuple[ContainerStatus, ...]:
        """What each of them does, in the order in which they were started."""
        return tuple(container.status for container in self._watched.values())

    def get(self, key: str) -> ContainerProcess | None:
        """The container of that key."""
        return self._watched.get(key)

    async def stop_others(self, specs: Sequence[Program]) -> None:
        """Stop every container that `specs` doesn't hold just so, and in the same netns."""
        wanted = {spec.key: spec for spec in specs}
        inodes = await self._inodes(specs)
        going = [
            container
            for key, container in self._watched.items()
            if not _same_process(wanted.get(key), container.spec)
            or inodes.get(key) != container.inode
        ]
        await self._stop(going)
        loop = asyncio.get_running_loop()
        if gone := [item.spec for item in going if item.spec.key not in wanted]:
            await loop.run_in_executor(self._worker, forget_logs, self._paths, gone)
        if not self._looked_back:
            self._left = await loop.run_in_executor(
                self._worker, survivors, specs, inodes, self._paths
            )
            self._looked_back = True
            self._check_sizes_later()

    async def start_missing(self, specs: Sequence[Program]) -> tuple[Failure, ...]:
        """Start what doesn't run yet; returns those that could not be started (yet).

        One that is known to listen is waited for: who asked for it may connect at once.
        """
        inodes = await self._inodes(specs)
        failures: list[Failure] = []
        started: list[ContainerProcess] = []
        for spec in specs:
            if spec.key in self._watched:
                await self._watched[spec.key].update(spec)
                continue
            if spec.key not in inodes:
                failures.append(Failure(spec.key, f"netns {spec.netns} does not exist"))
                continue
            container = ContainerProcess(spec, inodes[spec.key], self._paths, self._worker)
            self._watched[spec.key] = container
            left = self._left.pop(spec.key, None)
            if left is not None and container.adopt(left):
                await container.update(spec)
            else:
                failure = await container.start()
                failures.extend([failure] if failure is not None else [])
                started.extend([container] if failure is None else [])
        return (*failures, *await _deaf(started, self._paths))

    async def _inodes(self, specs: Sequence[Program]) -> dict[str, Inode]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, _inodes, specs)

    async def stop(self) -> None:
        """Stop all of them."""
        await self._stop(list(self._watched.values()))

    def release(self) -> None:
        """Let all of them be, for the next agent."""
        for container in self._watched.values():
            container.release()
        self._watched.clear()
        if self._size_check is not None:
            self._size_check.cancel()

    def _check_sizes_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._size_check = loop.call_later(SIZE_CHECK_SECONDS, self._check_sizes)

    def _check_sizes(self) -> None:
        own = (log_path(self._paths, container.spec) for container in self._watched.values())
        logs = (self._paths.log, *own)
        asyncio.get_running_loop().run_in_executor(self._worker, rotate, logs)
        self._check_sizes_later()

    async def _stop(self, going: Sequence[ContainerProcess]) -> None:
        await asyncio.gather(*(container.stop() for container in going))
        for container in going:
            self._watched.pop(container.spec.key, None)


def _same_process(wanted: Program | None, spec: Program) -> bool:
    """True if the process of `spec` serves `wanted` too, by a reload of its files at most."""
    return wanted is not None and replace(wanted, files=()) == replace(spec, files=())


async def _deaf(started: Sequence[ContainerProcess], paths: LabPaths) -> list[Failure]:
    """The containers that do not listen where they should, when the patience is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + readiness.PATIENCE
    waiting = [container for container in started if container.spec.listens]
    while waiting and loop.time() < deadline:
        waiting = [
            container
            for container in waiting
            if not readiness.listens(container.status.pid, container.spec.listens)
        ]
        if waiting:
            await asyncio.sleep(readiness.INTERVAL)
    return [
        Failure(
            container.spec.key,
            f"does not listen on {', '.join(map(str, container.spec.listens))}",
            f"its log: {log_path(paths, container.spec)}",
        )
        for container in waiting
    ]


def survivors(
    specs: Sequence[Program], inodes: Mapping[str, Inode], paths: LabPaths
) -> dict[str, ProcessRecord]:
    """The wanted containers that an earlier agent has left running; all others of its are killed.

    Wanted means: of that spec, and in the netns that the pod has now.
    """
    wanted = {spec.key: spec for spec in specs if spec.key in inodes}
    running = dict(_left_by_others(wanted, inodes, paths))
    kept: dict[str, ProcessRecord] = {}
    for key, record in running.items():
        inode = process_table.netns_inode(record.pid)
        spec = wanted.get(key)
        if spec is not None and record.digest == spec.digest and inode == inodes[key][1]:
            kept[key] = record
        else:
            processes.kill_all([record.pid], grace=GRACE_SECONDS)
            process_table.kill_members(key, record.pid, inode)
    return kept


def _left_by_others(
    wanted: Mapping[str, Program], inodes: Mapping[str, Inode], paths: LabPaths
) -> Iterator[tuple[str, ProcessRecord]]:
    noted = process_table.read_records(paths.logs)
    for key, (path, record) in noted.items():
        if process_table.is_running(record):
            yield key, record
        else:
            path.unlink(missing_ok=True)
    for key in wanted:
        if key not in noted:
            marked = process_table.main_process(key, inodes[key][1])
            if marked is not None:
                yield key, marked


def forget_logs(paths: LabPaths, gone: Iterable[Program]) -> None:
    """Remove the logs of containers that are no more, as kubelet does with a pod's."""
    for spec in gone:
        log = log_path(paths, spec)
        for path in (log, older(log)):
            path.unlink(missing_ok=True)


def older(log: Path) -> Path:
    """Where the last of a log is that had grown too large."""
    return log.with_name(f"{log.name}.1")


def rotate(logs: Iterable[Path]) -> None:
    """Move the last of a log that has grown too large to `NAME.1`, and empty it.

    The process keeps its file open, so the file is emptied in place; it is written by appending.
    What is written between the copy and that moment is lost.
    """
    for log in logs:
        with contextlib.suppress(OSError):
            size = log.stat().st_size
            if size > LOG_MAX:
                before = older(log)
                before.unlink(missing_ok=True)
                with log.open("rb") as source, before.open("xb") as copy:
                    before.chmod(0o600)
                    source.seek(size - LOG_MAX)
                    copy.write(source.read(LOG_MAX))
                os.truncate(log, 0)


def _inodes(specs: Iterable[Program]) -> dict[str, Inode]:
    found = ((spec.key, netns.identity(spec.netns)) for spec in specs)
    return {key: inode for key, inode in found if inode is not None}
