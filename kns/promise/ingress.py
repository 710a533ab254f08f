"""What Kubernetes promises of Ingresses to the world outside, as checks. Pure.

What is asked for is in `ingress_requests`; what must come of it is decided by `ingress_rules`:

    route         200 by the service's endpoints, who see nginx, and the client in X-Forwarded-For
    redirect      308 to https
    denied        403 by an allow or deny list
    no-endpoints  503
    unreachable   504 where network policies keep nginx from every endpoint
    kept-out      nothing, where they keep the client from nginx
    no-rule       404
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kns.addresses import IPAddress, IPFamily
from kns.cluster.ingress import Entrance, entrance, served
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.ingress import Ingress
from kns.kinds.internet import InternetHost
from kns.kinds.pod import Pod
from kns.promise import sampling
from kns.promise.check import (
    Check,
    Cover,
    Expectation,
    Http,
    Resolve,
    Skip,
    Step,
    arrow,
)
from kns.promise.chisquare import requests_to_see_all
from kns.promise.endpoints import serves_http
from kns.promise.flow import Backend, Flow, Outcome, Promise
from kns.promise.ingress_requests import IngressRequest, requests_of
from kns.promise.ingress_rules import (
    Decision,
    admits,
    backends_of,
    decide,
    is_restricted,
    redirects,
)
from kns.promise.ingress_upstream import Upstream, upstream
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise
from kns.promise.steps import SHORT_PATIENCE

PATH = "internet-to-ingress"
#: the kinds of checks of requests that nginx hands on, or tries to
ROUTE, UNREACHABLE = "route", "unreachable"
#: so many requests to a service some of whose endpoints nginx waits for in vain
SILENT_REQUESTS = 2
#: so many requests of a lab are tried
MAX_REQUESTS = 80
#: hosts that are looked up
MAX_NAMES = 10
#: internet hosts that try what is restricted
MAX_CLIENTS = 4
#: the first makes the built-in server say who it is; nginx must not hand on the second
_FORGED = "192.0.2.111"
_HEADERS = ("X-Kns-Whoami: 1", f"X-Forwarded-For: {_FORGED}", f"X-Real-IP: {_FORGED}")


@dataclass(frozen=True, slots=True)
class _Client:
    """A host outside, the way in that it uses, and what is promised of its way to nginx."""

    host: InternetHost
    entrance: Entrance
    family: IPFamily
    way: Promise

    @property
    def seen(self) -> tuple[IPAddress, ...]:
        """The addresses under which nginx may see it; nothing: that can't be told."""
        return self.way.sources

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods whose nginx may answer it."""
        return tuple(a.backend.pod for a in self.way.answers if a.backend.pod is not None)

    @property
    def fault(self) -> str:
        """The fault that keeps it from some of nginx' pods; else nothing."""
        by_policy = any(item.ruling is not None for item in self.way.denied)
        return "" if by_policy else self.way.kept_out

    @property
    def is_shut_out(self) -> bool:
        """True if network policies keep it from all of nginx' pods."""
        return bool(self.way.denied) and not self.way.answers

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """How its connection may end."""
        # what becomes of the request behind nginx is another matter
        way = self.way if self.is_shut_out else replace(self.way, stop=None)
        return way.outcomes


@dataclass(frozen=True, slots=True)
class _Want:
    """What must come of a request: the kind of its check, words, the answer."""

    kind: str
    words: str
    expectation: Expectation
    count: int = 1
    #: seconds that nginx may take for it
    delay: float = 0.0


def ingress_checks(lookup: Lookup) -> Iterator[Check | Skip]:
    """The checks of the Ingress controller: nothing where the lab has none."""
    cluster = lookup.cluster
    if cluster.ingress_controller is None:
        return
    every = tuple(requests_of(cluster))
    requests = sampling.spread(every, MAX_REQUESTS)
    if len(requests) < len(every):
        reason = f"{len(requests)} of {len(every)} requests are tried"
        yield Skip("requests to Ingresses", reason, len(every) - len(requests))
    yield from _names(cluster)
    for family in cluster.network.families:
        clients = tuple(_clients(lookup, family))
        if reason := next(filter(None, (client.fault for client in clients)), ""):
            yield Skip(f"requests to Ingresses over {family}", reason, len(requests))
            continue
        if not clients:
            what = f"requests to Ingresses over {family}"
            reason = "nobody outside has a way to the controller's Service"
            yield Skip(what, reason, len(requests))
            continue
        chosen = requests if family is cluster.network.families[0] else requests[:MAX_CLIENTS]
        tried: set[tuple[str, str]] = set()
        for request in chosen:
            decision = decide(cluster, request.host, request.path)
            key = _service_key(decision)
            is_first = key not in tried
            checks = tuple(_request_checks(lookup, clients, request, decision, is_first=is_first))
            if any(map(_is_handed_on, checks)):
                tried.add(key)
            yield from checks


