"""Turns "these backends, seen so" into the step that proves it, and into words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, ProxyMode
from kns.kinds.common import Protocol
from kns.kinds.service import Service, ServicePort, SessionAffinity, TrafficPolicy
from kns.promise.check import Ask, Check, Cover, Datagrams, Expectations, Http, Skip, Step, Want
from kns.promise.chisquare import requests_to_see_all
from kns.promise.endpoints import Backend, is_external, serves_http
from kns.promise.flow import Outcome
from kns.promise.location import Location, LocationKind, label
from kns.promise.pods import SHORT_PATIENCE

#: requests that show that affinity sticks: random choice of two would pass once in 2,048
STICKY_REQUESTS = 12
#: requests of a client that isn't meant to see every backend
FEW_REQUESTS = 20
#: more backends than this are not all waited for: it would take thousands of requests
MAX_COVERED = 60
#: REJECT answers within a round trip; the first retransmission of a dropped SYN comes after 1 s
AT_ONCE_MS = 900.0
#: IPVS schedulers that spread like random or round robin, and those that pick every backend
_EVEN_SCHEDULERS = ("rr", "wrr")
_SPREADING_SCHEDULERS = ("rr", "wrr", "lc", "wlc")


@dataclass(frozen=True, slots=True)
class Door:
    """An address and port by which a service port is entered, and from where."""

    service: Service
    port: ServicePort
    family: IPFamily
    source: Location
    address: str
    number: int

    @property
    def protocol(self) -> Protocol:
        """The transport."""
        return self.port.protocol


@dataclass(frozen=True, slots=True)
class Promised:
    """What must come of entering by a door."""

    backends: tuple[Backend, ...]
    #: backend → the source address it must see, or the choice if several nodes are entered
    seen: Callable[[Backend], str | tuple[str, ...]]
    #: without backends: refused at once, or dropped
    refuses: bool = True
    #: how it fails where it isn't refused
    silence: tuple[Outcome, ...] = (Outcome.TIMEOUT,)
    #: why it is refused or dropped
    why: str = ""
    #: try often enough to see every backend
    is_thorough: bool = True
    #: equal shares are not to be expected even where the proxy chooses evenly
    is_uneven: bool = False
    #: each client sticks to one backend, if the service wants that
    sticks: bool = True
    #: after the sentence
    note: str = ""


def addresses_seen(what: Promised) -> tuple[str, ...]:
    """Every source address that some backend may see."""
    found = (what.seen(backend) for backend in what.backends)
    each = ((item,) if isinstance(item, str) else item for item in found)
    return tuple(sorted({address for group in each for address in group}))


@dataclass(frozen=True, slots=True)
class Title:
    """Where a check stands in the report."""

    path: str
    kind: str
    source: str
    target: str
    suffix: str = ""

    @property
    def id(self) -> str:
        """`pod-to-service/hairpin/pod1->svc-a`."""
        return f"{self.path}/{self.kind}/{self.source}->{self.target}{self.suffix}"


def add(found: Expectations, cluster: Cluster, title: Title, door: Door, what: Promised) -> None:
    """Append the check that decides the promise, or say why it can't be decided."""
    if not what.backends:
        step, expected = _nobody(door, what)
    else:
        answers = _answers(cluster, door, what)
        if isinstance(answers, Skip):
            found.skips.append(answers)
            return
        step, expected = answers
    if what.note:
        expected = f"{expected} ({what.note})"
    found.checks.append(Check(title.id, title.path, door.source, title.target, expected, (step,)))


def port_label(service: Service, port: ServicePort) -> str:
    """`svc-a`, or `svc-a:80`, `svc-a:53/udp` where the name alone would not do."""
    name = label(service)
    if len(service.ports) == 1 and port.protocol is Protocol.TCP:
        return name
    suffix = "" if port.protocol is Protocol.TCP else f"/{port.protocol.lower()}"
    return f"{name}:{port.port}{suffix}"


def ask(door: Door, count: int = 1, patience: float = 2.5) -> Ask:
    """The question for the door's transport."""
    if door.protocol is Protocol.TCP:
        return Http(door.address, door.number, count=count, patience=patience)
    return Datagrams(
        door.protocol.lower(), door.address, door.number, count=count, patience=patience
    )


def blocked(door: Door, outcomes: tuple[Outcome, ...]) -> Step:
    """Nothing may come through; silence is taken for silence after a second."""
    return Step(ask(door, patience=SHORT_PATIENCE), Want(outcomes=outcomes))


def refused(door: Door) -> Step:
    """A refusal must come, and at once.

    IPv6 has no limit: the ICMPv6 error is back within 0.1 ms, yet connect() is told only when the
    SYN is sent again, a second later (measured on Linux 6.18; IPv4 is told at once).
    """
    within = AT_ONCE_MS if door.family is IPFamily.IPV4 else None
    return Step(ask(door), Want(outcomes=(Outcome.REFUSED,), within_ms=within))


