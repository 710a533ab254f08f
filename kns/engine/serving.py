"""What should listen and run in a lab, against what its agent says that does: as operations.

    LabState, AgentStatus ──plan_serving()──▶ ListenerOp, ProgramOp…

The agent carries them out by itself when it converges; here they are told beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kns.compile.lab import LabState
from kns.compile.listeners import Listener
from kns.compile.programs.program import Program
from kns.engine.orders import AgentStatus, ContainerStatus


class ListenerVerb(StrEnum):
    """What happens to the socket of a built-in server."""

    OPEN = "open"
    CLOSE = "close"
    #: it stays open, and answers otherwise
    UPDATE = "update"


class ProgramVerb(StrEnum):
    """What happens to the process of a program."""

    START = "start"
    RESTART = "restart"
    #: it goes on, and reads its files anew
    RELOAD = "reload"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class ListenerOp:
    """A verb and a socket, as a `ListenSocket` is printed; `subject`: who answers there."""

    verb: ListenerVerb
    socket: str
    subject: str = ""

    @property
    def netns(self) -> str:
        """Where the socket is."""
        return self.socket.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class ProgramOp:
    """A verb and a program, by its key; `pid` of the process that runs, 0 if there is none."""

    verb: ProgramVerb
    key: str
    netns: str
    pid: int = 0
    program: Program | None = None


ServingOp = ListenerOp | ProgramOp


def plan_serving(desired: LabState, observed: AgentStatus | None) -> tuple[ServingOp, ...]:
    """What the agent does when it converges; all that there is for an agent yet to be started."""
    sockets = observed.listeners if observed is not None else {}
    containers = observed.containers if observed is not None else ()
    return (
        *_listener_ops(desired.listeners, sockets),
        *_program_ops(desired.programs, {item.container: item for item in containers}),
    )


def _listener_ops(desired: Sequence[Listener], observed: Mapping[str, str]) -> Iterator[ListenerOp]:
    wanted: dict[str, Listener] = {}
    for listener in desired:  # of two that want the same socket, the first one has it
        wanted.setdefault(str(listener.socket), listener)
    for socket in observed:
        if socket not in wanted:
            yield ListenerOp(ListenerVerb.CLOSE, socket)
    for socket, listener in wanted.items():
        if socket not in observed:
            yield ListenerOp(ListenerVerb.OPEN, socket, str(listener.subject))
        elif observed[socket] != listener.digest:
            yield ListenerOp(ListenerVerb.UPDATE, socket, str(listener.subject))


def _program_ops(
    desired: Sequence[Program], observed: Mapping[str, ContainerStatus]
) -> Iterator[ProgramOp]:
    wanted = {program.key for program in desired}
    for key, status in observed.items():
        if key not in wanted:
            yield ProgramOp(ProgramVerb.STOP, key, status.netns, status.pid)
    for program in desired:
        key, netns = program.key, program.netns
        found = observed.get(key)
        if found is None:
            yield ProgramOp(ProgramVerb.START, key, netns, program=program)
        elif (found.digest, found.netns) != (program.digest, netns):
            yield ProgramOp(ProgramVerb.RESTART, key, netns, found.pid, program)
        elif found.files_digest != program.files_digest:
            yield ProgramOp(ProgramVerb.RELOAD, key, netns, found.pid, program)
