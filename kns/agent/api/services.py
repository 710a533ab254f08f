"""What Services are given once and keep: cluster IPs and node ports.

Source: k8s.io/kubernetes/pkg/registry/core/service (patchAllocatedValues, the allocators' errors).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.agent.api.status import FieldCause
from kns.kinds.common import Object
from kns.kinds.objects import items, key_of, mapping, mappings, number, part, text
from kns.labfile.reader import JSON

_OF_CLUSTER_IP = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def taken(obj: Object, services: Sequence[Object]) -> Iterator[FieldCause]:
    """What a Service asks for, and another one has already: a cluster IP, a node port."""
    others = [other for other in services if key_of(other) != key_of(obj)]
    addresses = {text(other, "spec", "clusterIP") for other in others} - {"", "None"}
    asked = text(obj, "spec", "clusterIP")
    if asked in addresses:
        why = f"failed to allocate IP {asked}: provided IP is already allocated"
        yield FieldCause("spec.clusterIPs", f'Invalid value: ["{asked}"]: {why}')
    ports = {
        (number(port, "nodePort"), text(port, "protocol") or "TCP")
        for other in others
        for port in items(other, "spec", "ports")
    }
    for index, port in enumerate(items(obj, "spec", "ports")):
        wanted = number(port, "nodePort")
        if wanted and (wanted, text(port, "protocol") or "TCP") in ports:
            yield FieldCause(
                f"spec.ports[{index}].nodePort",
                f"Invalid value: {wanted}: provided port is already allocated",
            )


def with_allocated(old: Object, new: Object) -> Object:
    """A Service with what it was given and its author leaves out, and without what its type lacks.

    patchAllocatedValues and dropTypeDependentFields.
    """
    new = _without_dependent(old, new)
    spec = mapping(new, "spec")
    if text(spec, "type") == "ExternalName" or text(old, "spec", "type") == "ExternalName":
        return new
    names = [*_OF_CLUSTER_IP]
    if _has_health_check(old) and _has_health_check(new):
        names.append("healthCheckNodePort")
    kept = {
        name: value
        for name in names
        if not spec.get(name) and (value := part(old, "spec", name)) is not None
    }
    made: Object = {**spec, **kept}
    if _has_node_ports(new):
        before = {
            (number(port, "port"), text(port, "protocol") or "TCP"): number(port, "nodePort")
            for port in mappings(old, "spec", "ports")
        }
        ports: list[JSON] = []
        for port in mappings(spec, "ports"):
            known = before.get((number(port, "port"), text(port, "protocol") or "TCP"), 0)
            again = known and not number(port, "nodePort")
            ports.append({**port, "nodePort": known} if again else port)
        made["ports"] = ports
    return {**new, "spec": made}


def _without_dependent(old: Object, new: Object) -> Object:
    """Without the fields of the old type that the new one has not, where the author changed none.

    A patch of the type alone leaves them, and validation would refuse them.
    """
    spec = dict(mapping(new, "spec"))
    dropped: list[str] = []
    if text(spec, "type") == "ExternalName" != text(old, "spec", "type"):
        dropped += _OF_CLUSTER_IP
    if _has_health_check(old) and not _has_health_check(new):
        dropped.append("healthCheckNodePort")
    if _is_external(old) and not _is_external(new):
        dropped.append("externalTrafficPolicy")
    if text(old, "spec", "type") == "LoadBalancer" != text(spec, "type"):
        dropped += ("allocateLoadBalancerNodePorts", "loadBalancerClass")
    for name in dropped:
        if name in spec and spec[name] == part(old, "spec", name):
            del spec[name]
    leaves_node_ports = _has_node_ports(old) and not _has_node_ports(new)
    if leaves_node_ports and _node_ports(old) == _node_ports(new):
        spec["ports"] = [
            {key: value for key, value in port.items() if key != "nodePort"}
            for port in mappings(spec, "ports")
        ]
    return {**new, "spec": spec}


def _node_ports(obj: Object) -> set[int]:
    return {number(port, "nodePort") for port in mappings(obj, "spec", "ports")} - {0}


def _has_node_ports(obj: Object) -> bool:
    return text(obj, "spec", "type") in {"NodePort", "LoadBalancer"}


def _is_external(obj: Object) -> bool:
    """Whether it has an externalTrafficPolicy (ExternallyAccessible)."""
    is_internal = text(obj, "spec", "type") in {"", "ClusterIP"}
    return _has_node_ports(obj) or (is_internal and bool(items(obj, "spec", "externalIPs")))


def _has_health_check(obj: Object) -> bool:
    is_local = text(obj, "spec", "externalTrafficPolicy") == "Local"
    return is_local and text(obj, "spec", "type") == "LoadBalancer"
