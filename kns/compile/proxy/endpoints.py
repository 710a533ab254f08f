"""Which endpoints a node's proxy uses for each service port: kube-proxy's topology.go, pure.

    Service + EndpointSlices ──service_ports()──▶ ServicePortView, one a port and family
        cluster      endpoints for internalTrafficPolicy/externalTrafficPolicy Cluster
        local        endpoints for policy Local: those on this node
        reachable    the union, in the order in which rules are written

Source of the rules: pkg/proxy/topology.go CategorizeEndpoints, pkg/proxy/serviceport.go and
pkg/proxy/endpointslicecache.go of Kubernetes; `release.py` says where releases differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import NamedTuple

from kns.addresses import IPAddress, IPFamily
from kns.compile.proxy.release import ReleaseChange, has
from kns.kinds.endpointslice import Endpoint, EndpointSlice
from kns.kinds.networking import KubeProxyOptions
from kns.kinds.node import Node
from kns.kinds.release import Release
from kns.kinds.service import Service, ServicePort, ServiceType, TrafficPolicy

#: another proxy serves it: kube-proxy's informers leave out Services and slices with this label
SERVICE_PROXY_NAME = "service.kubernetes.io/service-proxy-name"
#: the slice controller labels the slices of headless Services; kube-proxy leaves them out too
HEADLESS = "service.kubernetes.io/headless"
#: the older name wins where both are there (serviceport.go)
HINTS_ANNOTATIONS = (
    "service.kubernetes.io/topology-aware-hints",
    "service.kubernetes.io/topology-mode",
)


class ProxyEndpoint(NamedTuple):
    """An address and port behind a service port, as one node's proxy sees it.

    A tuple, since there are very many: it is made in a third of a frozen dataclass' time.
    """

    address: IPAddress
    #: the address as text
    host: str
    #: the address as kube-proxy spells it, part of chain names: canonical since 1.31
    spelling: str
    port: int
    #: `ip:port`, `[ip]:port` for IPv6, as spelled: kube-proxy's sort key and part of chain names
    text: str
    ready: bool
    serving: bool
    terminating: bool
    is_local: bool
    hint_zones: tuple[str, ...] = ()
    hint_nodes: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """`ip:port`, `[ip]:port` for IPv6, in canonical form."""
        return _with_port(self.host, self.port)


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class ServicePortView:
    """One service port of one family as a node's proxy programs it."""

    service: Service
    port: ServicePort
    family: IPFamily
    cluster_ip: IPAddress
    external_ips: tuple[IPAddress, ...]
    #: VIP ingress addresses only; a hostname or ipMode Proxy entry makes no rules
    load_balancer_ips: tuple[IPAddress, ...]
    #: normalised, this family only
    source_ranges: tuple[str, ...]
    cluster: tuple[ProxyEndpoint, ...]
    local: tuple[ProxyEndpoint, ...]
    reachable: tuple[ProxyEndpoint, ...]
    #: True if the service has any usable endpoint anywhere: DROP instead of REJECT when not local
    has_any: bool
    #: every endpoint of the port, unusable ones too: kube-proxy's measure of a large cluster
    total_endpoints: int = 0
    #: every endpoint of the port on this node, unusable ones too: IPVS mode's hairpins
    all_local: tuple[ProxyEndpoint, ...] = ()
    #: True if the service has external IPs, even if kube-proxy may not serve them
    has_external_ips: bool = False

    @property
    def name(self) -> str:
        """kube-proxy's ServicePortName: `ns/name` or `ns/name:port`."""
        suffix = f":{self.port.name}" if self.port.name else ""
        return f"{self.service.namespace}/{self.service.name}{suffix}"

    @property
    def external_policy_local(self) -> bool:
        """externalTrafficPolicy Local, for a type of Service that has one."""
        return _external_policy_local(self.service)

    @property
    def internal_policy_local(self) -> bool:
        """internalTrafficPolicy Local."""
        return self.service.internal_traffic_policy is TrafficPolicy.LOCAL

    @property
    def externally_accessible(self) -> bool:
        """True if anything but the cluster IP leads to it: node port, external or balancer IP."""
        return bool(self.port.node_port or self.load_balancer_ips or self.has_external_ips)

    @property
    def health_check_node_port(self) -> int:
        """The health check port, which only a LoadBalancer with policy Local has; else 0."""
        if self.service.type is ServiceType.LOAD_BALANCER and self.external_policy_local:
            return self.service.health_check_node_port
        return 0


