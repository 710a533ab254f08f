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
from ipaddress import ip_address
from urllib.parse import quote, unquote

from kns.addresses import IPFamily
from kns.cluster.ingress import Entrance, entrance, served
from kns.cluster.model import Cluster, InternetHost
from kns.kinds.ingress import Ingress, IngressPath, PathType
from kns.promise import sampling
from kns.promise.balancers import seen_by_backends
from kns.promise.check import Check, Cover, Expectations, Http, Resolve, Skip, Step, Want
from kns.promise.chisquare import requests_to_see_all
from kns.promise.endpoints import Backend, serves_http
from kns.promise.external import for_outsider
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
from kns.promise.location import Location, LocationKind
from kns.promise.pods import suffix
from kns.promise.service_steps import addresses_seen

PATH = "internet-to-ingress"
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
    """A host outside, the door that it uses, and the addresses under which nginx may see it."""

    host: InternetHost
    door: Entrance
    family: IPFamily
    seen: tuple[str, ...]


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


def ingress_checks(cluster: Cluster) -> Expectations:
    """The checks of the Ingress controller: nothing where the lab has none."""
    found = Expectations()
    if cluster.ingress_controller is None:
        return found
    every = tuple(_requests(cluster))
    requests = sampling.spread(every, MAX_REQUESTS)
    if len(requests) < len(every):
        left_out = len(every) - len(requests)
        reason = f"{len(requests)} of {len(every)} requests are tried"
        found.skips.append(Skip("requests to Ingresses", reason, left_out))
    found.checks += _names(cluster)
    for family in cluster.network.families:
        clients = tuple(_clients(cluster, family))
        if not clients:
            what = f"requests to Ingresses over {family}"
            reason = "nobody outside has a way to the controller's Service"
            found.skips.append(Skip(what, reason, len(requests)))
            continue
        thorough: set[tuple[str, str]] = set()
        chosen = requests if family is cluster.network.families[0] else requests[:MAX_CLIENTS]
        for request in chosen:
            _add(found, cluster, clients, request, thorough)
    return found


def _names(cluster: Cluster) -> Iterator[Check]:
    """The lab's internet knows where the hosts are; a user's own upstream need not."""
    doors = (entrance(cluster, family) for family in cluster.network.families)
    addresses = tuple(str(door.address) for door in doors if door is not None)
    if cluster.network.dns.upstream or not cluster.internet or not addresses:
        return
    source = Location(LocationKind.INTERNET, cluster.internet[0])
    hosts = dict.fromkeys(
        rule.host for ingress in served(cluster) for rule in ingress.rules if rule.host
    )
    for host in sampling.spread(tuple(hosts), MAX_NAMES):
        name = f"{host.replace('*', 'kns', 1)}."
        expected = f"{name}: {', '.join(addresses)}"
        step = Step(Resolve(name), Want(records=addresses))
        check_id = f"{PATH}/name/{source.label}->{host}"
        yield Check(check_id, PATH, source, host, expected, (step,))


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


def _clients(cluster: Cluster, family: IPFamily) -> Iterator[_Client]:
    door = entrance(cluster, family)
    if door is None:
        return
    for host in sampling.spread(cluster.internet, MAX_CLIENTS):
        own = next((a for a in host.addresses if a.version == family.version), None)
        if own is not None:
            yield _Client(host, door, family, _seen(cluster, door, family, str(own)))


def _seen(cluster: Cluster, door: Entrance, family: IPFamily, client: str) -> tuple[str, ...]:
    """The addresses under which the controller may see the client; nothing: it can't be told."""
    port = door.service.ports[0]
    if door.node is None:
        return seen_by_backends(cluster, door.service, port, door.address, ip_address(client))
    return addresses_seen(for_outsider(cluster, (door.service, port, family), door.node, client))


# -- what must come of it --------------------------------------------------------------------------


