"""`kns probe`: one source, one target; real ping and curl; who answered, and how it went."""

from __future__ import annotations

import shlex
import threading
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from kns.addresses import IPAddress, IPFamily
from kns.cluster.ingress import CONNECT_SECONDS, TRIES
from kns.cluster.model import Cluster
from kns.errors import KnsError, UsageError
from kns.kinds.common import Protocol
from kns.kinds.pod import Pod
from kns.probe import ingress
from kns.probe.addresses import in_url, owners
from kns.probe.ask import curl, datagram
from kns.probe.ask import ping as pinging
from kns.probe.ask.places import Places
from kns.probe.diagnose import Drift, explain, is_by_hosts_file
from kns.probe.identify import identify
from kns.probe.model import Attempt, PingResult, ProbeResult, overall
from kns.probe.target import (
    DEFAULT_PATH,
    Target,
    TargetOptions,
    leads_to_api,
    parse_source,
    parse_target,
    path_of,
)
from kns.promise.addresses import CLOUD_LB
from kns.promise.flow import Outcome
from kns.promise.location import Location, LocationKind
from kns.promise.lookup import Lookup
from kns.promise.promise import promise

ICMP = "icmp"
#: the built-in server answers it with who it is (kns.agent.serve.netexec)
WHOAMI_HEADER = "X-Kns-Whoami"
#: Linux sends one client at most 6 ICMP errors at once and one a second after (icmp_ratelimit)
ICMP_BURST = 6


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """What `kns probe` was asked for besides source and target."""

    port: str = ""
    #: tcp, udp, sctp or icmp
    protocol: str = "tcp"
    count: int = 1
    #: seconds to wait for a connection or an answer
    timeout: float = 2.0
    #: the client's port; 0: the kernel chooses. With one, no ping goes beside the connection
    source_port: int = 0


@dataclass(frozen=True, slots=True)
class Unexplained:
    """What a probe found, before anybody asks why it failed."""

    lookup: Lookup
    source: Location
    target: Target
    result: ProbeResult

    def explain(self, drift: Drift = tuple) -> ProbeResult:
        """The result with its reason, if it failed."""
        reason = explain(self.lookup, self.source, self.target, self.result.attempts, drift)
        return replace(self.result, reason=reason)


def probe(
    cluster: Cluster, places: Places, source: str, target: str, options: ProbeOptions
) -> ProbeResult:
    """Probe and explain. UsageError for names that mean nothing; a failed probe is a result."""
    return ask(cluster, places, source, target, options).explain(places.drift)


def ask(
    cluster: Cluster, places: Places, source: str, target: str, options: ProbeOptions
) -> Unexplained:
    """Probe. UsageError for names that mean nothing."""
    start = parse_source(cluster, source)
    is_icmp = options.protocol == ICMP
    if is_icmp and options.port:
        raise UsageError("ICMP has no ports", hint="leave out --port")
    protocol = Protocol.TCP if is_icmp else Protocol(options.protocol.upper())
    wish = TargetOptions(options.port, protocol)
    goal = ingress.ingress_target(cluster, target, wish) or parse_target(
        cluster, start, target, wish
    )
    lookup, known = Lookup(cluster), owners(cluster)
    if is_icmp or goal.port is None:
        goal = replace(goal, port=None)
        result = _ping_only(known, places, start, goal, options.count)
    else:
        echo = None if options.source_port else _Echo(places, start, goal)
        attempts = _connect(cluster, places, start, goal, options)
        goal = _reached(cluster, start, goal, attempts)
        attempts = tuple(identify(attempt, known) for attempt in attempts)
        result = ProbeResult(
            source=start.label,
            target=goal.text,
            path=path_of(start, goal),
            outcome=overall(tuple(attempt.outcome for attempt in attempts)),
            reason="",
            address=goal.address,
            attempts=attempts,
            ping=echo.result() if echo is not None else None,
            owners=known,
            candidates=candidates(lookup, start, goal),
            notes=_notes(cluster, start, goal, attempts),
            protocol=options.protocol,
            port=goal.port,
            hostname=goal.hostname,
            by_hosts_file=is_by_hosts_file(cluster, start, goal),
            server=ingress.SERVER if goal.by_ingress else "",
        )
    command = (
        ""
        if result.outcome in (Outcome.CONNECTED, Outcome.DNS)
        else _trace(source, target, result.protocol, options.port)
    )
    return Unexplained(lookup, start, goal, replace(result, trace=command))


