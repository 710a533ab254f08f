"""Says in plain words what a failed probe means, and what to look at. Pure but for `drift`.

it was promised to fail so    the promise's stage and reason: as it must be
the kernel is not as it was   what `up` would mend, before any theory
  made by the lab file
neither                       a theory: of the causes that fit what was seen (`theory`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from kns.cluster.ingress import why_unserved
from kns.cluster.model import Cluster
from kns.kinds.common import Protocol
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServiceType, TrafficPolicy
from kns.probe.addresses import in_url
from kns.probe.dns_names import addresses_of, asks_cluster_dns, from_hosts, service_by_dns_name
from kns.probe.failed_probe import FailedProbe, failed_probe, why_empty
from kns.probe.model import Attempt
from kns.probe.target import Target
from kns.probe.theory import theory
from kns.promise.balancer import balancer_mode
from kns.promise.discovery import why_dns_is_silent
from kns.promise.endpoints import has_dns
from kns.promise.facts import proxy_facts
from kns.promise.flow import DROPPED, Flow, Frontend, FrontendKind, Outcome, Promise, Stage, Stop
from kns.promise.location import Location, LocationKind, label
from kns.promise.lookup import Lookup, balancer_point
from kns.promise.masquerade import gateway_for
from kns.promise.promise import promise
from kns.promise.route import own_address

#: what `up` would change, in its words; asked for only where it may be the reason
Drift = Callable[[], Sequence[str]]
DRIFT_SHOWN = 3


def explain(
    lookup: Lookup,
    source: Location,
    target: Target,
    attempts: Sequence[Attempt],
    drift: Drift = tuple,
) -> str:
    """What the failure means and what to look at; empty if there is none."""
    found = failed_probe(lookup, source, target, attempts)
    if found.outcome is Outcome.CONNECTED:
        return ""
    by_hosts = _by_hosts_file(found)
    if reason := _as_promised(found):
        return f"{by_hosts}as it must be: {reason}"
    if lines := drift():
        return f"{by_hosts}{drift_words(lines, _places(found))}"
    return f"{by_hosts}{theory(found)}"


def is_by_hosts_file(cluster: Cluster, source: Location, target: Target) -> bool:
    """True if the source's own /etc/hosts gave the target's name that address."""
    named = from_hosts(cluster, source, target.hostname) if target.hostname else ()
    return target.address in named


def _by_hosts_file(found: FailedProbe) -> str:
    """That the name meant something else than a service of that name."""
    source, target = found.source, found.target
    if not is_by_hosts_file(found.lookup.cluster, source, target):
        return ""
    who = "the pod itself" if target.item is source.item else str(target.address)
    where = f"by /etc/hosts of {source.label}, {target.hostname} is {who}, not a service"
    return f"{where} (svc/{target.hostname} is one of that name); "


def _places(found: FailedProbe) -> frozenset[str]:
    """Where the packet starts, arrives and is translated, as drift names the netns."""
    ends = (found.source.item, found.target.item, found.node, found.home)
    names = {label(item).replace("/", ".") for item in ends if item is not None}
    return frozenset(names | {item.node for item in ends if isinstance(item, Pod)})


def drift_words(lines: Sequence[str], near: frozenset[str] = frozenset()) -> str:
    """What differs from the lab's file, that of the places `near` first, and what mends it."""
    ordered = sorted(lines, key=lambda line: line.partition(":")[0] not in near)
    more = f"; and {len(lines) - DRIFT_SHOWN} more" if len(lines) > DRIFT_SHOWN else ""
    return (
        "the lab is not as its file says, which kns status tells and kns up LAB.yaml mends: "
        f"{'; '.join(ordered[:DRIFT_SHOWN])}{more}"
    )


def _as_promised(found: FailedProbe) -> str:
    """Why it must fail so; empty: it must not, or not so."""
    if found.outcome is Outcome.DNS:
        return _unknown_name(found)
    promised = found.promised
    if promised is None or found.outcome not in promised.outcomes:
        return ""
    if promised.denied and promised.denied[0].ruling is None:
        return promised.denied[0].reason
    if promised.denied and (promised.stop is None or promised.stop.stage is Stage.POLICY):
        # walks through compiled rules, which nobody else here needs
        from kns.probe.policy import why_denied  # noqa: PLC0415

        return why_denied(found.lookup, promised.flow)
    assert promised.stop is not None  # noqa: S101 - else it must connect
    return _stopped(found, promised, promised.stop)


