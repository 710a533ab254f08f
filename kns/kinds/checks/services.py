"""Checks of the Services: what kube-apiserver refuses, and what can't have been meant.

Source of the rules and words: pkg/apis/core/validation ValidateService, and the allocators of
pkg/registry/core/service.
"""

from __future__ import annotations

from collections.abc import Iterator

from kns.addresses import IPAddress
from kns.errors import Problem
from kns.kinds import names
from kns.kinds.apiserver import API_NAMESPACE, API_SERVICE
from kns.kinds.checks.network import duplicate
from kns.kinds.checks.service_ips import (
    check_cluster_ips,
    check_families,
    written_cluster_ips,
)
from kns.kinds.fields import SOURCE_RANGE
from kns.kinds.ingress import CONTROLLER_NAME, CONTROLLER_NAMESPACE
from kns.kinds.networking import DNS_NAMESPACE, DNS_SERVICE
from kns.kinds.networks import DNS_INDEX, KUBERNETES_INDEX, Networks, networks
from kns.kinds.placement import ingress_controller
from kns.kinds.service import (
    TOPOLOGY_ANNOTATIONS,
    Service,
    ServicePort,
    ServiceType,
    SessionAffinity,
    TrafficPolicy,
)
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.place import Located, Place
from kns.labfile.reader import Reading
from kns.labfile.wording import RefusedError, shown

ServicePart = Located[Service]
#: AnnotationLoadBalancerSourceRangesKey of k8s.io/api/core/v1
SOURCE_RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"
_CONTROLLER = f"{CONTROLLER_NAMESPACE}/{CONTROLLER_NAME}"
_DNS = f"{DNS_NAMESPACE}/{DNS_SERVICE}"
_API = f"{API_NAMESPACE}/{API_SERVICE}"


def check_services(sources: Sources) -> Iterator[Problem]:
    """Everything about Services but what their selectors find."""
    nets = networks(sources.lab.networking)
    for part in sources.services:
        spec, place = part.value, part.place
        yield from _ports(spec, place, sources.lab.networking.node_port_range)
        yield from _type(spec, place)
        yield from _traffic(spec, place)
        yield from _annotations(spec, place)
        yield from _external(spec, place)
        if sources.networks_known:
            yield from check_families(spec, place, nets)
            yield from check_cluster_ips(spec, place, nets)
    yield from _duplicates(sources)
    yield from _taken_addresses(sources, nets)
    yield from _taken_node_ports(sources)


# -- one Service -----------------------------------------------------------------------------------


def _ports(spec: Service, place: Place, allowed: tuple[int, int]) -> Iterator[Problem]:
    if (
        not spec.ports
        and spec.type is not ServiceType.EXTERNAL_NAME
        and not spec.without_cluster_ip
    ):
        yield place.problem(("ports",), "Required value", "add `ports: [{port: 80}]`")
    seen_names: set[str] = set()
    seen_ports: set[tuple[int, str]] = set()
    for index, port in enumerate(spec.ports):
        path: Path = ("ports", index)
        if not port.name and len(spec.ports) > 1:
            hint = "a Service with several ports needs a name for each"
            yield place.problem((*path, "name"), "Required value", hint)
        if port.name and port.name in seen_names:
            yield place.problem((*path, "name"), f"Duplicate value: {shown(port.name)}")
        if (port.port, port.protocol) in seen_ports:
            yield place.problem(path, f"Duplicate value: {port.port}/{port.protocol}")
        seen_names.add(port.name)
        seen_ports.add((port.port, port.protocol))
        yield from _node_port(spec, port, place, path, allowed)


def _node_port(
    spec: Service, port: ServicePort, place: Place, path: Path, allowed: tuple[int, int]
) -> Iterator[Problem]:
    if not port.node_port:
        return
    if spec.type is ServiceType.EXTERNAL_NAME and place.paths:
        # the API server takes it, and gives none: a warning tells
        return
    if spec.type in {ServiceType.CLUSTER_IP, ServiceType.EXTERNAL_NAME}:
        message = f"Forbidden: may not be used when `type` is '{spec.type}'"
        yield place.problem((*path, "nodePort"), message, "set `type: NodePort`")
    else:
        yield from _port_in_range(port.node_port, place, (*path, "nodePort"), allowed)