def service_ports(
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    node: Node,
    options: KubeProxyOptions,
    family: IPFamily,
) -> tuple[ServicePortView, ...]:
    """Every service port that kube-proxy on `node` programs for `family`, sorted by name."""
    by_service = slices_by_service(slices)
    views = [
        view
        for service in services
        for view in ports_of_service(
            service, by_service.get((service.namespace, service.name), ()), node, options, family
        )
    ]
    return tuple(sorted(views, key=_order))


def slices_by_service(
    slices: Iterable[EndpointSlice],
) -> Mapping[tuple[str, str], tuple[EndpointSlice, ...]]:
    """The slices that kube-proxy watches, by their service's namespace and name."""
    found: dict[tuple[str, str], list[EndpointSlice]] = {}
    for item in sorted(slices, key=lambda s: (s.namespace, s.name)):
        if SERVICE_PROXY_NAME not in item.labels and HEADLESS not in item.labels:
            found.setdefault((item.namespace, item.service), []).append(item)
    return {service: tuple(items) for service, items in found.items()}


def ports_of_service(
    service: Service,
    slices: tuple[EndpointSlice, ...],
    node: Node,
    options: KubeProxyOptions,
    family: IPFamily,
) -> tuple[ServicePortView, ...]:
    """The ports of one service, whose slices are `slices`, sorted by name."""
    cluster_ip = service.cluster_ip(family)
    if cluster_ip is None or _ignored(service):
        return ()
    views = (_view(service, port, cluster_ip, slices, node, options) for port in service.ports)
    return tuple(sorted(views, key=_order))


def _order(view: ServicePortView) -> tuple[str, str, str, str]:
    return view.service.namespace, view.service.name, view.port.name, view.port.protocol


def _ignored(service: Service) -> bool:
    return (
        service.type is ServiceType.EXTERNAL_NAME
        or SERVICE_PROXY_NAME in service.labels
        or HEADLESS in service.labels
    )


def _view(
    service: Service,
    port: ServicePort,
    cluster_ip: IPAddress,
    slices: Iterable[EndpointSlice],
    node: Node,
    options: KubeProxyOptions,
) -> ServicePortView:
    family, release = IPFamily.of(cluster_ip), options.version
    endpoints = _endpoints(port, slices, node, family, release)
    external_ips = tuple(ip for ip in service.external_ips if ip.version == family.version)
    balancer_ips = tuple(
        entry.ip
        for entry in service.load_balancer_ingress
        if entry.ip is not None and entry.ip.version == family.version and entry.ip_mode == "VIP"
    )
    external = bool(port.node_port or external_ips or balancer_ips)
    internal_local = service.internal_traffic_policy is TrafficPolicy.LOCAL
    uses_cluster = external or not internal_local
    uses_local = internal_local or (external and _external_policy_local(service))
    cluster = _cluster_endpoints(service, endpoints, node, release) if uses_cluster else ()
    local = _usable([e for e in endpoints if e.is_local]) if uses_local else ()
    return ServicePortView(
        service=service,
        port=port,
        family=family,
        cluster_ip=cluster_ip,
        external_ips=external_ips if _serves_external_ips(options) else (),
        load_balancer_ips=balancer_ips,
        source_ranges=_source_ranges(service, family, release),
        cluster=cluster,
        local=local,
        reachable=_union(cluster, local),
        has_any=bool(_usable(endpoints)),
        total_endpoints=len(endpoints),
        all_local=tuple(e for e in endpoints if e.is_local),
        has_external_ips=bool(external_ips),
    )


def _serves_external_ips(options: KubeProxyOptions) -> bool:
    gated = has(options.version, ReleaseChange.EXTERNAL_IPS_GATE)
    return options.feature_gates.allow_service_external_ips or not gated


def _external_policy_local(service: Service) -> bool:
    """externalTrafficPolicy means nothing for a ClusterIP Service without external IPs."""
    if service.type is ServiceType.CLUSTER_IP and not service.external_ips:
        return False
    return service.external_traffic_policy is TrafficPolicy.LOCAL


def _endpoints(
    port: ServicePort,
    slices: Iterable[EndpointSlice],
    node: Node,
    family: IPFamily,
    release: Release,
) -> tuple[ProxyEndpoint, ...]:
    """The port's endpoints, one for each `ip:port`, sorted by that text.

    A slice's port belongs to the service port of the same name and protocol. Of an endpoint's
    several addresses only the first counts. An endpoint may be in two slices while it moves from
    one to the other: then the one counts that does not terminate; before, the one that Go's map
    gave last if both put it on this node, and here the last by name.
    """
    found: dict[str, ProxyEndpoint] = {}
    as_spelled = not has(release, ReleaseChange.CANONICAL_ADDRESSES)
    for item in slices:
        for slice_port in item.ports:
            if not slice_port.port or slice_port.name != port.name:
                continue
            if slice_port.protocol is not port.protocol:
                continue
            for endpoint in item.endpoints:
                if endpoint.addresses and endpoint.addresses[0].version == family.version:
                    seen = _seen_from(endpoint, slice_port.port, node, as_spelled=as_spelled)
                    known = found.get(seen.text)
                    if known is None or _supersedes(seen, known, release):
                        found[seen.text] = seen
    return tuple(found[text] for text in sorted(found))