def _trace(source: str, target: str, protocol: str, port: str) -> str:
    """The command that shows the packet's way."""
    if protocol == "sctp":
        return ""
    chosen = ["--port", port] if port else []
    chosen += ["--proto", protocol] if protocol != "tcp" else []
    return shlex.join(["kns", "trace", source, target, *chosen])


def _ping_only(
    known: dict[IPAddress, str], places: Places, start: Location, goal: Target, count: int
) -> ProbeResult:
    if goal.address is None:
        raise UsageError(f"{goal.text!r} has no address to ping", hint="name a pod, node or IP")
    result = pinging.ping(goal.address, places.context(start), count=count)
    return ProbeResult(
        source=start.label,
        target=goal.text,
        path=path_of(start, goal),
        outcome=result.outcome,
        reason="",
        address=goal.address,
        attempts=pinging.attempts(result, known.get(goal.address, goal.label)),
        ping=result,
        owners=known,
        protocol=ICMP,
    )


class _Echo:
    """One ping beside the curl, where the target is a host: it tells routing from the rest."""

    def __init__(self, places: Places, start: Location, goal: Target) -> None:
        self._found: PingResult | None = None
        self._thread: threading.Thread | None = None
        is_host = goal.service is None and goal.kind is not LocationKind.SERVICE
        if is_host and goal.address is not None and goal.item is not start.item:
            arguments = (goal.address, places, start)
            self._thread = threading.Thread(target=self._ping, args=arguments, daemon=True)
            self._thread.start()

    def _ping(self, address: IPAddress, places: Places, start: Location) -> None:
        try:
            self._found = pinging.ping(address, places.context(start))
        except KnsError as error:  # the curl tells what there is to tell
            self._found = PingResult(address, Outcome.OTHER, 0, 0, None, error.message)

    def result(self) -> PingResult | None:
        """What ping said; None where there was nothing to ping."""
        if self._thread is not None:
            self._thread.join()
        return self._found


def _connect(
    cluster: Cluster, places: Places, start: Location, goal: Target, options: ProbeOptions
) -> tuple[Attempt, ...]:
    assert goal.port is not None  # noqa: S101 - the caller pings otherwise
    if goal.protocol is not Protocol.TCP:
        if goal.address is None:
            raise UsageError(
                f"{goal.text!r}: only TCP probes resolve names", hint="use its address"
            )
        request = datagram.Datagram(
            netns=places.netns_of(start),
            address=goal.address,
            port=goal.port,
            count=options.count,
            timeout=options.timeout,
            source_port=options.source_port,
        )
        return datagram.udp(request) if goal.protocol is Protocol.UDP else datagram.sctp(request)
    context = places.resolving_context(start) if goal.hostname else places.context(start)
    return curl.get(_request(cluster, goal, options, places.trusted), context)


def _reached(
    cluster: Cluster, start: Location, goal: Target, attempts: tuple[Attempt, ...]
) -> Target:
    """The target with the address that its name led to: a name with several leads to curl's choice.

    A name that says nothing of the lab is whoever has that address.
    """
    if not goal.hostname:
        return goal
    addresses = (attempt.server_address or attempt.tried for attempt in attempts)
    address = next((item for item in addresses if item is not None), None)
    if goal.item is not None or address is None:
        return replace(goal, address=address)
    owner = parse_target(cluster, start, str(address), TargetOptions(str(goal.port)))
    return replace(goal, address=address, kind=owner.kind, item=owner.item, service=owner.service)