def _port_in_range(
    port: int, place: Place, path: Path, allowed: tuple[int, int]
) -> Iterator[Problem]:
    low, high = allowed
    if not low <= port <= high:
        message = (
            f"Invalid value: {port}: provided port is not in the valid range. "
            f"The range of valid ports is {low}-{high}"
        )
        yield place.problem(path, message, "or set networking.nodePortRange")


def _type(spec: Service, place: Place) -> Iterator[Problem]:
    if spec.type is ServiceType.EXTERNAL_NAME:
        yield from _external_name(spec, place)
    elif spec.without_cluster_ip and spec.type is not ServiceType.CLUSTER_IP:
        message = f"Invalid value: \"None\": may not be set to 'None' for {spec.type} services"
        yield place.problem(("clusterIP",), message)
    if spec.type is not ServiceType.LOAD_BALANCER:
        only = "Forbidden: may only be used when `type` is 'LoadBalancer'"
        for field, value in (
            ("loadBalancerSourceRanges", spec.load_balancer_source_ranges),
            ("loadBalancerClass", spec.load_balancer_class),
            ("status", spec.load_balancer_ingress),
            ("allocateLoadBalancerNodePorts", place.has("allocateLoadBalancerNodePorts")),
        ):
            if value:
                yield place.problem((field,), only)
    for index, point in enumerate(spec.load_balancer_ingress):
        path: Path = ("status", "loadBalancer", "ingress", index)
        if point.ip is None and not point.hostname:
            yield place.problem(path, "Required value: ip or hostname")
        if point.ip is None and place.has(*path, "ipMode"):
            message = "Forbidden: may not be specified when `ip` is not set"
            yield place.problem((*path, "ipMode"), message)


def _external_name(spec: Service, place: Place) -> Iterator[Problem]:
    name = spec.external_name.removesuffix(".")
    if not name:
        yield place.problem(("externalName",), "Required value")
    elif objection := names.subdomain_objection(name):
        yield place.problem(("externalName",), f"Invalid value: {shown(name)}: {objection}")
    for address, path in written_cluster_ips(spec, place):
        message = "may not be set for ExternalName services"
        yield place.problem(path, f"Forbidden: {shown(address)}: {message}")
    for field, value in (
        ("clusterIP", spec.without_cluster_ip),
        ("ipFamilies", spec.ip_families),
        ("ipFamilyPolicy", spec.ip_family_policy),
    ):
        if value:
            yield place.problem((field,), "Forbidden: may not be set for ExternalName services")


