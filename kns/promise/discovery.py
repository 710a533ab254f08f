"""What Kubernetes promises of names and environment variables: service discovery. Pure.

Written from the Kubernetes DNS specification 1.1.0 and the documentation of Service environment
variables, not from the zone that kns serves: else a mistake in that would prove itself right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from kns.addresses import IPAddress, IPFamily
from kns.cluster.ingress import serves_host
from kns.cluster.model import Cluster
from kns.cluster.podfiles import pod_hostname
from kns.kinds.common import DNS_PORT, Protocol
from kns.kinds.endpointslice import EndpointPort
from kns.kinds.pod import DNSConfig, Pod
from kns.kinds.service import Service, ServiceType
from kns.promise.check import (
    Check,
    Expectation,
    Http,
    Resolve,
    Skip,
    Step,
    Variables,
    arrow,
)
from kns.promise.endpoints import has_dns, is_dns, serves_http, workloads
from kns.promise.flow import Flow
from kns.promise.location import Location, label
from kns.promise.lookup import Lookup
from kns.promise.pods import loopback_of
from kns.promise.promise import promise
from kns.promise.sampling import spread

NAMES = "name-resolution"
ENVIRONMENT = "environment"
#: pairs of a namespace and a service that are tried in every legal form
PAIRS_MAX = 100
#: pods whose variables are looked at
PODS_MAX = 100


def discovery_checks(lookup: Lookup) -> Iterator[Check | Skip]:
    """The checks of cluster DNS, if the lab has it, and of the pods' variables."""
    cluster = lookup.cluster
    if has_dns(cluster):
        yield from _names(lookup)
    yield from _aliases(cluster)
    environments = list(_environments(cluster))
    yield from spread(environments, PODS_MAX)
    if len(environments) > PODS_MAX:
        yield Skip(ENVIRONMENT, "a sample of the pods", len(environments) - PODS_MAX)


def _names(lookup: Lookup) -> Iterator[Check | Skip]:
    cluster = lookup.cluster
    found = _askers(cluster)
    kept_out = {pod.namespace: reason for pod in found if (reason := _kept_from_dns(lookup, pod))}
    for namespace, reason in kept_out.items():
        yield Skip(NAMES, f"namespace {namespace}: {reason}")
    askers = tuple(pod for pod in found if pod.namespace not in kept_out)
    if not askers:
        if not kept_out:
            yield Skip(NAMES, "no pod asks cluster DNS (dnsPolicy, dnsConfig)")
        return
    pairs = [(pod, service) for pod in askers for service in cluster.services]
    chosen = spread(pairs, PAIRS_MAX)
    if len(chosen) < len(pairs):
        yield Skip(NAMES, "a sample of the services", len(pairs) - len(chosen))
    outside = _silent_upstream(lookup)
    for pod, service in chosen:
        yield _forms(cluster, pod, service, with_upstream=not outside)
    first = askers[0]
    for service in {service.full_name: service for _, service in chosen}.values():
        yield from _srv(cluster, first, service)
        yield from _reverse(cluster, first, service)
    yield from _pod_records(cluster, first)
    yield from _servers(lookup, first)
    yield from _outside(lookup, first)
    yield _unknown(cluster, first)


def _askers(cluster: Cluster) -> tuple[Pod, ...]:
    """One pod of each namespace that asks as kubelet has it ask by default.

    With hostAliases it has names of its own, and may have others' among them.
    """
    first: dict[str, Pod] = {}
    for pod in workloads(cluster):
        if pod.asks_cluster_dns and pod.dns_config == DNSConfig() and not pod.host_aliases:
            first.setdefault(pod.namespace, pod)
    return tuple(first.values())


def _kept_from_dns(lookup: Lookup, pod: Pod) -> str:
    """Why some of the pod's questions to the cluster's DNS are not answered; else nothing."""
    addresses = lookup.cluster.network.dns.service_ips
    return next(filter(None, (_unanswered(lookup, pod, each) for each in addresses)), "")


def _unanswered(lookup: Lookup, pod: Pod, address: IPAddress) -> str:
    if pod.address(IPFamily.of(address)) is None:
        return ""
    return why_dns_is_silent(lookup, Location(pod), address)


