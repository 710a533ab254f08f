"""What Kubernetes promises of Ingresses to the world outside, as checks. Pure.

Each host of a rule is asked for each of its paths, for what lies below and beside them; a wildcard
host for a name of one label and of two; a host that nobody named. What must come of it is decided
by `ingress_rules`:

    route         200 by the service's endpoints, who see nginx, and the client in X-Forwarded-For
    redirect      308 to https
    denied        403 by an allow or deny list
    no-endpoints  503
    no-rule       404
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

from kns.addresses import IPAddress, IPFamily
from kns.cluster.ingress import Entrance, entrance, served
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.ingress import Ingress, IngressPath, PathType
from kns.kinds.internet import InternetHost
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
from kns.promise.flow import Backend, Flow
from kns.promise.ingress_rules import (
    Decision,
    admits,
    backends_of,
    decide,
    has_tls,
    is_restricted,
    redirects,
    site_of,
)
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise

PATH = "internet-to-ingress"
#: the kind of checks of requests that a backend gets
ROUTE = "route"
#: a name that no rule means
NOBODY = "kns-nobody.invalid"
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
    """A host outside, the way in that it uses, and the addresses under which nginx may see it."""

    host: InternetHost
    entrance: Entrance
    family: IPFamily
    seen: tuple[IPAddress, ...]
    #: why network policies or faults keep it from some of nginx' pods; else nothing
    kept_out: str = ""


@dataclass(frozen=True, slots=True)
class _Request:
    """A request as a client outside writes it."""

    host: str
    path: str
    scheme: str = "http"

    @property
    def url(self) -> str:
        """For people and for ids."""
        return f"{self.scheme}://{self.host}{self.written}"

    @property
    def written(self) -> str:
        """The path as a URL has it."""
        return quote(self.path, safe="/:@!$&'()*+,;=~-._")


def ingress_checks(lookup: Lookup) -> Iterator[Check | Skip]:
    """The checks of the Ingress controller: nothing where the lab has none."""
    cluster = lookup.cluster
    if cluster.ingress_controller is None:
        return
    every = tuple(_requests(cluster))
    requests = sampling.spread(every, MAX_REQUESTS)
    if len(requests) < len(every):
        reason = f"{len(requests)} of {len(every)} requests are tried"
        yield Skip("requests to Ingresses", reason, len(every) - len(requests))
    yield from _names(cluster)
    for family in cluster.network.families:
        clients = tuple(_clients(lookup, family))
        if reason := next(filter(None, (client.kept_out for client in clients)), ""):
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
            # the first request of a service goes on until every backend has answered
            key = _service_key(decision)
            is_first = key not in tried and sampling.is_small(cluster)
            checks = tuple(_request_checks(lookup, clients, request, decision, is_first=is_first))
            if any(isinstance(check, Check) and check.kind == ROUTE for check in checks):
                tried.add(key)
            yield from checks


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


# -- what is asked ---------------------------------------------------------------------------------


def _requests(cluster: Cluster) -> Iterator[_Request]:
    """Each once: for every host its paths, by the scheme that leads on; then the redirect."""
    asked = dict.fromkeys(
        (host, path)
        for host, paths in _sites(cluster)
        for path in dict.fromkeys([p for item in paths for p in _nearby(item)] or ["/"])
    )
    redirected: set[str] = set()
    for host, path in asked:
        site = site_of(cluster, host)
        decision = decide(cluster, host, path)
        if redirects(cluster, host, decision) and host not in redirected:
            redirected.add(host)
            yield _Request(host, path)
        # without TLS of its own a host has the controller's certificate, which is for no such name
        scheme = "https" if site and has_tls(cluster, site) else "http"
        yield _Request(host, path, scheme)


def _sites(cluster: Cluster) -> Iterator[tuple[str, tuple[IngressPath, ...]]]:
    """Names to ask for, with the paths of their rules; those that nobody serves among them."""
    paths: dict[str, list[IngressPath]] = {}
    for ingress in cluster.ingresses:
        for rule in ingress.rules:
            paths.setdefault(rule.host, []).extend(rule.paths)
    for host, items in paths.items():
        if not host.startswith("*."):
            yield host or NOBODY, tuple(items)
            continue
        yield f"kns.{host[2:]}", tuple(items)
        yield f"two.labels.{host[2:]}", ()
        yield host[2:], ()
    yield NOBODY, ()


def _nearby(item: IngressPath) -> tuple[str, ...]:
    """The path itself and its neighbours, which tell the path types apart."""
    path = unquote(item.path) or "/"
    base = path.rstrip("/")
    if item.path_type is PathType.EXACT:
        return (path, base or f"{path}kns") if path.endswith("/") else (path, f"{path}/")
    if not base:
        return ("/", "/kns")
    return (path, base, f"{base}/kns", f"{base}kns")


# -- who asks --------------------------------------------------------------------------------------


def _clients(lookup: Lookup, family: IPFamily) -> Iterator[_Client]:
    way = entrance(lookup.cluster, family)
    if way is None:
        return
    for host in sampling.spread(lookup.cluster.internet, MAX_CLIENTS):
        if sampling.address_of(host, family) is not None:
            # nothing seen: it can't be told under which address
            flow = Flow(Location(host), way.address, way.http)
            found = promise(lookup, flow)
            yield _Client(host, way, family, found.sources, found.kept_out)


# -- what must come of it --------------------------------------------------------------------------


def _request_checks(
    lookup: Lookup,
    clients: tuple[_Client, ...],
    request: _Request,
    decision: Decision,
    *,
    is_first: bool,
) -> Iterator[Check | Skip]:
    restricted = decision.ingress is not None and is_restricted(decision.ingress)
    for client in clients if restricted else clients[:1]:
        if decision.ingress is not None and len(_verdicts(decision.ingress, client)) != 1:
            reason = "which address nginx sees of the client can't be told"
            yield Skip(f"{request.url} from {client.host.name}", reason)
            continue
        check = _check(lookup, client, request, decision, is_first=is_first)
        is_first = is_first and not (isinstance(check, Check) and check.kind == ROUTE)
        yield check


def _verdicts(ingress: Ingress, client: _Client) -> set[bool]:
    """Whether the client is let in, by the addresses that it may have."""
    if not is_restricted(ingress):
        return {True}
    return {admits(ingress, address) for address in client.seen}


def _check(
    lookup: Lookup, client: _Client, request: _Request, decision: Decision, *, is_first: bool
) -> Check | Skip:
    count = 1
    kind, expected, expectation = _refusal(lookup, client, request, decision)
    if expectation is None:
        backends = backends_of(lookup, decision)
        if any(_answers(backend) is not True for backend in backends):
            return Skip(request.url, "who answers can't be read from some of its endpoints")
        if reason := _kept_from(lookup, backends):
            return Skip(request.url, reason)
        count = requests_to_see_all(len(backends)) if is_first else 1
        names = tuple(dict.fromkeys(backend.name for backend in backends))
        expectation = Expectation(
            status=200,
            backends=names,
            cover=Cover.ALL if is_first else Cover.SUBSET,
            headers=_promised(client, request),
        )
        expected = f"{decision.words}: {', '.join(names[:4])}{_forwarded(client)}"
    source = Location(client.host)
    way = client.entrance
    port = way.https if request.scheme == "https" else way.http
    ask = Http(
        way.address, port, count=count, path=request.written, host=request.host,
        scheme=request.scheme, headers=_HEADERS,
    )  # fmt: skip
    suffix = sampling.family_suffix(lookup.cluster, client.family)
    name = arrow(source, request.url, suffix)
    return Check(PATH, kind, name, source, request.url, expected, (Step(ask, expectation),))


def _refusal(
    lookup: Lookup, client: _Client, request: _Request, decision: Decision
) -> tuple[str, str, Expectation | None]:
    """LocationKind, words and answer of a request that no backend gets; no answer: one gets it."""
    if decision.ingress is None:
        return "no-rule", f"404: {decision.words}", Expectation(status=404)
    if request.scheme == "http" and redirects(lookup.cluster, request.host, decision):
        location = f"https://{request.host}{request.written}"
        return "redirect", f"308 to {location}", Expectation(status=308, location=location)
    if _verdicts(decision.ingress, client) == {False}:
        words = f"403: the lists of {decision.words} keep {', '.join(map(str, client.seen))} out"
        return "denied", words, Expectation(status=403)
    if not backends_of(lookup, decision):
        return (
            "no-endpoints",
            f"503: {decision.words} has no ready endpoint",
            Expectation(status=503),
        )
    return ROUTE, "", None


def _kept_from(lookup: Lookup, backends: tuple[Backend, ...]) -> str:
    """Why policies or faults keep one of nginx' pods from one of the backends; else nothing."""
    controller = lookup.cluster.ingress_controller
    names = controller.pods if controller is not None else ()
    flows = (
        Flow(Location(pod), backend.address, backend.port)
        for pod in lookup.cluster.pods
        if pod.full_name in names
        for backend in backends
    )
    return next(filter(None, (promise(lookup, flow).kept_out for flow in flows)), "")


def _answers(backend: Backend) -> bool | None:
    if backend.pod is None or backend.port is None:
        return None
    return serves_http(backend.pod, backend.port, Protocol.TCP)


def _promised(client: _Client, request: _Request) -> tuple[tuple[str, tuple[str, ...]], ...]:
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