def _traffic(spec: Service, place: Place) -> Iterator[Problem]:
    external = spec.type in {ServiceType.NODE_PORT, ServiceType.LOAD_BALANCER} or (
        spec.type is ServiceType.CLUSTER_IP and bool(spec.external_ips)
    )
    if place.get("externalTrafficPolicy") and not external:
        message = (
            f'Invalid value: "{spec.external_traffic_policy}": '
            "may only be set for externally-accessible services"
        )
        hint = "set `type: NodePort` or `type: LoadBalancer`, or leave it out"
        yield place.problem(("externalTrafficPolicy",), message, hint)
    local = (
        spec.type is ServiceType.LOAD_BALANCER
        and spec.external_traffic_policy is TrafficPolicy.LOCAL
    )
    if spec.health_check_node_port and not local:
        message = (
            f"Invalid value: {spec.health_check_node_port}: may only be set when `type` is "
            "'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        )
        yield place.problem(("healthCheckNodePort",), message)
    # the API server drops it in silence; in the Lab document it is a slip
    unused = spec.session_affinity is SessionAffinity.NONE and not place.paths
    if unused and place.has("sessionAffinityConfig"):
        message = "Forbidden: must not be set when session affinity is None"
        yield place.problem(("sessionAffinityConfig",), message, "set `sessionAffinity: ClientIP`")


def _annotations(spec: Service, place: Place) -> Iterator[Problem]:
    mode, hints = (spec.annotations.get(name) for name in TOPOLOGY_ANNOTATIONS)
    if mode is not None and hints is not None and mode != hints:
        message = f"must match annotations[{TOPOLOGY_ANNOTATIONS[1]}] when both are specified"
        path: Path = ("annotations", TOPOLOGY_ANNOTATIONS[0])
        yield place.problem(path, f"Invalid value: {shown(mode)}: {message}", "keep the first")
    ranges = spec.annotations.get(SOURCE_RANGES_ANNOTATION)
    if ranges is None or spec.load_balancer_source_ranges:
        return
    path = ("annotations", SOURCE_RANGES_ANNOTATION)
    if spec.type is not ServiceType.LOAD_BALANCER:
        message = "Forbidden: may only be used when `type` is 'LoadBalancer'"
        yield place.problem(path, message)
    for item in ranges.split(",") if ranges.strip() else ():
        try:
            SOURCE_RANGE.read(item.strip(), Reading())
        except RefusedError as refused:
            yield place.problem(path, refused.message)


def _external(spec: Service, place: Place) -> Iterator[Problem]:
    for index, address in enumerate(spec.external_ips):
        if objection := special_address(address):
            message = f"Invalid value: {shown(address)}: {objection}"
            yield place.problem(("externalIPs", index), message)


def special_address(address: IPAddress) -> str:
    """Why an address can be no endpoint and no external IP (ValidateNonSpecialIP)."""
    if address.is_unspecified:
        return "may not be unspecified (0.0.0.0 or ::)"
    if address.is_loopback:
        return "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    if address.is_link_local:
        return "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    if address.is_multicast and str(address).startswith(("224.0.0.", "ff02:", "ff12:")):
        return "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    return ""


# -- all Services together -------------------------------------------------------------------------


def _duplicates(sources: Sources) -> Iterator[Problem]:
    taken: dict[str, ServicePart] = {}
    for part in sources.services:
        name = f"{part.value.namespace}/{part.value.name}"
        if name in taken:
            yield duplicate(part, ("name",), part.value.name, taken[name])
        elif sources.lab.placed:
            pass  # the cluster's own Services are objects as any other
        elif name == _API and sources.lab.api_server is not None:
            message = f"Duplicate value: {shown(part.value.name)}: kns makes it for the API server"
            yield part.place.problem(("name",), message, "leave it out, or apiServer")
        elif name == _DNS and sources.lab.networking.dns.enabled:
            message = 'Duplicate value: "kube-dns": kns makes this Service for cluster DNS'
            yield part.place.problem(("name",), message, "rename it, or set dns: {enabled: false}")
        elif name == _CONTROLLER and ingress_controller(sources.lab) is not None:
            message = f"Duplicate value: {shown(part.value.name)}: kns makes it for Ingress"
            yield part.place.problem(("name",), message, "leave it out, or use ingressController")
        taken.setdefault(name, part)


def _taken_addresses(sources: Sources, nets: Networks) -> Iterator[Problem]:
    holders: dict[IPAddress, str] = {}
    for subnet in nets.service:
        holders[subnet[KUBERNETES_INDEX]] = _API
        if sources.lab.networking.dns.enabled and subnet.num_addresses > DNS_INDEX:
            holders[subnet[DNS_INDEX]] = _DNS
    for part in sources.services:
        name = f"{part.value.namespace}/{part.value.name}"
        for address, path in written_cluster_ips(part.value, part.place):
            if holders.get(address, name) != name:
                message = (
                    f"Invalid value: {shown(address)}: failed to allocate IP {address}: "
                    "provided IP is already allocated"
                )
                yield part.place.problem(path, message, f"{holders[address]} has it")
            holders.setdefault(address, name)


def _taken_node_ports(sources: Sources) -> Iterator[Problem]:
    """A node port is one Service's, whatever the protocol: the allocator counts ports only."""
    holders: dict[int, ServicePart] = {}
    for part in sources.services:
        own: set[tuple[int, str]] = set()
        for index, port in enumerate(part.value.ports):
            if not port.node_port:
                continue
            path = ("ports", index, "nodePort")
            if (port.node_port, port.protocol) in own:
                yield part.place.problem(path, f"Duplicate value: {port.node_port}")
            own.add((port.node_port, port.protocol))
            yield from _take(holders, part, path, port.node_port)
        if number := part.value.health_check_node_port:
            health: Path = ("healthCheckNodePort",)
            allowed = sources.lab.networking.node_port_range
            yield from _port_in_range(number, part.place, health, allowed)
            if number in {port for port, _ in own}:
                yield part.place.problem(health, f"Duplicate value: {number}")
            yield from _take(holders, part, health, number)


def _take(
    holders: dict[int, ServicePart], part: ServicePart, path: Path, port: int
) -> Iterator[Problem]:
    holder = holders.setdefault(port, part)
    if holder is not part:
        message = f"Invalid value: {port}: provided port is already allocated"
        hint = f"{holder.value.namespace}/{holder.value.name} has it"
        yield part.place.problem(path, message, hint)