def why_dns_is_silent(lookup: Lookup, source: Location, address: IPAddress) -> str:
    """Why not all questions to the DNS server at the address are answered; else nothing.

    Policies and faults may keep them from there, or kube-dns has no endpoint that is ready.
    """
    promised = promise(lookup, Flow(source, address, DNS_PORT, Protocol.UDP))
    if promised.answers or promised.stop is None:
        return promised.kept_out
    return promised.stop.reason


# -- names of services -----------------------------------------------------------------------------


def _forms(cluster: Cluster, pod: Pod, service: Service, *, with_upstream: bool) -> Check:
    """Each form of a service's name.

    What has no address in any search domain is asked of the upstream at last, as the name of a top
    level domain (`db.`): if that is silent, the C library has no answer instead of a negative one.
    """
    names = _legal_forms(cluster, pod, service)
    addresses = _addresses(cluster, service)
    if not (addresses or with_upstream or service.type is ServiceType.EXTERNAL_NAME):
        names = tuple(name for name in names if name.rstrip(".").endswith(f".{_zone(cluster)}"))
    steps = [Step(Resolve(name), _records(addresses)) for name in names]
    expected = f"{', '.join(names)}: {', '.join(addresses) or 'no address'}"
    if service.type is ServiceType.EXTERNAL_NAME:
        target = f"{service.external_name.rstrip('.')}."
        want = _records((target,))
        steps = [Step(Resolve(name, "CNAME"), want) for name in names]
        if with_upstream and (known := _internet_names(cluster).get(target)):
            steps += [Step(Resolve(name), _records(_texts(known))) for name in names]
        expected = f"{', '.join(names)}: CNAME {target}"
    return _check("forms", pod, label(service), expected, steps)


def _legal_forms(cluster: Cluster, pod: Pod, service: Service) -> tuple[str, ...]:
    """Every way to write the service's name that leads to it from the pod's namespace.

    `a.b` is tried in the pod's own namespace first: if that has a service b, it could be b's
    endpoint a. The pod's own hosts file answers before DNS is asked: its hostname is the pod.
    """
    own = {other.name for other in cluster.services if other.namespace == pod.namespace}
    zone = _zone(cluster)
    full = f"{service.name}.{service.namespace}.svc"
    in_hosts_file = service.name in (pod_hostname(pod), "localhost")
    forms = [service.name] if service.namespace == pod.namespace and not in_hosts_file else []
    if service.namespace not in own:
        forms.append(f"{service.name}.{service.namespace}")
    if "svc" not in own:
        forms.append(full)
    return (*forms, f"{full}.{zone}", f"{full}.{zone}.")


def _addresses(cluster: Cluster, service: Service) -> tuple[str, ...]:
    """What an address query gives: the cluster IPs, or every ready endpoint."""
    if not service.headless:
        return _texts(service.cluster_ips)
    return tuple(dict.fromkeys(str(entry.address) for entry in _endpoints(cluster, service)))


