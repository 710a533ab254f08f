"""Which processes of this machine are a lab's containers, read from /proc.

A container's main process is the leader of its session (kns starts it so) and is known by what
`kns.engine.process_records` says.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from kns.engine.private import write_private
from kns.engine.process_records import DIGEST_MARKER, MARKER, RECORD_SUFFIX, ProcessRecord
from kns.kernel import processes

KILL_ROUNDS = 5


def write_record(path: Path, record: ProcessRecord) -> None:
    """Note it down, mode 0600."""
    write_private(path, record.text)


def read_records(folder: Path) -> dict[str, tuple[Path, ProcessRecord]]:
    """Every record by its container; an unreadable one is as good as none."""
    found: dict[str, tuple[Path, ProcessRecord]] = {}
    for path in sorted(folder.glob(f"*{RECORD_SUFFIX}")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            record = ProcessRecord(**json.loads(path.read_text(encoding="utf-8")))
            found[record.container] = (path, record)
    return found


def start_time(pid: int) -> int | None:
    """When the process was started; None if it has ended (also if its parent hasn't noticed)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # from the third field of proc(5) on
    return None if fields[0] in "ZX" else int(fields[19])


def is_running(record: ProcessRecord) -> bool:
    """True while the very process of the record lives."""
    return start_time(record.pid) == record.started


def netns_inode(pid: int) -> int | None:
    """The inode of the process' netns; None if it has ended."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def main_process(container: str, inode: int) -> ProcessRecord | None:
    """The container's main process by its markers: of the session leaders the oldest."""
    candidates: list[ProcessRecord] = []
    for pid in processes.in_netns({inode}):
        markers = _markers(pid)
        started = start_time(pid)
        if markers.get(MARKER) == container and started is not None and _session(pid) == pid:
            candidates.append(
                ProcessRecord(container, pid, started, markers.get(DIGEST_MARKER, ""))
            )
    return min(candidates, key=lambda record: (record.started, record.pid), default=None)


def kill_members(container: str, session: int, inode: int | None) -> None:
    """End at once what a container's main process has left: its session, and what bears its name.

    When this returns they are gone. Several rounds, because one may start another meanwhile.
    """
    for _ in range(KILL_ROUNDS):
        members = [
            pid
            for pid in (_pids() if inode is None else processes.in_netns({inode}))
            if _session(pid) == session or _markers(pid).get(MARKER) == container
        ]
        if not members:
            return
        processes.kill_all(members, grace=0)


def _pids() -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            yield int(entry.name)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _markers(pid: int) -> dict[str, str]:
    """The environment with which the process was started, as far as it is ours."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.decode(errors="replace").partition("=") for item in raw.split(b"\0"))
    return {name: value for name, _, value in pairs if name in (MARKER, DIGEST_MARKER)}
