"""`down`: remove a lab, whole or half-built, with or without its files."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from kns.compile import names
from kns.compile.paths import RUN_DIR, LabPaths
from kns.engine import files, process_records
from kns.engine.labs import lab_netns, stray_agents
from kns.engine.lock import locked
from kns.errors import ApplyError, KnsError, from_os_error
from kns.kernel import netns, processes

#: seconds that the processes of a lab have after SIGTERM; kubelet gives 30, a lab has no state
GRACE = 2.0


@dataclass(frozen=True, slots=True)
class DownResult:
    """What `down` removed."""

    lab: str
    netns: int
    processes: int
    seconds: float


def known_labs() -> tuple[str, ...]:
    """Labs that have left anything: a netns, or files of an `up` that died early."""
    found = {name.split(".")[1] for name in netns.list_netns(names.PREFIX) if name.count(".") > 1}
    if RUN_DIR.is_dir():
        found.update(entry.name for entry in RUN_DIR.iterdir() if not entry.name.startswith("."))
    return tuple(sorted(found))


def removable_labs() -> tuple[str, ...]:
    """Known labs, and those of which a killed `up` has left the lock alone."""
    locks = RUN_DIR.glob(".*.lock") if RUN_DIR.is_dir() else ()
    left = {path.name.removeprefix(".").removesuffix(".lock") for path in locks}
    return tuple(sorted({*known_labs(), *left}))


def down(lab: str) -> DownResult:
    """Remove the lab. Raises one ApplyError for everything that could not be removed."""
    start = time.monotonic()
    try:
        with locked(LabPaths(lab)):
            spaces, ended = remove(lab)
    except OSError as error:
        raise from_os_error(error, netns=lab) from error
    return DownResult(lab, spaces, ended, time.monotonic() - start)


def remove(lab: str) -> tuple[int, int]:
    """Remove processes, netns and files of the lab, whose lock is held; how many of the first two.

    First the processes: an open socket keeps a netns, and what is in it, alive.
    """
    spaces = lab_netns(lab)
    ended, stubborn = _end_processes(lab, spaces)
    errors: list[KnsError] = [
        ApplyError(f"process {pid} does not end", netns=lab) for pid in stubborn
    ]
    # pods first: their far ends then go with the nodes, in the background
    errors += netns.delete_all(_in_order(lab, spaces))
    errors += files.remove_lab(LabPaths(lab))
    netns.remove_folder_if_empty()
    if errors:
        raise ApplyError(
            "; ".join(error.message for error in errors), hint="kns down tries again what is left"
        )
    return len(spaces), ended


def _in_order(lab: str, spaces: tuple[str, ...]) -> tuple[str, ...]:
    fabric = names.fabric_netns(lab)
    return (*(name for name in spaces if name != fabric), *(n for n in spaces if n == fabric))


def _end_processes(lab: str, spaces: tuple[str, ...]) -> tuple[int, tuple[int, ...]]:
    """End what runs in the netns, programs that left them, and the agent wherever it is."""
    inodes = {found[1] for name in spaces if (found := netns.identity(name)) is not None}
    # a name may have been mounted over with the host's netns, whose processes are no lab's
    inodes.discard(netns.identity_here()[1])
    pids = set(processes.in_netns(inodes)) if inodes else set()
    pids.update(process_records.pids_of(lab))
    pids.update(stray_agents(lab))
    pids.discard(os.getpid())
    return len(pids), processes.kill_all(sorted(pids), grace=GRACE)