def _srv(cluster: Cluster, pod: Pod, service: Service) -> Iterator[Check]:
    """Each named port: where it is, in equal shares of 100."""
    zone = _zone(cluster)
    name = f"{service.name}.{service.namespace}.svc.{zone}."
    if service.type is ServiceType.EXTERNAL_NAME:
        return
    for port in service.ports:
        if not port.name:
            continue
        if service.headless:
            places = [
                (f"{entry.label}.{name}", entry_port.port)
                for entry in _endpoints(cluster, service)
                for entry_port in entry.ports
                if (entry_port.name, entry_port.protocol) == (port.name, port.protocol)
            ]
        else:
            places = [(name, port.port) for _ in service.cluster_ips]
        weight = max(1, 100 // len(places)) if places else 0
        records = tuple(dict.fromkeys(f"0 {weight} {number} {at}" for at, number in places))
        question = f"_{port.name}._{port.protocol.lower()}.{name}"
        expected = f"{question} SRV: {', '.join(records) or 'none'}"
        steps = [Step(Resolve(question, "SRV"), _records(records))]
        yield _check("srv", pod, f"{label(service)}:{port.name}", expected, steps)


def _reverse(cluster: Cluster, pod: Pod, service: Service) -> Iterator[Check]:
    """From each cluster IP back to the service's name."""
    name = f"{service.name}.{service.namespace}.svc.{_zone(cluster)}."
    steps = [
        Step(Resolve(f"{address.reverse_pointer}.", "PTR"), _records((name,)))
        for address in service.cluster_ips
    ]
    if steps:
        expected = f"{', '.join(_texts(service.cluster_ips))} PTR: {name}"
        yield _check("reverse", pod, label(service), expected, steps)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One address behind a service, under the label that it has below the service's name."""

    label: str
    address: IPAddress
    ports: tuple[EndpointPort, ...]


def _endpoints(cluster: Cluster, service: Service) -> tuple[_Entry, ...]:
    """The addresses that are published: ready ones, or all if the service says so."""
    return tuple(
        _Entry(endpoint.hostname or _dashed(address), address, piece.ports)
        for piece in cluster.endpoint_slices
        if (piece.namespace, piece.service) == (service.namespace, service.name)
        for endpoint in piece.endpoints
        if endpoint.ready is not False or service.publish_not_ready_addresses
        for address in endpoint.addresses
    )


# -- hosts files -----------------------------------------------------------------------------------


def _aliases(cluster: Cluster) -> Iterator[Check]:
    """What a pod's hostAliases say; a name of several entries, or the pod's own, is left out."""
    for pod in workloads(cluster):
        entries = [(name, alias.ip) for alias in pod.host_aliases for name in alias.hostnames]
        uses = Counter(name for name, _ in entries)
        for name, address in entries:
            if uses[name] == 1 and name not in {pod.name, pod.hostname, "localhost"}:
                step = Step(Resolve(name), _records((str(address),)))
                expected = f"{name}: {address}, by hostAliases"
                yield _check("host-alias", pod, name, expected, [step])


# -- other names -----------------------------------------------------------------------------------


def _pod_records(cluster: Cluster, pod: Pod) -> Iterator[Check]:
    zone, mode = _zone(cluster), cluster.network.dns.pod_records
    name = f"{_dashed(pod.addresses[0])}.{pod.namespace}.pod.{zone}."
    records = () if mode == "disabled" else _texts(pod.addresses[:1])
    expected = f"{name}: {', '.join(records) or 'NXDOMAIN'} (podRecords: {mode})"
    steps = [Step(Resolve(name), _records(records))]
    yield _check("pod-record", pod, label(pod), expected, steps)


def _servers(lookup: Lookup, pod: Pod) -> Iterator[Check]:
    """Each DNS pod knows all names by itself, so that the loss of the others does no harm."""
    cluster = lookup.cluster
    (service, *_) = (s for s in cluster.services if s.name == "kube-dns")
    name = f"{service.name}.{service.namespace}.svc.{_zone(cluster)}."
    want = _records(_texts(service.cluster_ips))
    for server in cluster.pods:
        if is_dns(server) and not any(_unanswered(lookup, pod, a) for a in server.addresses):
            steps = [Step(Resolve(name, server=a), want) for a in server.addresses]
            expected = f"{label(server)} answers alone at {', '.join(_texts(server.addresses))}"
            yield _check("server", pod, label(server), expected, steps)


def _outside(lookup: Lookup, pod: Pod) -> Iterator[Check | Skip]:
    """A name of the lab's internet, through the cluster's servers; the user's own are unknown."""
    name, cluster = "www.example.com.", lookup.cluster
    addresses = _internet_names(cluster).get(name)
    if addresses and (reason := _silent_upstream(lookup)):
        yield Skip(NAMES, f"{name}: {reason}")
    elif addresses:
        expected = f"{name}: {', '.join(_texts(addresses))}, by the upstream server"
        steps = [Step(Resolve(text), _records(_texts(addresses))) for text in (name[:-1], name)]
        yield _check("outside", pod, name, expected, steps)


def _silent_upstream(lookup: Lookup) -> str:
    """Why some of the DNS pods get no answer from the lab's own upstream server; else nothing."""
    servers = [server for server in lookup.cluster.pods if is_dns(server)]
    upstream = _upstream(lookup.cluster)
    reasons = (_unanswered(lookup, server, each) for server in servers for each in upstream)
    return next(filter(None, reasons), "")


def _unknown(cluster: Cluster, pod: Pod) -> Check:
    name = f"kns-no-such-service.{pod.namespace}.svc.{_zone(cluster)}."
    return _check("unknown", pod, name, f"{name}: NXDOMAIN", [Step(Resolve(name), _records(()))])


def _internet_names(cluster: Cluster) -> dict[str, tuple[IPAddress, ...]]:
    """What the lab's own upstream knows; nothing if the user named another."""
    upstream = _upstream(cluster)
    names = ("example.com.", "www.example.com.") if upstream else ()
    return {name: upstream for name in names if not serves_host(cluster, name)}


def _upstream(cluster: Cluster) -> tuple[IPAddress, ...]:
    """The addresses of the lab's own upstream server; none if the user named another."""
    if cluster.network.dns.upstream or not cluster.internet:
        return ()
    return cluster.internet[0].addresses


# -- environment -----------------------------------------------------------------------------------


def _environments(cluster: Cluster) -> Iterator[Check]:
    """Each pod with a built-in server tells the variables that its programs have."""
    for pod in workloads(cluster):
        port = _http_port(pod)
        if port is None:
            continue
        want = Expectation(variables=_variables(cluster, pod))
        if want.variables:
            yield Check(
                path=ENVIRONMENT,
                kind="",
                name=label(pod),
                source=Location(pod),
                target=label(pod),
                expected="its own variables, and those of services that were there before it",
                steps=(Step(Http(loopback_of(pod), port, path="/env"), want),),
            )


def _http_port(pod: Pod) -> int | None:
    ports = (port for container in pod.containers[:1] for port in container.ports)
    return next((p.port for p in ports if serves_http(pod, p.port, Protocol.TCP)), None)


def _variables(cluster: Cluster, pod: Pod) -> tuple[Variables, ...]:
    """The container's own plain variables, and a group for each service the pod may know.

    A group is there as a whole or, if the service is younger than the pod, not at all. Names that
    two services make, or the container itself sets, are left out.
    """
    container = pod.containers[0]
    own = {variable.name: variable.value for variable in container.env}
    plain = tuple((name, value) for name, value in own.items() if "$" not in value)
    groups = [dict(_of_service(service)) for service in _visible(cluster, pod)]
    names = [name for group in groups for name in group]
    shared = {name for name in names if names.count(name) > 1}
    found = [
        Variables(tuple(item for item in group.items() if item[0] not in {*own, *shared}))
        for group in groups
    ]
    return (*((Variables(plain, optional=False),) if plain else ()), *found)


def _visible(cluster: Cluster, pod: Pod) -> Iterator[Service]:
    for service in cluster.services:
        is_master = service.full_name == "default/kubernetes"
        is_linked = pod.enable_service_links and service.namespace == pod.namespace
        if service.cluster_ips and (is_linked or (is_master and pod.namespace == "default")):
            yield service


def _of_service(service: Service) -> Iterator[tuple[str, str]]:
    """The documented variables: host, first port, each named port, and the links' URLs."""
    prefix = service.name.upper().replace("-", "_")
    address = service.cluster_ips[0]
    host = f"[{address}]" if address.version == 6 else str(address)
    yield f"{prefix}_SERVICE_HOST", str(address)
    yield f"{prefix}_SERVICE_PORT", str(service.ports[0].port)
    for number, port in enumerate(service.ports):
        url = f"{port.protocol.lower()}://{host}:{port.port}"
        if number == 0:
            yield f"{prefix}_PORT", url
        yield f"{prefix}_PORT_{port.port}_{port.protocol}", url
        if port.name:
            yield f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}", str(port.port)


# -- small things ----------------------------------------------------------------------------------


def _check(kind: str, pod: Pod, target: str, expected: str, steps: list[Step]) -> Check:
    source = Location(pod)
    return Check(NAMES, kind, arrow(source, target), source, target, expected, tuple(steps))


def _records(records: tuple[str, ...]) -> Expectation:
    return Expectation(records=records)


def _texts(addresses: tuple[IPAddress, ...]) -> tuple[str, ...]:
    return tuple(str(address) for address in addresses)


def _zone(cluster: Cluster) -> str:
    return cluster.network.dns.domain.rstrip(".")


def _dashed(address: IPAddress) -> str:
    return str(address).replace(".", "-").replace(":", "-")