def _stopped(found: FailedProbe, promised: Promise, stop: Stop) -> str:
    """The stage's reason, with what more there is to know of it."""
    flow, frontend = promised.flow, promised.frontend
    if flow.port is None and found.lookup.has_service(flow.destination) is not None:
        return (
            "a cluster IP exists only in kube-proxy's rules, port by port: in iptables and"
            " nftables mode nothing answers ping there"
        )
    match stop.stage:
        case Stage.ROUTE:
            return _no_route(found, flow, stop)
        case Stage.TRANSLATE:
            return _not_translated(found, flow, stop)
        case Stage.MASQUERADE:
            return _not_masqueraded(found, flow, stop)
        case Stage.DELIVER if frontend is None:
            return _nobody_listens(found.target)
        case Stage.DELIVER:
            more = "is its targetPort right? Kubernetes doesn't check it"
            return f"{_named(frontend, stop.reason)}; {more}"
        case Stage.POLICY | Stage.FAULT | Stage.RULES:
            return stop.reason


def _named(frontend: Frontend | None, reason: str) -> str:
    return reason if frontend is None else f"{label(frontend.service)}: {reason}"


# -- names -----------------------------------------------------------------------------------------


def explain_name(lookup: Lookup, source: Location, name: str, drift: Drift = tuple) -> str:
    """Why a name that the source asked for did not resolve, as far as it can be told."""
    service = service_by_dns_name(lookup.cluster, source, name)
    reason = _why_unknown(lookup, source, name, service) or _cut_from_dns(lookup, source)
    if reason:
        return f"as it must be: {reason}"
    lines = drift()
    return drift_words(lines) if lines else ""


def _unknown_name(found: FailedProbe) -> str:
    source, target = found.source, found.target
    name = target.hostname or target.text
    why = _why_unknown(found.lookup, source, name, target.service)
    why = why or _cut_from_dns(found.lookup, source)
    if not why:
        return ""
    ask = f"kns dns {source.explicit} {name} shows every query and its answer"
    return f"{name} does not resolve from {source.label}: {why}; {ask}"


def _cut_from_dns(lookup: Lookup, source: Location) -> str:
    """Why not all of the source's questions to the cluster's DNS are answered; else nothing."""
    if not asks_cluster_dns(lookup.cluster, source):
        return ""
    servers = lookup.cluster.network.dns.service_ips
    reasons = (why_dns_is_silent(lookup, source, server) for server in servers)
    reason = next(filter(None, reasons), "")
    return f"the DNS does not answer all its questions: {reason}" if reason else ""


def _why_unknown(lookup: Lookup, source: Location, name: str, service: Service | None) -> str:
    """Why nobody whom the source asks knows the name; empty: somebody does."""
    cluster, domain = lookup.cluster, lookup.cluster.network.dns.domain.rstrip(".")
    if addresses_of(cluster, source, name):
        return ""
    if service is not None and service.type is ServiceType.EXTERNAL_NAME:
        alias = service.external_name
        return f"{label(service)} is an ExternalName of {alias}, and {_real_internet(lookup)}"
    if service is not None and not asks_cluster_dns(cluster, source):
        where = "the cluster's DNS" if has_dns(cluster) else "a DNS that the lab does not run"
        by_address = f"kns probe {source.label} svc/{label(service)} goes to its address"
        return f"{source.label} does not ask {where}, as pods do; {by_address}"
    if service is not None and service.headless:
        empty = why_empty(lookup, service)
        return f"{label(service)} is headless and has no ready endpoints: {empty}"
    if name.rstrip(".").endswith(f".{domain}"):
        return "the cluster has no service and no pod of that name (kns get services -A)"
    return why_unserved(cluster, name.rstrip(".")) or _real_internet(lookup)


def _real_internet(lookup: Lookup) -> str:
    hosts = [f"{h.name} ({', '.join(map(str, h.addresses))})" for h in lookup.cluster.internet]
    known = f"its hosts outside are {', '.join(hosts[:4])}" if hosts else "it has no hosts outside"
    return f"the lab has no way to the real internet: {known}"


# -- stages ----------------------------------------------------------------------------------------


def _no_route(found: FailedProbe, flow: Flow, stop: Stop) -> str:
    lookup, address = found.lookup, flow.destination
    if own_address(flow) is None:
        return stop.reason
    service = found.service
    if found.source.kind is LocationKind.INTERNET:
        if address in lookup.pods or lookup.has_service(address) is not None:
            return _inner_address(found, service)
        if service is not None:
            point = balancer_point(service, address)
            if balancer_mode(lookup.cluster, point):
                return f"{stop.reason}: {why_empty(lookup, service)}"
            return (
                f"{stop.reason}: a loadBalancer section with a pool gives the lab addresses that"
                " are routed"
            )
    options = lookup.cluster.network.load_balancer
    pools = options.pools if options is not None else ()
    if any(pool.version == address.version and address in pool for pool in pools):
        return (
            f"{address} is of the load balancer's pool, and no service has it: nobody answers for"
            " it (kns get services)"
        )
    if found.target.kind is LocationKind.INTERNET:
        return f"nobody in the lab has {address}; {_real_internet(lookup)}"
    what = {LocationKind.POD: "pod", LocationKind.SERVICE: "service", LocationKind.NODE: "node"}
    kind = what[found.target.kind]
    return f"no {kind} has {address}, and nobody else in the lab (kns get {kind}s -A -o wide)"