def _request(
    cluster: Cluster, goal: Target, options: ProbeOptions, trusted: str
) -> curl.CurlRequest:
    scheme = "https" if leads_to_api(cluster, goal) else "http"
    request = curl.CurlRequest(
        url=goal.url or f"{scheme}://{in_url(goal.host)}:{goal.port}{DEFAULT_PATH}",
        count=options.count,
        connect_timeout=options.timeout,
        timeout=options.timeout + 2.0,
        # to a path that means something else kns' own server then says who it is, too
        headers=(f"{WHOAMI_HEADER}: 1",),
        ca_file=trusted,
        source_port=options.source_port,
    )
    if goal.by_ingress:
        # nginx says 504 after it has waited for endpoints that stay silent
        patience = request.timeout + TRIES * CONNECT_SECONDS
        place = f"::{in_url(str(goal.address))}:{goal.port}"
        request = replace(request, timeout=patience, connect_to=(place,))
    elif goal.url and goal.address is not None and not goal.hostname:
        # a URL by the name of an object: pinned to its address, since no resolver knows it
        host = urlsplit(goal.url).hostname
        request = replace(request, resolve=(f"{host}:{goal.port}:{goal.address}",))
    return request


def candidates(lookup: Lookup, start: Location, goal: Target) -> tuple[str, ...]:
    """All backends that may answer, so that the share shows those that did not."""
    if goal.by_ingress:
        return ingress.candidates(lookup, goal)
    service = goal.service
    if service is not None and service.headless and goal.address is not None:
        family = IPFamily.of(goal.address)
        ports = (port for port in service.ports if port.port == goal.port)
        ready = (b for port in ports for b in lookup.endpoints(service, port, family).ready)
        return tuple(dict.fromkeys(backend.name for backend in ready))
    flow = goal.flow(start)
    promised = promise(lookup, flow) if flow is not None else None
    if promised is None or promised.frontend is None:
        return ()
    return promised.names


def _notes(
    cluster: Cluster, start: Location, goal: Target, attempts: tuple[Attempt, ...]
) -> tuple[str, ...]:
    """What the addresses mean: translated or not, and by whom."""
    if goal.by_ingress:
        return ingress.notes(cluster, goal, attempts)
    notes: list[str] = []
    known = owners(cluster)
    own = {address for address, owner in known.items() if owner == start.label}
    if isinstance(start.item, Pod):
        own |= set(start.item.addresses)
    seen = sorted({a.client_address_seen for a in attempts if a.client_address_seen}, key=str)
    if goal.item is start.item and goal.kind is LocationKind.POD and start.kind is LocationKind.POD:
        notes.append("over loopback: the containers of a pod share one network namespace")
    elif seen and all(address in own for address in seen):
        notes.append(f"the server saw {start.label}'s own address: no source NAT")
    else:
        translated = [address for address in seen if address not in own]
        notes += [_translated(known.get(a, "somebody"), a, start) for a in translated[:3]]
    refused = [a for a in attempts if a.outcome is Outcome.REFUSED]
    if len(refused) >= ICMP_BURST < len(attempts):
        notes.append(
            f"Linux sends a client {ICMP_BURST} ICMP errors at once and then one a second"
            " (icmp_ratelimit): later refusals come late or look like timeouts"
        )
    return tuple(notes)


def _translated(owner: str, address: IPAddress, start: Location) -> str:
    if owner == CLOUD_LB:
        return f"the server saw {address} ({owner}): the connection is the proxy's own"
    is_node = isinstance(start.item, Pod) and start.item.host_network
    if is_node or start.kind is LocationKind.NODE:
        return f"the server saw {address} ({owner}): the address of the link by which it left"
    return f"the server saw {address} ({owner}): masqueraded, {start.label} is hidden"
