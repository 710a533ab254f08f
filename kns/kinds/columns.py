"""The columns in which kubectl lists the objects of each kind, of plain objects.

Source: k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kns.kinds.column_words import NONE, labels_text, since
from kns.kinds.common import Object
from kns.kinds.objects import (
    flag,
    items,
    mapping,
    mappings,
    name_of,
    number,
    part,
    strings,
    text,
)
from kns.kinds.pod_columns import Cell, pod_cells
from kns.kinds.resources import Resource
from kns.labfile.reader import JSON


@dataclass(frozen=True, slots=True)
class ObjectColumn:
    """A column's head; a `wide` one is shown by `-o wide` alone."""

    head: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class ObjectColumns:
    """The columns of a kind, and what makes the cells of an object, its age and the time."""

    columns: tuple[ObjectColumn, ...]
    cells: Callable[[Object, str, float], tuple[Cell, ...]]


def columns_of(resource: Resource) -> ObjectColumns:
    """How a resource's objects are listed."""
    return _COLUMNS.get(resource.kind, _PLAIN)


def row(obj: Object, columns: ObjectColumns, now: float) -> tuple[Cell, ...]:
    """The cells of one object at a time (seconds since the epoch)."""
    return columns.cells(obj, age_of(obj, now), now)


def age_of(obj: Object, now: float) -> str:
    """kubectl's AGE."""
    return since(text(obj, "metadata", "creationTimestamp"), now)


# -- nodes, services -------------------------------------------------------------------------------