def _supersedes(seen: ProxyEndpoint, known: ProxyEndpoint, release: Release) -> bool:
    living_first = has(release, ReleaseChange.LIVING_ENDPOINTS_FIRST)
    if living_first and seen.terminating is not known.terminating:
        return known.terminating
    return seen.is_local


def _seen_from(endpoint: Endpoint, port: int, node: Node, *, as_spelled: bool) -> ProxyEndpoint:
    address = endpoint.addresses[0]
    host = str(address)
    spelling = endpoint.spellings[0] if as_spelled and endpoint.spellings else host
    return ProxyEndpoint(
        address=address,
        host=host,
        spelling=spelling,
        port=port,
        text=_with_port(spelling, port),
        ready=endpoint.ready is not False,
        serving=endpoint.serving is not False,
        terminating=endpoint.terminating is True,
        is_local=bool(endpoint.node_name) and endpoint.node_name == node.name,
        hint_zones=endpoint.hint_zones,
        hint_nodes=endpoint.hint_nodes,
    )


def _usable(endpoints: Iterable[ProxyEndpoint]) -> tuple[ProxyEndpoint, ...]:
    """The ready ones; if none is ready, those that still serve while they terminate."""
    candidates = tuple(endpoints)
    ready = tuple(e for e in candidates if e.ready)
    return ready or tuple(e for e in candidates if e.serving and e.terminating)


def _cluster_endpoints(
    service: Service, endpoints: tuple[ProxyEndpoint, ...], node: Node, release: Release
) -> tuple[ProxyEndpoint, ...]:
    """The usable endpoints, narrowed by topology hints where those may be used."""
    usable = _usable(endpoints)
    if not usable or not usable[0].ready:
        return usable
    if has(release, ReleaseChange.NODE_HINTS):
        here = _hinted([e.hint_nodes for e in usable], usable, node.name)
        if here:
            return here
    without_annotation = has(release, ReleaseChange.HINTS_WITHOUT_ANNOTATION)
    if not without_annotation and not _asks_for_hints(service.annotations):
        return usable
    return _hinted([e.hint_zones for e in usable], usable, node.zone) or usable


def _asks_for_hints(annotations: Mapping[str, str]) -> bool:
    """Any value but nothing and `disabled` counts (v1.30 topology.go)."""
    value = next((annotations[key] for key in HINTS_ANNOTATIONS if key in annotations), "")
    return value not in {"", "disabled", "Disabled"}


def _hinted(
    hints: list[tuple[str, ...]], endpoints: tuple[ProxyEndpoint, ...], place: str
) -> tuple[ProxyEndpoint, ...]:
    """Those hinted for `place`; none if an endpoint lacks a hint: then hints are not trusted."""
    if not place or not all(hints):
        return ()
    return tuple(e for e, for_ in zip(endpoints, hints, strict=True) if place in for_)


def _union(
    cluster: tuple[ProxyEndpoint, ...], local: tuple[ProxyEndpoint, ...]
) -> tuple[ProxyEndpoint, ...]:
    if not local:
        return cluster
    merged = {e.text: e for e in (*cluster, *local)}
    return tuple(merged[text] for text in sorted(merged))


def _source_ranges(service: Service, family: IPFamily, release: Release) -> tuple[str, ...]:
    """The family's ranges as networks in text; what does not parse is left out, as kube-proxy does.

    Blanks around a range, host bits and leading zeros (decimal, not octal) are tolerated. One that
    holds every address is like none at all, once the release sees it so.
    """
    result = []
    for text in service.load_balancer_source_ranges:
        try:
            network = ip_network(_without_leading_zeros(text.strip()), strict=False)
        except ValueError:
            continue
        if "/" in text and network.version == family.version:
            if not network.prefixlen and has(release, ReleaseChange.ANY_SOURCE):
                return ()
            result.append(str(network))
    return tuple(result)


def _without_leading_zeros(text: str) -> str:
    if ":" in text:
        return text
    address, slash, prefix = text.partition("/")
    parts = (part.lstrip("0") or "0" if part.isdigit() else part for part in address.split("."))
    return ".".join(parts) + slash + prefix