def _inner_address(found: FailedProbe, service: Service | None) -> str:
    if service is None:
        return (
            "a pod's address means nothing outside the cluster; use a NodePort, a LoadBalancer or"
            " an Ingress"
        )
    instead = next(_answering_node_ports(found, service), "")
    instead = (
        f"its node port answers: {instead}"
        if instead
        else ("use a NodePort, a LoadBalancer or an Ingress")
    )
    if service.type is not ServiceType.LOAD_BALANCER or service.load_balancer_ingress:
        return f"a cluster IP means nothing outside the cluster; {instead}"
    why = "no pool of the lab has one left for it"
    if found.lookup.cluster.network.load_balancer is None:
        why = "the lab has no `loadBalancer: {mode: l2, pool: [198.51.100.0/24]}`"
    return f"{label(service)} is pending, without an address outside: {why}; {instead}"


def _answering_node_ports(found: FailedProbe, service: Service) -> Iterator[str]:
    for node in found.lookup.cluster.nodes:
        for port, address in product(service.ports, node.addresses):
            flow = Flow(found.source, address, port.node_port, port.protocol)
            if port.node_port and promise(found.lookup, flow).stop is None:
                host = node.name if address == node.addresses[0] else in_url(address)
                yield f"{host}:{port.node_port}"


def _not_translated(found: FailedProbe, flow: Flow, stop: Stop) -> str:
    assert found.promised is not None  # noqa: S101 - it has the stop
    frontend, node = found.promised.frontend, found.node
    if frontend is None or node is None:
        service = found.lookup.has_service(flow.destination)
        if service is None:
            return f"no service has {flow.destination} (kns get services -A): {stop.reason}"
        ports = ", ".join(f"{port.port}/{port.protocol}" for port in service.ports)
        return f"{label(service)} has no port {flow.port}/{flow.protocol} ({ports}): {stop.reason}"
    service = frontend.service
    if service.ip_families and flow.family not in service.ip_families:
        families = " and ".join(service.ip_families)
        return f"{label(service)} has no {flow.family}: its ipFamilies are {families}"
    usable = found.lookup.endpoints(service, frontend.port, flow.family).at(node)
    if usable.is_empty:
        verb = f"{proxy_facts(found.lookup.cluster).without_endpoints} on {node.name}"
        why = why_empty(found.lookup, service)
        return f"{label(service)} has no ready endpoints, so {verb}: {why}"
    if stop.outcomes != DROPPED or usable.local or frontend.policy is not TrafficPolicy.LOCAL:
        return _named(frontend, stop.reason)
    which = "internal" if frontend.kind is FrontendKind.CLUSTER_IP else "external"
    nodes = sorted({backend.node for backend in usable.cluster if backend.node})
    return (
        f"{which}TrafficPolicy of {label(service)} is Local and {node.name} has no ready endpoint:"
        f" dropped; {', '.join(nodes)} {'has' if len(nodes) == 1 else 'have'} some"
    )


def _not_masqueraded(found: FailedProbe, flow: Flow, stop: Stop) -> str:
    egress, pod = found.lookup.cluster.network.egress, found.source.item
    if not isinstance(pod, Pod) or gateway_for(found.lookup, pod, flow.destination) is not None:
        return stop.reason
    why = "egress.masquerade is off"
    if egress.masquerade:
        why = f"{flow.destination} is among egress.nonMasqueradeCIDRs"
    return f"{why}: {stop.reason}"


def _port(number: int | None, protocol: Protocol | None) -> str:
    """`80`, or `53/UDP` where the protocol is to be told."""
    return f"{number}/{protocol}" if protocol else str(number)


def _nobody_listens(target: Target) -> str:
    other = target.protocol if target.protocol is not Protocol.TCP else None
    there = f"{target.label} is there, but nothing listens on port {_port(target.port, other)}"
    if target.kind is LocationKind.NODE:
        return f"{there}, and no service has that node port"
    if not isinstance(target.item, Pod):
        return there
    found = [(port, container) for container in target.item.containers for port in container.ports]
    same = [(port, container) for port, container in found if port.protocol is target.protocol]
    ports = [
        f"{_port(port.port, None if same and not other else port.protocol)}"
        f" ({port.name or container.name})"
        for port, container in same or found
    ]
    return f"{there}; it listens on {', '.join(ports) if ports else 'no port'}"
