"""`kns probe`: one source, one target; real ping and curl; who answered, and how it went."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.errors import KnsError, UsageError
from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.probe import ingress
from kns.probe.addresses import in_url, owners
from kns.probe.ask import curl, datagram
from kns.probe.ask import ping as pinging
from kns.probe.ask.places import Places
from kns.probe.diagnose import explain
from kns.probe.identify import identify
from kns.probe.model import Attempt, PingResult, ProbeResult, overall
from kns.probe.target import (
    DEFAULT_PATH,
    Target,
    TargetOptions,
    parse_source,
    parse_target,
    path_of,
)
from kns.promise.addresses import CLOUD_LB
from kns.promise.flow import Outcome
from kns.promise.location import Location, LocationKind
from kns.promise.lookup import Lookup

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


def probe(
    cluster: Cluster, places: Places, source: str, target: str, options: ProbeOptions
) -> ProbeResult:
    """Probe and explain. UsageError for names that mean nothing; a failed probe is a result."""
    start = parse_source(cluster, source)
    is_icmp = options.protocol == ICMP
    if is_icmp and options.port:
        raise UsageError("ICMP has no ports", hint="leave out --port")
    protocol = Protocol.TCP if is_icmp else Protocol(options.protocol.upper())
    wish = TargetOptions(options.port, protocol)
    goal = ingress.ingress_target(cluster, target, wish) or parse_target(
        cluster, start, target, wish
    )
    known = owners(cluster)
    if is_icmp or goal.port is None:
        return _ping_only(cluster, places, start, goal, options.count)
    echo = None if options.source_port else _Echo(places, start, goal)
    attempts = _connect(places, start, goal, options)
    goal = _reached(cluster, start, goal, attempts)
    attempts = tuple(identify(attempt, known) for attempt in attempts)
    return ProbeResult(
        source=start.label,
        target=goal.text,
        path=path_of(start, goal),
        outcome=overall(tuple(attempt.outcome for attempt in attempts)),
        reason=explain(cluster, start, goal, attempts),
        address=goal.address,
        attempts=attempts,
        ping=echo.result() if echo is not None else None,
        owners=known,
        candidates=candidates(cluster, start, goal),
        notes=_notes(cluster, start, goal, attempts),
        protocol=options.protocol,
        port=goal.port,
        hostname=goal.hostname,
    )


def _ping_only(
    cluster: Cluster, places: Places, start: Location, goal: Target, count: int
) -> ProbeResult:
    if not goal.address:
        raise UsageError(f"{goal.text!r} has no address to ping", hint="name a pod, node or IP")
    known = owners(cluster)
    result = pinging.ping(goal.address, places.context(start), count=count)
    attempts = pinging.attempts(result, known.get(goal.address, goal.label))
    reason = explain(cluster, start, goal, attempts, is_echo=True)
    if goal.kind is LocationKind.SERVICE and result.outcome is not Outcome.CONNECTED:
        reason = (
            "a cluster IP exists only in kube-proxy's rules, port by port: in iptables and"
            " nftables mode nothing answers ping there"
        )
    return ProbeResult(
        source=start.label,
        target=goal.text,
        path=path_of(start, goal),
        outcome=result.outcome,
        reason=reason,
        address=goal.address,
        attempts=attempts,
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
        if is_host and goal.address and goal.item is not start.item:
            arguments = (goal.address, places, start)
            self._thread = threading.Thread(target=self._ping, args=arguments, daemon=True)
            self._thread.start()

    def _ping(self, address: str, places: Places, start: Location) -> None:
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
    places: Places, start: Location, goal: Target, options: ProbeOptions
) -> tuple[Attempt, ...]:
    assert goal.port is not None  # noqa: S101 - the caller pings otherwise
    if goal.protocol is not Protocol.TCP:
        if not goal.address:
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
    return curl.get(_request(goal, options, places.trusted), context)


def _reached(
    cluster: Cluster, start: Location, goal: Target, attempts: tuple[Attempt, ...]
) -> Target:
    """The target with the address that its name led to: a name with several leads to curl's choice.

    A name that says nothing of the lab is whoever has that address.
    """
    address = next((attempt.server_address for attempt in attempts if attempt.server_address), "")
    if not goal.hostname or not address:
        return goal
    if goal.item is not None:
        return replace(goal, address=address)
    owner = parse_target(cluster, start, address, TargetOptions(str(goal.port)))
    return replace(goal, address=address, kind=owner.kind, item=owner.item, service=owner.service)


def _request(goal: Target, options: ProbeOptions, trusted: str) -> curl.CurlRequest:
    request = curl.CurlRequest(
        url=goal.url or f"http://{in_url(goal.host)}:{goal.port}{DEFAULT_PATH}",
        count=options.count,
        connect_timeout=options.timeout,
        timeout=options.timeout + 2.0,
        # to a path that means something else kns' own server then says who it is, too
        headers=(f"{WHOAMI_HEADER}: 1",),
        ca_file=trusted,
        source_port=options.source_port,
    )
    if goal.by_ingress:
        request = replace(request, connect_to=(f"::{in_url(goal.address)}:{goal.port}",))
    elif goal.url and goal.address and not goal.hostname:
        # a URL by the name of an object: pinned to its address, since no resolver knows it
        host = urlsplit(goal.url).hostname
        request = replace(request, resolve=(f"{host}:{goal.port}:{goal.address}",))
    return request


def candidates(cluster: Cluster, start: Location, goal: Target) -> tuple[str, ...]:
    """All backends that may answer, so that the share shows those that did not."""
    if goal.by_ingress:
        return ingress.candidates(cluster, goal)
    node = _node(cluster, start, goal)
    if goal.service is None or node is None:
        return ()
    for port in goal.service.ports:
        number = port.node_port if goal.kind is LocationKind.NODE else port.port
        if number == goal.port and port.protocol is goal.protocol:
            family = IPFamily.IPV6 if ":" in goal.address else IPFamily.IPV4
            backends = Lookup(cluster).endpoints(goal.service, port, family).at(node).cluster
            return tuple(backend.name for backend in backends)
    return ()


def _node(cluster: Cluster, start: Location, goal: Target) -> Node | None:
    for item in (goal.item, start.item):
        if isinstance(item, Node):
            return item
    if isinstance(start.item, Pod):
        return Lookup(cluster).node_of(start.item)
    return cluster.nodes[0] if cluster.nodes else None


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
        own |= set(map(str, start.item.addresses))
    seen = sorted({a.client_address_seen for a in attempts if a.client_address_seen})
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


def _translated(owner: str, address: str, start: Location) -> str:
    if owner == CLOUD_LB:
        return f"the server saw {address} ({owner}): the connection is the proxy's own"
    is_node = isinstance(start.item, Pod) and start.item.host_network
    if is_node or start.kind is LocationKind.NODE:
        return f"the server saw {address} ({owner}): the address of the link by which it left"
    return f"the server saw {address} ({owner}): masqueraded, {start.label} is hidden"
