"""From a checked spec to the Cluster: defaults, addresses, endpoints. Pure and deterministic.

    LabSpec ─┬─▶ Network, nodes, internet hosts     (resolve_hosts)
    Leases ──┤   pods with their addresses          (resolve_pods)
             ├─▶ services, then endpoint slices     (resolve_services, slices)
             └─▶ ingresses, classes, TLS Secrets    (resolve_ingress)

The same spec and leases give the same result; what is leased and still fits is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from kns.addresses import IPAddress, IPFamily
from kns.cluster.allocate import ExhaustedError
from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.cluster.resolve_hosts import resolve_internet, resolve_network, resolve_nodes
from kns.cluster.resolve_ingress import (
    resolve_classes,
    resolve_controller,
    resolve_ingresses,
    resolve_secrets,
)
from kns.cluster.resolve_pods import resolve_pods
from kns.cluster.resolve_services import resolve_services
from kns.cluster.slices import SERVICE_NAME, derive_slices
from kns.errors import Problem, SpecError
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from kns.labfile.check_endpoints import service_of
from kns.labfile.model import EndpointSliceSpec, EndpointSpec, LabSpec


@dataclass(frozen=True, slots=True)
class Resolution:
    """A cluster, and what it has been handed out by now."""

    cluster: Cluster
    leases: Leases
    warnings: tuple[Problem, ...] = ()


def resolve(spec: LabSpec, leases: Leases | None = None) -> Resolution:
    """The cluster of a spec that `kns.labfile.load` has checked.

    Raises SpecError where a subnet, a pod CIDR or the node port range is used up.
    """
    try:
        return _resolve(spec, leases or Leases())
    except ExhaustedError as error:
        hint = "a larger range is needed, or fewer objects"
        raise SpecError((Problem(spec.metadata.name, 0, 0, "", str(error), hint),)) from error


def _resolve(spec: LabSpec, leases: Leases) -> Resolution:
    network = resolve_network(spec)
    nodes, node_leases = resolve_nodes(spec, network, leases)
    internet, internet_leases = resolve_internet(spec, network, leases)
    pods, pod_leases, last = resolve_pods(spec, nodes, leases)
    services, service_leases = resolve_services(spec, network, nodes, leases)
    slices = (*_explicit(spec, pods), *derive_slices(services, pods, nodes))
    cluster = Cluster(
        name=spec.metadata.name,
        network=network,
        nodes=nodes,
        pods=pods,
        services=services,
        endpoint_slices=tuple(sorted(slices, key=lambda item: (item.namespace, item.name))),
        internet=internet,
        namespaces=_namespaces(spec, pods, services),
        ingresses=resolve_ingresses(spec),
        ingress_classes=resolve_classes(spec),
        ingress_controller=resolve_controller(spec, pods),
        tls_secrets=resolve_secrets(spec),
    )
    kept = Leases({**internet_leases, **node_leases}, pod_leases, service_leases, last)
    return Resolution(cluster, kept)


def _namespaces(
    spec: LabSpec, pods: tuple[Pod, ...], services: tuple[Service, ...]
) -> tuple[str, ...]:
    """`default`, those that are declared, then those that are used."""
    used = (*(pod.namespace for pod in pods), *(service.namespace for service in services))
    return tuple(dict.fromkeys(("default", *spec.namespaces, *used)))


# -- explicit slices -------------------------------------------------------------------------------


def _explicit(spec: LabSpec, pods: tuple[Pod, ...]) -> tuple[EndpointSlice, ...]:
    """The EndpointSlices of the file; endpoints at a pod's address are that pod's."""
    if not spec.endpoint_slices:
        return ()
    owners = {address: pod for pod in pods for address in pod.addresses}
    return tuple(_slice(item, owners) for item in spec.endpoint_slices)


def _slice(spec: EndpointSliceSpec, owners: dict[IPAddress, Pod]) -> EndpointSlice:
    name = service_of(spec)
    return EndpointSlice(
        namespace=spec.namespace,
        name=spec.name,
        service=name,
        address_type=IPFamily(spec.address_type),
        ports=tuple(EndpointPort(p.port, p.name, Protocol(p.protocol)) for p in spec.ports),
        endpoints=tuple(_endpoint(endpoint, owners) for endpoint in spec.endpoints),
        labels={SERVICE_NAME: name, **spec.labels},
    )


def _endpoint(spec: EndpointSpec, owners: dict[IPAddress, Pod]) -> Endpoint:
    owner = owners.get(spec.addresses[0])
    return Endpoint(
        addresses=spec.addresses,
        ready=spec.conditions.ready,
        serving=spec.conditions.serving,
        terminating=spec.conditions.terminating,
        node_name=spec.node_name or (owner.node if owner else ""),
        zone=spec.zone,
        hostname=spec.hostname,
        hint_zones=tuple(hint.name for hint in spec.hints.for_zones),
        hint_nodes=tuple(hint.name for hint in spec.hints.for_nodes),
        pod=owner.full_name if owner else "",
    )