def _is_handed_on(item: Check | Skip) -> bool:
    return isinstance(item, Check) and item.kind in {ROUTE, UNREACHABLE}


def _service_key(decision: Decision) -> tuple[str, str]:
    if decision.ingress is None or decision.backend is None:
        return ("", "")
    return decision.ingress.namespace, decision.backend.service


def _names(cluster: Cluster) -> Iterator[Check]:
    """The lab's internet knows where the hosts are; a user's own upstream need not."""
    entrances = (entrance(cluster, family) for family in cluster.network.families)
    addresses = tuple(str(way.address) for way in entrances if way is not None)
    if cluster.network.dns.upstream or not cluster.internet or not addresses:
        return
    source = Location(cluster.internet[0])
    hosts = dict.fromkeys(
        rule.host for ingress in served(cluster) for rule in ingress.rules if rule.host
    )
    for host in sampling.spread(tuple(hosts), MAX_NAMES):
        name = f"{host.replace('*', 'kns', 1)}."
        expected = f"{name}: {', '.join(addresses)}"
        step = Step(Resolve(name), Expectation(records=addresses))
        yield Check(PATH, "name", arrow(source, host), source, host, expected, (step,))


# -- who asks --------------------------------------------------------------------------------------


def _clients(lookup: Lookup, family: IPFamily) -> Iterator[_Client]:
    way = entrance(lookup.cluster, family)
    if way is None:
        return
    for host in sampling.spread(lookup.cluster.internet, MAX_CLIENTS):
        if sampling.address_of(host, family) is not None:
            flow = Flow(Location(host), way.address, way.http)
            yield _Client(host, way, family, promise(lookup, flow))


# -- what must come of it --------------------------------------------------------------------------


def _request_checks(
    lookup: Lookup,
    clients: tuple[_Client, ...],
    request: IngressRequest,
    decision: Decision,
    *,
    is_first: bool,
) -> Iterator[Check | Skip]:
    restricted = decision.ingress is not None and is_restricted(decision.ingress)
    for client in clients if restricted else clients[:1]:
        check = _check(lookup, client, request, decision, is_first=is_first)
        is_first = is_first and not _is_handed_on(check)
        yield check


def _verdicts(ingress: Ingress, client: _Client) -> set[bool]:
    """Whether the client is let in, by the addresses that it may have."""
    if not is_restricted(ingress):
        return {True}
    return {admits(ingress, address) for address in client.seen}


def _check(
    lookup: Lookup, client: _Client, request: IngressRequest, decision: Decision, *, is_first: bool
) -> Check | Skip:
    want = _shut_out(client) or _refusal(lookup, client, request, decision)
    if want is None:
        want = _handed_on(lookup, client, request, decision, is_first=is_first)
    if isinstance(want, Skip):
        return want
    source, way = Location(client.host), client.entrance
    ask = Http(
        way.address,
        way.https if request.scheme == "https" else way.http,
        count=want.count,
        path=request.written,
        host=request.host,
        scheme=request.scheme,
        headers=_HEADERS,
        delay=want.delay,
    )
    if client.way.denied:
        ask = replace(ask, patience=SHORT_PATIENCE)
    suffix = sampling.family_suffix(lookup.cluster, client.family)
    name = arrow(source, request.url, suffix)
    step = Step(ask, replace(want.expectation, outcomes=client.outcomes))
    return Check(PATH, want.kind, name, source, request.url, want.words, (step,))


def _shut_out(client: _Client) -> _Want | None:
    """Silence for a client that policies keep from all of nginx' pods; None: they don't."""
    if not client.is_shut_out:
        return None
    return _Want("kept-out", f"no answer: {client.way.kept_out}", Expectation())