def _nobody(door: Door, what: Promised) -> tuple[Step, str]:
    if what.refuses:
        how = "refused at once" if door.family is IPFamily.IPV4 else "refused"
        return refused(door), f"{how}: {what.why or 'no ready endpoint'}"
    return blocked(door, what.silence), f"no answer: {what.why or 'dropped'}"


def _answers(cluster: Cluster, door: Door, what: Promised) -> tuple[Step, str] | Skip:
    listening = {_listens(cluster, backend, door.protocol) for backend in what.backends}
    name = port_label(door.service, door.port)
    if listening == {False}:
        targets = _list([f"{b.name}:{b.port}" for b in what.backends])
        return refused(door), f"refused: it leads to {targets}, where nothing listens"
    if listening != {True}:
        return Skip(f"{name}", "who answers can't be read from some of its endpoints")
    names = tuple(dict.fromkeys(backend.name for backend in what.backends))
    count, cover, is_even = _effort(cluster, door, len(names), what)
    pairs = tuple((b.name, address) for b in what.backends for address in _addresses(what, b))
    every_source = cover is Cover.ALL and len(set(pairs)) > len(names)
    if every_source:
        count = max(count, requests_to_see_all(len(set(pairs))))
    want = Want(
        backends=names,
        cover=cover,
        is_even=is_even and not what.is_uneven,
        seen=pairs,
        every_source=every_source,
    )
    return Step(ask(door, count), want), f"{_who(names, cover)}; {_seen(what)}"


def _listens(cluster: Cluster, backend: Backend, protocol: Protocol) -> bool | None:
    if backend.pod is not None:
        return serves_http(backend.pod, backend.port, protocol)
    outside = any(
        backend.address in host.addresses and backend.port == host.port for host in cluster.internet
    )
    return True if outside and protocol is Protocol.TCP else None


def _is_torn(cluster: Cluster, door: Door) -> bool:
    """True if the checks of one client that run beside each other move its affinity.

    With internal policy Local the cluster IP offers a client in the cluster this node's endpoints,
    the outer addresses offer it all, and kube-proxy remembers clients by endpoint, whatever the
    address they came by. IPVS remembers by address.
    """
    return (
        door.source.kind is not LocationKind.INTERNET
        and door.service.internal_traffic_policy is TrafficPolicy.LOCAL
        and is_external(door.service)
        and cluster.network.kube_proxy.mode is not ProxyMode.IPVS
    )


def _effort(cluster: Cluster, door: Door, backends: int, what: Promised) -> tuple[int, Cover, bool]:
    if door.service.session_affinity is SessionAffinity.CLIENT_IP:
        sticks = what.sticks and not _is_torn(cluster, door)
        return STICKY_REQUESTS, Cover.ONE if sticks else Cover.SUBSET, False
    options = cluster.network.kube_proxy
    is_ipvs = options.mode is ProxyMode.IPVS
    spreads = not is_ipvs or options.ipvs.scheduler in _SPREADING_SCHEDULERS
    is_even = not is_ipvs or options.ipvs.scheduler in _EVEN_SCHEDULERS
    if not what.is_thorough or not spreads or backends > MAX_COVERED:
        count = FEW_REQUESTS if backends <= MAX_COVERED or not what.is_thorough else 10 * backends
        return count, Cover.SUBSET, is_even and count >= 5 * backends
    return max(requests_to_see_all(backends), 3), Cover.ALL, is_even


def _who(names: Sequence[str], cover: Cover) -> str:
    if len(names) == 1:
        return f"{names[0]}, nobody else"
    match cover:
        case Cover.ALL:
            return f"{_list(names)}, nobody else"
        case Cover.SUBSET:
            return f"none but {_list(names)}"
        case Cover.ONE:
            return f"always the same one of {_list(names)}"


def _addresses(what: Promised, backend: Backend) -> tuple[str, ...]:
    seen = what.seen(backend)
    return (seen,) if isinstance(seen, str) else seen


def _seen(what: Promised) -> str:
    by_address: dict[str, list[str]] = {}
    for backend in what.backends:
        one_of = " or ".join(dict.fromkeys(_addresses(what, backend)))
        by_address.setdefault(one_of, []).append(backend.name)
    if len(by_address) == 1:
        verb = "sees" if len(what.backends) == 1 else "all see"
        return f"{verb} {next(iter(by_address))}"
    parts = [
        f"{_list(who)} {'sees' if len(who) == 1 else 'see'} {address}"
        for address, who in by_address.items()
    ]
    return ", ".join(parts)


def _list(names: Sequence[str]) -> str:
    unique = tuple(dict.fromkeys(names))
    if len(unique) > 5:
        return f"{', '.join(unique[:3])} and {len(unique) - 3} more"
    if len(unique) == 1:
        return unique[0]
    return f"{', '.join(unique[:-1])} and {unique[-1]}"
