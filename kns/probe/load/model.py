"""What the load client is asked and what it tells, as JSON lines. Pure.

Times are CLOCK_MONOTONIC's seconds: the same in every process, and no clock step moves them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

#: a lost SYN is sent again after one second (TCP_TIMEOUT_INIT): an answer to that comes too late
DEFAULT_TIMEOUT = 0.95
#: seconds between two heartbeats of a held connection, and two datagrams of a UDP flow
BEAT = 0.1
#: a held connection without an answer for so long is given up: three retransmissions are lost
SILENCE = 2.0
#: a line that begins so tells of a held connection's end
_BREAK = "break"
#: the first line: everything is under way
READY = "[]\n"


class Kind(StrEnum):
    """What is sent side by side."""

    #: a TCP connection for each request
    CONNECTION = "connections"
    #: heartbeats on TCP connections that stay open
    HELD = "held"
    #: datagrams from one source port each, so that conntrack takes them for one flow
    FLOW = "udp-flows"
    #: a datagram from a new source port each
    QUERY = "udp-queries"


class Cause(StrEnum):
    """Why an exchange failed."""

    #: a reset or an ICMP port unreachable came in place of a connection
    REFUSED = "refused"
    #: the connection was reset before the answer was whole
    RESET = "reset"
    #: the connection was closed before the answer was whole
    CLOSED = "closed"
    #: nothing came in time
    TIMEOUT = "timeout"
    #: a router, or the source's own routing table, said that there is no way
    UNREACHABLE = "unreachable"
    #: a proxy answered for a backend (HTTP 5xx), or somebody who is none
    WRONG = "wrong answer"
    #: anything else; `detail` holds the kernel's words
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. A port 0: nothing by that protocol."""

    address: str
    tcp_port: int = 0
    udp_port: int = 0
    path: str = "/whoami"
    host: str = ""
    #: new connections a second, and as many UDP queries
    rate: float = 50.0
    held: int = 0
    flows: int = 0
    timeout: float = DEFAULT_TIMEOUT
    silence: float = SILENCE

    def request(self, *, keep: bool = False) -> bytes:
        """The HTTP request."""
        ending = "" if keep else "Connection: close\r\n"
        return f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\n{ending}\r\n".encode()

    def to_json(self) -> str:
        """One line, which `load_of` reads."""
        return json.dumps(asdict(self))


def load_of(line: str) -> Load:
    """The inverse of `Load.to_json`."""
    return Load(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, heartbeat or datagram, and what came of it. `cause` None: it was answered.

    `planned` is when it was due, `sent` when it left, `ended` when its fate was known.
    `stream` numbers the held connection or UDP flow. `backend`, `server` and `client` are the
    answering server's own words: who it is, and both addresses of the connection as it sees them.
    """

    kind: Kind
    stream: int
    planned: float
    sent: float
    ended: float
    cause: Cause | None = None
    backend: str = ""
    server: str = ""
    client: str = ""
    detail: str = ""

    @property
    def at(self) -> float:
        """When it was due."""
        return self.planned

    @property
    def answered(self) -> bool:
        """True if the answer came in time."""
        return self.cause is None

    @property
    def latency_ms(self) -> float:
        """From when it was due: a client that was late does not make it look faster."""
        return (self.ended - self.planned) * 1000

    @property
    def late(self) -> float:
        """For how many seconds it waited for the client itself."""
        return self.sent - self.planned


class BreakCause(StrEnum):
    """How a held connection ended."""

    RESET = "reset"
    CLOSED = "closed"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Break:
    """The end of a held connection: when it was opened, last heard and given up."""

    stream: int
    opened: float
    heard: float
    ended: float
    how: BreakCause
    backend: str = ""
    server: str = ""


Told = Exchange | Break


def line_of(item: Told) -> str:
    """One JSON line; `read` reads it."""
    if isinstance(item, Exchange):
        one = (item.kind, item.stream, item.planned, item.sent, item.ended, item.cause)
        return json.dumps((*one, item.backend, item.server, item.client, item.detail))
    times = (item.opened, item.heard, item.ended)
    return json.dumps((_BREAK, item.stream, *times, item.how, item.backend, item.server))


def read(text: str) -> Iterator[Told]:
    """What the lines tell, in their order; a last line that is not whole is left out."""
    for line in text[: text.rfind("\n") + 1].splitlines():
        match json.loads(line):
            case [name, stream, opened, heard, ended, how, *words] if name == _BREAK:
                yield Break(stream, opened, heard, ended, BreakCause(how), *words)
            case [kind, stream, planned, sent, ended, cause, *words]:
                why = Cause(cause) if cause is not None else None
                yield Exchange(Kind(kind), stream, planned, sent, ended, why, *words)
            case _:  # all is under way
                pass