def _refusal(
    lookup: Lookup, client: _Client, request: IngressRequest, decision: Decision
) -> _Want | Skip | None:
    """What must come of a request that nginx hands on to nobody; None: somebody gets it."""
    if decision.ingress is None:
        return _Want("no-rule", f"404: {decision.words}", Expectation(status=404))
    verdicts = _verdicts(decision.ingress, client)
    if len(verdicts) != 1:
        reason = "which address nginx sees of the client can't be told"
        return Skip(f"{request.url} from {client.host.name}", reason)
    if request.scheme == "http" and redirects(lookup.cluster, request.host, decision):
        location = f"https://{request.host}{request.written}"
        expectation = Expectation(status=308, location=location)
        return _Want("redirect", f"308 to {location}", expectation)
    if verdicts == {False}:
        words = f"403: the lists of {decision.words} keep {', '.join(map(str, client.seen))} out"
        return _Want("denied", words, Expectation(status=403))
    if not backends_of(lookup, decision):
        words = f"503: {decision.words} has no ready endpoint"
        return _Want("no-endpoints", words, Expectation(status=503))
    return None


def _handed_on(
    lookup: Lookup, client: _Client, request: IngressRequest, decision: Decision, *, is_first: bool
) -> _Want | Skip:
    """Who must answer, of the endpoints that nginx gets through to.

    The first request of a service goes on until each of them has answered.
    """
    backends = backends_of(lookup, decision)
    if any(_answers(backend) is not True for backend in backends):
        return Skip(request.url, "who answers can't be read from some of its endpoints")
    found = upstream(lookup, client.pods, backends)
    if found.fault:
        return Skip(request.url, found.fault)
    if found.silent:
        return _some_answer(client, request, decision, found, is_first=is_first)
    is_thorough = is_first and sampling.is_small(lookup.cluster) and not client.way.denied
    expectation = _from(found, client, request)
    words = f"{_names_of(decision, found)}{_forwarded(client)}"
    if not is_thorough:
        return _Want(ROUTE, words, expectation)
    count = requests_to_see_all(len(backends))
    return _Want(ROUTE, words, replace(expectation, cover=Cover.ALL), count)


def _some_answer(
    client: _Client, request: IngressRequest, decision: Decision, found: Upstream, *, is_first: bool
) -> _Want | Skip:
    """Policies keep nginx from some of the endpoints, or from all: it waits for each that it tries.

    So it is tried once for each service.
    """
    if not is_first:
        seconds = f"{found.delay:.0f} s"
        return Skip(request.url, f"as the first one of its service, which takes up to {seconds}")
    if not found.answering:
        words = f"504: {decision.words}: {found.reason}"
        return _Want(UNREACHABLE, words, Expectation(status=504), delay=found.delay)
    failure = 504 if found.may_fail else None
    silent = f"silence from {', '.join(i.backend.name for i in found.silent[:4])}: {found.reason}"
    words = f"{_names_of(decision, found)}{' or 504' if failure else ''}; {silent}"
    expectation = replace(_from(found, client, request), failure=failure)
    return _Want(ROUTE, words, expectation, SILENT_REQUESTS, found.delay)


def _from(found: Upstream, client: _Client, request: IngressRequest) -> Expectation:
    """An answer of one of the endpoints."""
    names = tuple(dict.fromkeys(backend.name for backend in found.answering))
    headers = _promised(client, request)
    return Expectation(status=200, backends=names, cover=Cover.SUBSET, headers=headers)


def _names_of(decision: Decision, found: Upstream) -> str:
    names = dict.fromkeys(backend.name for backend in found.answering)
    return f"{decision.words}: {', '.join(list(names)[:4])}"


def _answers(backend: Backend) -> bool | None:
    if backend.pod is None or backend.port is None:
        return None
    return serves_http(backend.pod, backend.port, Protocol.TCP)


def _promised(client: _Client, request: IngressRequest) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The headers that the backend must get, whatever the client has sent."""
    port = "443" if request.scheme == "https" else "80"
    seen = tuple(map(str, client.seen))
    about_client = (("x-forwarded-for", seen), ("x-real-ip", seen)) if seen else ()
    return (
        *about_client,
        ("x-forwarded-host", (request.host,)),
        ("x-forwarded-proto", (request.scheme,)),
        ("x-forwarded-port", (port,)),
    )


def _forwarded(client: _Client) -> str:
    if not client.seen:
        return ""
    return f", X-Forwarded-For is {' or '.join(map(str, client.seen[:3]))}"
