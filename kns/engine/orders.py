"""What the engine asks of a lab's agent, and what that answers: a line of JSON each.

    {"Converge": {}} ─▶ {"Converged": {"servers": 4, "containers": 1, "errors": []}}

A message is the name of its class and its fields. Whoever adds an order adds a class here, and its
case in `kns.agent.agent`. Both sides are strict: a message with another class, a field too many or
one too few comes from another kns, and is told as such rather than half understood.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TypeVar, get_args, get_origin, get_type_hints

Reply = TypeVar("Reply")

#: bytes of a line at most: the agent keeps no more of an order that never ends
MAX_LINE = 64 * 1024


# -- orders ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Converge:
    """Read the lab's files again; open, close, start and stop what has changed."""


@dataclass(frozen=True, slots=True)
class GetStatus:
    """What the agent serves and runs at the moment."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End the containers, then the agent itself."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Send a signal, by its number, to a container of a pod; without `container` to all of them."""

    namespace: str
    pod: str
    container: str
    signal: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Wait until what was written is so in the kernel, and say what is on its way even then."""


Order = Converge | GetStatus | Kill | Settle | Shutdown


# -- answers ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be opened or started; the rest of the lab works on."""

    subject: str
    message: str
    hint: str = ""


class ContainerState(StrEnum):
    """Whether a container's process runs, or waits to be started again."""

    RUNNING = "running"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """One program. `adopted`: an earlier agent has started it; the digests are `Program`'s."""

    container: str
    netns: str
    digest: str
    files_digest: str
    state: ContainerState
    pid: int
    restarts: int
    adopted: bool
    message: str


@dataclass(frozen=True, slots=True)
class Converged:
    """What there is after it: open servers, containers, and what could not be opened or started."""

    servers: int
    containers: int
    errors: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """The agent's account.

    `listeners`: each open socket, as a `ListenSocket` is printed, and the digest of its `Listener`.
    `addresses`: the nodes that take the packets for each address of a LoadBalancer.
    `left_out`: objects that can't be had with the rest, or that the kernel refuses, and why.
    """

    pid: int
    rss_kb: int
    listeners: Mapping[str, str]
    containers: tuple[ContainerStatus, ...]
    errors: tuple[Failure, ...]
    addresses: Mapping[str, tuple[str, ...]]
    left_out: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Killed:
    """The signal is sent; what ends by it is started again, as its restartPolicy says."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What was written is so. `waits`: what time alone is about to change, a line each."""

    waits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stopped:
    """The containers have ended, and the agent is about to."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An order that was not understood, or could not be carried out."""

    error: str
    hint: str = ""


AgentAnswer = Converged | AgentStatus | Killed | Settled | Stopped | Refused


# -- one line --------------------------------------------------------------------------------------


def encode(message: Order | AgentAnswer) -> bytes:
    """The message as a line."""
    return json.dumps({type(message).__name__: dataclasses.asdict(message)}).encode() + b"\n"


def decode_order(line: bytes) -> Order:
    """The order in a line. ValueError if it is none."""
    found = _decode(line, get_args(Order))
    if isinstance(found, Order):
        return found
    raise _other(line, "an order")


def decode_answer(line: bytes, answer: type[Reply]) -> Reply | Refused:
    """The answer of that class in a line, or the refusal. ValueError if it is neither."""
    found = _decode(line, (answer, Refused))
    if isinstance(found, answer | Refused):
        return found
    raise _other(line, answer.__name__)


def _other(line: bytes, wanted: str) -> ValueError:
    return ValueError(f"not {wanted}: {line[:100].decode(errors='replace')!r}")


def _decode(line: bytes, kinds: Iterable[type]) -> object:
    """The message of one of the classes; None if there is none."""
    try:
        ((name, fields),) = json.loads(line).items()
        return _read(fields, {kind.__name__: kind for kind in kinds}[name])
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None


def _read(value: object, hint: object) -> object:
    """The value as what its type hint says; TypeError if it is something else."""
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_read(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is Mapping and isinstance(value, dict):
        return {str(key): _read(item, get_args(hint)[1]) for key, item in value.items()}
    if isinstance(hint, type):
        if dataclasses.is_dataclass(hint) and isinstance(value, dict):
            hints = _hints(hint)
            if value.keys() == hints.keys():
                return hint(**{key: _read(value[key], hints[key]) for key in hints})
        elif issubclass(hint, StrEnum) or type(value) is hint:
            return hint(value)
    raise TypeError(f"{value!r} is not {hint}")


@cache
def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)