def _add(
    found: Expectations,
    cluster: Cluster,
    clients: tuple[_Client, ...],
    request: _Request,
    thorough: set[tuple[str, str]],
) -> None:
    decision = decide(cluster, request.host, request.path)
    restricted = decision.ingress is not None and is_restricted(decision.ingress)
    for client in clients if restricted else clients[:1]:
        if decision.ingress is not None and len(_verdicts(decision.ingress, client)) != 1:
            reason = "which address nginx sees of the client can't be told"
            found.skips.append(Skip(f"{request.url} from {client.host.name}", reason))
            continue
        check = _check(cluster, client, request, decision, thorough)
        if check is None:
            reason = "who answers can't be read from some of its endpoints"
            found.skips.append(Skip(request.url, reason))
        else:
            found.checks.append(check)


def _verdicts(ingress: Ingress, client: _Client) -> set[bool]:
    """Whether the client is let in, by the addresses that it may have."""
    if not is_restricted(ingress):
        return {True}
    return {admits(ingress, address) for address in client.seen}


def _check(
    cluster: Cluster,
    client: _Client,
    request: _Request,
    decision: Decision,
    thorough: set[tuple[str, str]],
) -> Check | None:
    count = 1
    kind, expected, want = _refusal(cluster, client, request, decision)
    if want is None:
        backends = backends_of(cluster, decision)
        if any(_answers(backend) is not True for backend in backends):
            return None
        assert decision.ingress is not None  # noqa: S101 - it has backends
        assert decision.backend is not None  # noqa: S101
        key = (decision.ingress.namespace, decision.backend.service)
        first = key not in thorough and sampling.is_small(cluster)
        thorough.add(key)
        count = requests_to_see_all(len(backends)) if first else 1
        names = tuple(dict.fromkeys(backend.name for backend in backends))
        cover = Cover.ALL if first else Cover.SUBSET
        want = Want(status=200, backends=names, cover=cover, headers=_promised(client, request))
        expected = f"{decision.words}: {', '.join(names[:4])}{_forwarded(client)}"
    source = Location(LocationKind.INTERNET, client.host)
    place = str(client.door.address)
    port = client.door.https if request.scheme == "https" else client.door.http
    ask = Http(
        place, port, count=count, path=request.written, host=request.host,
        scheme=request.scheme, headers=_HEADERS,
    )  # fmt: skip
    end = suffix(cluster, client.family)
    name = f"{PATH}/{kind}/{source.label}->{request.url}{end}"
    return Check(name, PATH, source, request.url, expected, (Step(ask, want),))


def _refusal(
    cluster: Cluster, client: _Client, request: _Request, decision: Decision
) -> tuple[str, str, Want | None]:
    """LocationKind, words and answer of a request that no backend gets; no answer: one gets it."""
    if decision.ingress is None:
        return "no-rule", f"404: {decision.words}", Want(status=404)
    if request.scheme == "http" and redirects(cluster, request.host, decision):
        location = f"https://{request.host}{request.written}"
        return "redirect", f"308 to {location}", Want(status=308, location=location)
    if _verdicts(decision.ingress, client) == {False}:
        words = f"403: the lists of {decision.words} keep {', '.join(client.seen)} out"
        return "denied", words, Want(status=403)
    if not backends_of(cluster, decision):
        return "no-endpoints", f"503: {decision.words} has no ready endpoint", Want(status=503)
    return "route", "", None


def _answers(backend: Backend) -> bool | None:
    from kns.kinds.common import Protocol

    if backend.pod is None:
        return None
    return serves_http(backend.pod, backend.port, Protocol.TCP)


def _promised(client: _Client, request: _Request) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The headers that the backend must get, whatever the client has sent."""
    port = "443" if request.scheme == "https" else "80"
    about_client = (
        (("x-forwarded-for", client.seen), ("x-real-ip", client.seen)) if client.seen else ()
    )
    return (
        *about_client,
        ("x-forwarded-host", (request.host,)),
        ("x-forwarded-proto", (request.scheme,)),
        ("x-forwarded-port", (port,)),
    )


def _forwarded(client: _Client) -> str:
    if not client.seen:
        return ""
    return f", X-Forwarded-For is {' or '.join(client.seen[:3])}"
