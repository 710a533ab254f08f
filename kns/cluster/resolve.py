"""From a checked lab to the Cluster: defaults, addresses, endpoints. Pure and deterministic.

    Lab ─────┬─▶ Network, nodes, internet hosts     (resolve_hosts)
    Leases ──┤   pods with their addresses          (resolve_pods)
             ├─▶ services, then endpoint slices     (resolve_services, slices)
             └─▶ ingresses and their classes        (resolve_ingress)

The same spec and leases give the same result; what is leased and still fits is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from kns.addresses import IPAddress
from kns.cluster.allocate import ExhaustedError
from kns.cluster.api_server import (
    api_slice,
    is_api_slice,
    resolve_api_server,
    tokenless_accounts,
)
from kns.cluster.faults import Present, resolve_faults, unready_pods
from kns.cluster.implied_ports import with_implied_ports
from kns.cluster.leases import Leases
from kns.cluster.mirrored import mirrored_slices
from kns.cluster.model import Cluster
from kns.cluster.resolve_hosts import resolve_internet, resolve_network, resolve_nodes
from kns.cluster.resolve_ingress import (
    resolve_classes,
    resolve_controller,
    resolve_ingresses,
)
from kns.cluster.resolve_pods import resolve_pods
from kns.cluster.resolve_services import resolve_services
from kns.cluster.slices import derive_slices
from kns.errors import Problem, SpecError
from kns.kinds.endpointslice import Endpoint, EndpointSlice
from kns.kinds.lab import Lab
from kns.kinds.namespace import Namespace, with_name_label
from kns.kinds.pod import Pod
from kns.kinds.service import Service


@dataclass(frozen=True, slots=True)
class Resolution:
    """A cluster, and what it has been handed out by now."""

    cluster: Cluster
    leases: Leases
    warnings: tuple[Problem, ...] = ()


def resolve(lab: Lab, leases: Leases | None = None) -> Resolution:
    """The cluster of a lab that `kns.kinds.load` has checked.

    Raises SpecError where a subnet, a pod CIDR or the node port range is used up.
    """
    try:
        return _resolve(lab, leases or Leases())
    except ExhaustedError as error:
        hint = "a larger range is needed, or fewer objects"
        raise SpecError((Problem(lab.name, 0, 0, "", str(error), hint),)) from error


def _resolve(lab: Lab, leases: Leases) -> Resolution:
    network = resolve_network(lab)
    nodes, node_leases = resolve_nodes(lab, network, leases)
    internet, internet_leases = resolve_internet(lab, network, leases)
    resolved = resolve_pods(lab, nodes, leases)
    services, service_leases = resolve_services(lab, network, nodes, leases)
    known = {pod.full_name for pod in resolved.pods}
    unready = unready_pods(lab.faults, known)
    pods = tuple(map(partial(_as_ready, unready), with_implied_ports(resolved.pods, services)))
    api_server = resolve_api_server(lab, nodes)
    slices = (*_explicit(lab, pods, services), *derive_slices(services, pods, nodes))
    if api_server is not None:  # which sets its slice right whatever somebody has written
        others = (item for item in slices if not is_api_slice(item))
        slices = (*others, api_slice(api_server))
    cluster = Cluster(
        name=lab.name,
        network=network,
        nodes=nodes,
        pods=pods,
        pending=resolved.pending,
        services=services,
        endpoint_slices=tuple(sorted(slices, key=lambda item: (item.namespace, item.name))),
        internet=internet,
        namespaces=_namespaces(lab, pods, services),
        ingresses=resolve_ingresses(lab),
        ingress_classes=resolve_classes(lab),
        ingress_controller=resolve_controller(lab, pods),
        tls_secrets=lab.secrets,
        network_policies=lab.network_policies,
        faults=resolve_faults(
            lab.faults,
            Present(
                known, {node.name for node in nodes}, tuple(host.name for host in internet), slices
            ),
        ),
        api_server=api_server,
        tokenless_accounts=tokenless_accounts(lab),
    )
    kept = Leases(
        {**internet_leases, **node_leases}, resolved.leases, service_leases, resolved.last
    )
    return Resolution(cluster, kept)


def _as_ready(unready: frozenset[str], pod: Pod) -> Pod:
    """The pod, not ready if it is one of these."""
    return replace(pod, ready=False, serving=False) if pod.full_name in unready else pod


def _namespaces(
    lab: Lab, pods: tuple[Pod, ...], services: tuple[Service, ...]
) -> tuple[Namespace, ...]:
    """`default`, those that are declared, then those that are used."""
    declared = {item.name: item for item in lab.namespaces}
    used = (*(pod.namespace for pod in pods), *(service.namespace for service in services))
    names = dict.fromkeys(("default", *declared, *used))
    return tuple(with_name_label(declared.get(name, Namespace(name))) for name in names)


# -- explicit slices -------------------------------------------------------------------------------


def _explicit(
    lab: Lab, pods: tuple[Pod, ...], services: tuple[Service, ...]
) -> tuple[EndpointSlice, ...]:
    """The EndpointSlices of the file, and those of its Endpoints.

    Endpoints at a pod's address are that pod's.
    """
    mirrored = mirrored_slices(lab.endpoints, services, lab.endpoint_slices)
    slices = (*lab.endpoint_slices, *mirrored)
    if not slices:
        return ()
    owners = {a: pod for pod in pods if not pod.host_network for a in pod.addresses}
    return tuple(_slice(item, owners) for item in slices)


def _slice(item: EndpointSlice, owners: dict[IPAddress, Pod]) -> EndpointSlice:
    return replace(item, endpoints=tuple(_endpoint(point, owners) for point in item.endpoints))


def _endpoint(endpoint: Endpoint, owners: dict[IPAddress, Pod]) -> Endpoint:
    owner = owners.get(endpoint.addresses[0])
    if owner is None:
        return replace(endpoint, pod="")
    return replace(endpoint, node_name=endpoint.node_name or owner.node, pod=owner.full_name)
