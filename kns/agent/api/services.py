"""What Services are given once and keep: cluster IPs and node ports.

Source: k8s.io/kubernetes/pkg/registry/core/service (patchAllocatedValues, the allocators' errors).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.agent.api.status import FieldCause
from kns.kinds.common import Object
from kns.kinds.objects import items, key_of, mapping, mappings, number, part, text
from kns.labfile.reader import JSON


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
    """A Service with what it was given and its author leaves out (patchAllocatedValues)."""
    spec = mapping(new, "spec")
    if text(spec, "type") == "ExternalName" or text(old, "spec", "type") == "ExternalName":
        return new
    names = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
    kept = {
        name: value
        for name in names
        if not spec.get(name) and (value := part(old, "spec", name)) is not None
    }
    made: Object = {**spec, **kept}
    if text(spec, "type") in {"NodePort", "LoadBalancer"}:
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
