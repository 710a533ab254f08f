"""A check: what Kubernetes promises about one path, in a form that a probe can decide. Pure.

Check ── path, kind, source, target, expected (for people)
  └── Step ── ask: what to do at the source        Http, Datagrams, Echo, Addresses, …
           └─ expectation: what must come back
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kns.addresses import IPAddress
from kns.kinds.common import Protocol
from kns.promise.flow import Flow, Outcome
from kns.promise.location import Location

#: seconds to wait for a connection
PATIENCE = 2.5


class Cover(StrEnum):
    """How the backends that answered relate to those that may."""

    #: each of them answered, and no other
    ALL = "all"
    #: no other answered
    SUBSET = "subset"
    #: one of them answered every time: session affinity
    ONE = "one"


@dataclass(frozen=True, slots=True)
class Http:
    """`count` GET requests with curl, each on a new connection.

    With a `host` the request is for that host (in its URL, its header and TLS' SNI), whatever the
    address is whose.
    """

    address: IPAddress
    port: int
    count: int = 1
    path: str = "/whoami"
    #: seconds to wait for the connection
    patience: float = PATIENCE
    host: str = ""
    scheme: str = "http"
    headers: tuple[str, ...] = ()
    #: seconds that whoever takes the connection may have to wait for others before it answers
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Datagrams:
    """`count` exchanges over UDP or SCTP, each on a socket of its own."""

    protocol: Protocol
    address: IPAddress
    port: int
    count: int = 1
    patience: float = PATIENCE


@dataclass(frozen=True, slots=True)
class Echo:
    """ICMP echo requests with ping."""

    address: IPAddress
    count: int = 1


@dataclass(frozen=True, slots=True)
class ReadAddresses:
    """Read eth0's addresses and MAC from the kernel, in the source's netns."""

    ifname: str = "eth0"


@dataclass(frozen=True, slots=True)
class AffinityExpiry:
    """Connect, stay away longer than the affinity's timeout, connect again; up to `rounds` times.

    Passes when the choice was made anew at least once: a different backend answered. `sources`
    are further clients that do the same at the same time, each with an affinity of its own.
    """

    address: IPAddress
    port: int
    seconds: int
    rounds: int
    others: tuple[Location, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolve:
    """Resolve a name as the source's C library does. No `rdtype`: for its addresses.

    `server` is asked instead of the ones that resolv.conf names.
    """

    name: str
    rdtype: str = ""
    server: IPAddress | None = None


Ask = Http | Datagrams | Echo | ReadAddresses | AffinityExpiry | Resolve


@dataclass(frozen=True, slots=True)
class Variables:
    """Environment variables with their values: all of a group, or if it is optional, none."""

    entries: tuple[tuple[str, str], ...]
    optional: bool = True


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must come back. Empty tuples and None: not part of the promise."""

    outcomes: tuple[Outcome, ...] = (Outcome.CONNECTED,)
    backends: tuple[str, ...] = ()
    cover: Cover = Cover.ALL
    #: shares must be plausible for random balancing
    is_even: bool = False
    #: (backend, source address that it must see); several of a backend: one of them each time
    seen: tuple[tuple[str, IPAddress], ...] = ()
    #: each of these pairs must have been seen: every way in is used
    every_source: bool = False
    status: int | None = None
    #: a status that may come instead, with nothing of what an answer must have
    failure: int | None = None
    #: `localEndpoints` in the body of a health check's answer
    local_endpoints: int | None = None
    #: a failure must come at once: REJECT answers, DROP leaves the client waiting
    within_ms: float | None = None
    #: the addresses that the link must have, and no other
    addresses: tuple[IPAddress, ...] = ()
    #: the container of the pod that must answer
    container: str = ""
    #: the address at which the server must have been reached, after all translation
    server_address: IPAddress | None = None
    #: the data of the records of a name, in any order; empty: the name must not resolve
    records: tuple[str, ...] | None = None
    #: the request's headers as the server must have seen them: name, and the values that may be
    headers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: where a redirect must lead
    location: str = ""
    #: in the body of `/env`
    variables: tuple[Variables, ...] = ()
    #: why the promise is broken whatever the network does; empty: it isn't
    fault: str = ""


CONNECTS = Expectation()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do and what must come of it."""

    ask: Ask
    expectation: Expectation = CONNECTS


def flow_of(source: Location, ask: Ask) -> Flow | None:
    """The flow that an ask sends; None: it looks something up."""
    match ask:
        case Http() | AffinityExpiry():
            return Flow(source, ask.address, ask.port)
        case Datagrams():
            return Flow(source, ask.address, ask.port, ask.protocol)
        case Echo():
            return Flow(source, ask.address)
        case ReadAddresses() | Resolve():
            return None


@dataclass(frozen=True, slots=True)
class Check:
    """One promise. `expected` is the promise in words, with the reason where modes differ."""

    path: str
    #: what is special about it: `hairpin`; empty where the path says all
    kind: str
    #: `pod1->svc-a`: what tells it from others of its path and kind
    name: str
    source: Location
    target: str
    expected: str
    steps: tuple[Step, ...]

    @property
    def id(self) -> str:
        """`pod-to-service/hairpin/pod1->svc-a`."""
        return "/".join(part for part in (self.path, self.kind, self.name) if part)

    @property
    def is_refused(self) -> bool:
        """True if somebody must refuse one of its steps."""
        return any(step.expectation.outcomes == (Outcome.REFUSED,) for step in self.steps)


def arrow(source: Location, target: str, suffix: str = "") -> str:
    """The name of a check that goes from the source to the target."""
    return f"{source.label}->{target}{suffix}"


@dataclass(frozen=True, slots=True)
class Skip:
    """Checks that are left out, how many and why: a report must not look fuller than it is."""

    what: str
    reason: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class CheckSet:
    """The checks of a cluster; `skips` says what was left out."""

    checks: tuple[Check, ...] = ()
    skips: tuple[Skip, ...] = ()