def _node(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    conditions = {text(item, "type"): text(item, "status") for item in _conditions(obj)}
    ready = conditions.get("Ready")
    states = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
    if flag(obj, "spec", "unschedulable"):
        states.append("SchedulingDisabled")
    details = mapping(obj, "status", "nodeInfo")
    return (
        name_of(obj),
        ",".join(states),
        _roles(obj),
        age,
        text(details, "kubeletVersion"),
        _node_address(obj, "InternalIP"),
        _node_address(obj, "ExternalIP"),
        text(details, "osImage") or "<unknown>",
        text(details, "kernelVersion") or "<unknown>",
        text(details, "containerRuntimeVersion") or "<unknown>",
    )


def _conditions(obj: Object) -> list[Object]:
    return mappings(obj, "status", "conditions")


def _roles(obj: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = strings(obj, "metadata", "labels")
    roles = {key[len(prefix) :] for key in labels if key.startswith(prefix)}
    if own := labels.get("kubernetes.io/role"):
        roles.add(own)
    return ",".join(sorted(roles - {""})) or NONE


def _node_address(obj: Object, kind: str) -> str:
    found = mappings(obj, "status", "addresses")
    return next((text(item, "address") for item in found if text(item, "type") == kind), NONE)


def _service(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    kind = text(obj, "spec", "type") or "ClusterIP"
    addresses = [str(item) for item in items(obj, "spec", "clusterIPs")]
    address = (addresses[0] if addresses else text(obj, "spec", "clusterIP")) or NONE
    selector = strings(obj, "spec", "selector")
    ports = [_service_port(port) for port in mappings(obj, "spec", "ports")]
    return (
        name_of(obj),
        kind,
        address,
        _external_ip(obj, kind),
        ",".join(ports) or NONE,
        age,
        labels_text(selector),
    )


def _service_port(port: Object) -> str:
    node_port = number(port, "nodePort")
    node = f":{node_port}" if node_port else ""
    return f"{number(port, 'port')}{node}/{text(port, 'protocol') or 'TCP'}"


def _external_ip(obj: Object, kind: str) -> str:
    external = [str(item) for item in items(obj, "spec", "externalIPs")]
    if kind == "ExternalName":
        return text(obj, "spec", "externalName")
    if kind == "LoadBalancer":
        found = [
            text(item, "ip") or text(item, "hostname")
            for item in mappings(obj, "status", "loadBalancer", "ingress")
        ]
        return ",".join([*found, *external]) or "<pending>"
    return ",".join(external) or NONE


def _endpoints(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    found: list[str] = []
    for subset in mappings(obj, "subsets"):
        ports = mappings(subset, "ports") or [{}]
        found += [
            _joined(text(address, "ip"), part(port, "port"))
            for port in ports
            for address in mappings(subset, "addresses")
        ]
    return name_of(obj), _first(found), age


def _joined(address: str, port: JSON) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}" if port is not None else address


def _first(found: Sequence[str], limit: int = 3) -> str:
    """The first few, and how many more."""
    more = f" + {len(found) - limit} more..." if len(found) > limit else ""
    return ",".join(found[:limit]) + more if found else NONE


def _endpoint_slice(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    ports = [
        "*" if port.get("port") is None else str(port["port"]) for port in mappings(obj, "ports")
    ]
    addresses = [
        str(address)
        for endpoint in mappings(obj, "endpoints")
        for address in items(endpoint, "addresses")
    ]
    unset = "<unset>"
    return (
        name_of(obj),
        text(obj, "addressType"),
        _first(ports) if ports else unset,
        _first(addresses) if addresses else unset,
        age,
    )


def _ingress(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    hosts = [text(rule, "host") or "*" for rule in mappings(obj, "spec", "rules")]
    addresses = [
        text(item, "ip") or text(item, "hostname")
        for item in mappings(obj, "status", "loadBalancer", "ingress")
    ]
    return (
        name_of(obj),
        text(obj, "spec", "ingressClassName") or NONE,
        _first(list(dict.fromkeys(hosts)) or ["*"]),
        ",".join(addresses),
        "80, 443" if items(obj, "spec", "tls") else "80",
        age,
    )


def _ingress_class(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    parameters = mapping(obj, "spec", "parameters")
    group = text(parameters, "apiGroup")
    kind = text(parameters, "kind") + (f".{group}" if group else "")
    shown = f"{kind}/{text(parameters, 'name')}" if parameters else NONE
    return name_of(obj), text(obj, "spec", "controller"), shown, age


def _network_policy(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    return name_of(obj), selector_text(mapping(obj, "spec", "podSelector")), age


def selector_text(selector: Object) -> str:
    """A label selector as `FormatLabelSelector` writes it."""
    terms = [f"{key}={value}" for key, value in sorted(strings(selector, "matchLabels").items())]
    for term in mappings(selector, "matchExpressions"):
        key, op = text(term, "key"), text(term, "operator")
        values = ",".join(sorted(str(value) for value in items(term, "values")))
        match op:
            case "Exists":
                terms.append(key)
            case "DoesNotExist":
                terms.append(f"!{key}")
            case _:
                terms.append(f"{key} {op.lower()} ({values})")
    return ",".join(terms) or NONE


# -- workloads -------------------------------------------------------------------------------------


def _template(obj: Object) -> tuple[str, str]:
    """The names and the images of the template's containers."""
    containers = mappings(obj, "spec", "template", "spec", "containers")
    names = ",".join(text(item, "name") for item in containers)
    return names, ",".join(text(item, "image") or NONE for item in containers)


def _selector(obj: Object) -> str:
    return selector_text(mapping(obj, "spec", "selector"))


def _deployment(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    status = mapping(obj, "status")
    ready = f"{number(status, 'readyReplicas')}/{number(obj, 'spec', 'replicas')}"
    updated, available = number(status, "updatedReplicas"), number(status, "availableReplicas")
    return (name_of(obj), ready, updated, available, age, *_template(obj), _selector(obj))


def _replica_set(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    status = mapping(obj, "status")
    desired, current = number(obj, "spec", "replicas"), number(status, "replicas")
    ready = number(status, "readyReplicas")
    return (name_of(obj), desired, current, ready, age, *_template(obj), _selector(obj))


def _replication_controller(obj: Object, age: str, now: float) -> tuple[Cell, ...]:
    selector = labels_text(strings(obj, "spec", "selector"))
    return (*_replica_set(obj, age, now)[:-1], selector)


def _stateful_set(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    ready = f"{number(obj, 'status', 'readyReplicas')}/{number(obj, 'spec', 'replicas')}"
    return (name_of(obj), ready, age, *_template(obj))


def _daemon_set(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    status = mapping(obj, "status")
    counts = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    numbers = tuple(number(status, name) for name in counts)
    nodes = labels_text(strings(obj, "spec", "template", "spec", "nodeSelector"))
    return (name_of(obj), *numbers, nodes, age, *_template(obj), _selector(obj))


# -- the others ------------------------------------------------------------------------------------


def _event(obj: Object, age: str, now: float) -> tuple[Cell, ...]:
    first = text(obj, "firstTimestamp") or text(obj, "eventTime")
    last = text(obj, "series", "lastObservedTime") or text(obj, "lastTimestamp") or first
    count = number(obj, "series", "count") or number(obj, "count") or 1
    seen = since(last, now) if last else age
    if count > 1:
        seen = f"{seen} (x{count} over {since(first, now)})"
    about = mapping(obj, "involvedObject")
    component = text(obj, "source", "component") or text(obj, "reportingComponent")
    host = text(obj, "source", "host")
    return (
        seen,
        text(obj, "type"),
        text(obj, "reason"),
        f"{text(about, 'kind').lower()}/{text(about, 'name')}",
        text(about, "fieldPath"),
        ", ".join(word for word in (component, host) if word),
        text(obj, "message").strip(),
        since(first, now) if first else age,
        count,
        name_of(obj),
    )


def _namespace(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    return name_of(obj), text(obj, "status", "phase") or "Active", age


def _config_map(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    return name_of(obj), len(mapping(obj, "data")) + len(mapping(obj, "binaryData")), age


def _secret(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    return name_of(obj), text(obj, "type"), len(mapping(obj, "data")), age


def _lab(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    networking = mapping(obj, "networking")
    mode, family = text(networking, "kubeProxyMode"), text(networking, "ipFamily")
    return name_of(obj), mode or "iptables", family or "ipv4", age


def _plain(obj: Object, age: str, _now: float) -> tuple[Cell, ...]:
    return name_of(obj), age


def _listed(heads: str, cells: Callable[[Object, str, float], tuple[Cell, ...]]) -> ObjectColumns:
    """Heads with spaces between them; a star marks one of `-o wide`."""
    words = [word.replace("_", " ") for word in heads.split()]
    columns = tuple(ObjectColumn(word.lstrip("*"), word.startswith("*")) for word in words)
    return ObjectColumns(columns, cells)


_PLAIN = _listed("Name Age", _plain)
_PODS = " *Containers *Images *Selector"
_COLUMNS: Mapping[str, ObjectColumns] = {
    "Pod": _listed(
        "Name Ready Status Restarts Age *IP *Node *Nominated_Node *Readiness_Gates", pod_cells
    ),
    "Node": _listed(
        "Name Status Roles Age Version *Internal-IP *External-IP *OS-Image *Kernel-Version "
        "*Container-Runtime",
        _node,
    ),
    "Service": _listed("Name Type Cluster-IP External-IP Port(s) Age *Selector", _service),
    "Endpoints": _listed("Name Endpoints Age", _endpoints),
    "EndpointSlice": _listed("Name AddressType Ports Endpoints Age", _endpoint_slice),
    "Ingress": _listed("Name Class Hosts Address Ports Age", _ingress),
    "IngressClass": _listed("Name Controller Parameters Age", _ingress_class),
    "NetworkPolicy": _listed("Name Pod-Selector Age", _network_policy),
    "Deployment": _listed("Name Ready Up-to-date Available Age" + _PODS, _deployment),
    "ReplicaSet": _listed("Name Desired Current Ready Age" + _PODS, _replica_set),
    "ReplicationController": _listed(
        "Name Desired Current Ready Age" + _PODS, _replication_controller
    ),
    "StatefulSet": _listed("Name Ready Age *Containers *Images", _stateful_set),
    "DaemonSet": _listed(
        "Name Desired Current Ready Up-to-date Available Node_Selector Age" + _PODS, _daemon_set
    ),
    "Event": _listed(
        "Last_Seen Type Reason Object *Subobject *Source Message *First_Seen *Count *Name", _event
    ),
    "Namespace": _listed("Name Status Age", _namespace),
    "ConfigMap": _listed("Name Data Age", _config_map),
    "Secret": _listed("Name Type Data Age", _secret),
    "Lab": _listed("Name Mode Families Age", _lab),
}
