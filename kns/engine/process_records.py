"""By what the process of a program is known: variables that it bears, and a note beside its log.

Programs such as nginx write their title over their environment; for them there is the note: pid
and start time, which together name one process as long as the machine is up.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kns.cluster.environment import Variables
from kns.compile.paths import LabPaths
from kns.compile.programs.program import Program
from kns.engine.environment import of_container

#: lab/namespace/pod/container
MARKER = "KNS_CONTAINER"
#: tells a program that has changed from one that may stay
DIGEST_MARKER = "KNS_CONTAINER_DIGEST"
#: the lab in which somebody runs a program of their own (`kns exec`, `kubectl exec`, a probe)
EXEC_MARKER = "KNS_EXEC"
RECORD_SUFFIX = ".process"


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A program's main process. `started` is in clock ticks since the machine's start."""

    container: str
    pid: int
    started: int
    digest: str

    @property
    def text(self) -> str:
        """The note."""
        return json.dumps(asdict(self))


def variables(program: Program, services: Variables) -> Variables:
    """The environment of its process, with the services' variables of its pod."""
    own = of_container(services, program.env, hostname=program.hostname)
    return (*own, (MARKER, program.key), (DIGEST_MARKER, program.digest))


def pids_of(lab: str) -> Iterator[int]:
    """The pids of programs in the lab that bear its name, wherever they have gone.

    What they start bears it, too, unless it is started without its environment. Only in our own
    pid namespace: another may have a lab of that name.
    """
    marks = (f"\0{MARKER}={lab}/".encode(), f"\0{EXEC_MARKER}={lab}\0".encode())
    own = Path("/proc/self/ns/pid").stat().st_ino
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables_of_it = b"\0" + (folder / "environ").read_bytes()
            is_marked = any(mark in variables_of_it for mark in marks)
            if is_marked and (folder / "ns/pid").stat().st_ino == own:
                yield int(folder.name)


def log_path(paths: LabPaths, program: Program) -> Path:
    """Where its output goes."""
    return paths.logs / f"{program.etc_name}.{program.name}.log"


def record_path(paths: LabPaths, program: Program) -> Path:
    """Where its main process is noted down."""
    return paths.logs / f"{program.etc_name}.{program.name}{RECORD_SUFFIX}"
