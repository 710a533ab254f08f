"""`kns get`: the cluster's objects in kubectl's columns, or as Kubernetes objects.

Columns whose content a lab doesn't have (RESTARTS, NOMINATED NODE …) are left out rather
than invented; the others have kubectl's heads and forms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kns.addresses import IPAddress
from kns.cluster.ingress import entrance, served
from kns.cluster.model import Cluster, Release
from kns.engine.presence import Presence
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.ingress import Ingress
from kns.kinds.namespace import Namespace
from kns.kinds.networkpolicy import NetworkPolicy
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServiceType
from kns.report.table import Table

NONE = "<none>"


class ListedKind(StrEnum):
    """What `kns get` can list."""

    NODES = "nodes"
    PODS = "pods"
    SERVICES = "services"
    ENDPOINTS = "endpoints"
    INGRESSES = "ingresses"
    NETWORK_POLICIES = "networkpolicies"
    NAMESPACES = "namespaces"

    @property
    def is_namespaced(self) -> bool:
        """True if its objects are in a namespace."""
        return self not in {ListedKind.NODES, ListedKind.NAMESPACES}


#: kubectl's short and singular names
ALIASES: Mapping[str, ListedKind] = {
    **{str(kind): kind for kind in ListedKind},
    "node": ListedKind.NODES,
    "no": ListedKind.NODES,
    "pod": ListedKind.PODS,
    "po": ListedKind.PODS,
    "service": ListedKind.SERVICES,
    "svc": ListedKind.SERVICES,
    "endpoint": ListedKind.ENDPOINTS,
    "ep": ListedKind.ENDPOINTS,
    "endpointslices": ListedKind.ENDPOINTS,
    "ingress": ListedKind.INGRESSES,
    "ing": ListedKind.INGRESSES,
    "networkpolicy": ListedKind.NETWORK_POLICIES,
    "netpol": ListedKind.NETWORK_POLICIES,
    "namespace": ListedKind.NAMESPACES,
    "ns": ListedKind.NAMESPACES,
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects: those of `namespace` (empty: of all) whose name is in `names` (empty: all)."""

    namespace: str = "default"
    names: tuple[str, ...] = ()

    def admits(self, namespace: str, name: str) -> bool:
        """True if an object of that namespace and name is selected."""
        in_namespace = not self.namespace or namespace == self.namespace
        return in_namespace and (not self.names or name in self.names)


# -- tables ----------------------------------------------------------------------------------------


def get_table(
    kind: ListedKind,
    cluster: Cluster,
    selection: Selection,
    presence: Presence,
    *,
    wide: bool = False,
) -> Table:
    """The selected objects in kubectl's columns; `wide` as with `-o wide`."""
    match kind:
        case ListedKind.NODES:
            nodes = [node for node in cluster.nodes if selection.admits("", node.name)]
            return _nodes_table(nodes, presence, cluster.network.kube_proxy.version, wide=wide)
        case ListedKind.PODS:
            pods = select_pods(cluster, selection)
            return _with_namespace(_pods_table(pods, presence, wide=wide), pods, selection)
        case ListedKind.SERVICES:
            services = select_services(cluster, selection)
            return _with_namespace(_services_table(services, wide=wide), services, selection)
        case ListedKind.ENDPOINTS:
            services = [
                service
                for service in select_services(cluster, selection)
                if service.type is not ServiceType.EXTERNAL_NAME  # has no Endpoints object
            ]
            slices = cluster.endpoint_slices
            rows = tuple((service.name, endpoints_text(service, slices)) for service in services)
            return _with_namespace(Table(("NAME", "ENDPOINTS"), rows), services, selection)
        case ListedKind.INGRESSES:
            ingresses = select_ingresses(cluster, selection)
            return _with_namespace(_ingresses_table(ingresses, cluster), ingresses, selection)
        case ListedKind.NETWORK_POLICIES:
            policies = select_policies(cluster, selection)
            selectors = tuple((item.name, str(item.pod_selector) or NONE) for item in policies)
            return _with_namespace(Table(("NAME", "POD-SELECTOR"), selectors), policies, selection)
        case ListedKind.NAMESPACES:
            return _namespaces_table(select_namespaces(cluster, selection), wide=wide)


def select_pods(cluster: Cluster, selection: Selection) -> list[Pod]:
    """The selected pods, in file order; those that no node will do for come last."""
    every = (*cluster.pods, *cluster.pending)
    return [pod for pod in every if selection.admits(pod.namespace, pod.name)]


def select_services(cluster: Cluster, selection: Selection) -> list[Service]:
    """The selected services, by full name."""
    return [
        service for service in cluster.services if selection.admits(service.namespace, service.name)
    ]


def select_ingresses(cluster: Cluster, selection: Selection) -> list[Ingress]:
    """The selected Ingresses, in file order."""
    return [item for item in cluster.ingresses if selection.admits(item.namespace, item.name)]


def select_policies(cluster: Cluster, selection: Selection) -> list[NetworkPolicy]:
    """The selected NetworkPolicies, in file order."""
    return [p for p in cluster.network_policies if selection.admits(p.namespace, p.name)]


def select_namespaces(cluster: Cluster, selection: Selection) -> list[Namespace]:
    """The selected namespaces."""
    return [item for item in cluster.namespaces if selection.admits("", item.name)]


def _with_namespace(
    table: Table,
    objects: Sequence[Pod | Service | Ingress | NetworkPolicy],
    selection: Selection,
) -> Table:
    """kubectl's `-A` puts a NAMESPACE column first."""
    if selection.namespace:
        return table
    rows = zip(objects, table.rows, strict=True)
    return Table(("NAMESPACE", *table.heads), tuple((item.namespace, *row) for item, row in rows))


def _nodes_table(
    nodes: Iterable[Node], presence: Presence, release: Release, *, wide: bool
) -> Table:
    heads = ("NAME", "STATUS", "VERSION", "INTERNAL-IP", "POD-CIDR")
    rows = []
    for node in nodes:
        status = "Ready" if node.name in presence.nodes else "Missing"
        row = (node.name, status, f"v{release}", _join(node.addresses), _join(node.pod_cidrs))
        rows.append((*row, labels_text(node.labels)) if wide else row)
    return Table((*heads, "LABELS") if wide else heads, tuple(rows))


def _pods_table(pods: Iterable[Pod], presence: Presence, *, wide: bool) -> Table:
    heads = ("NAME", "READY", "STATUS", "AGE")
    more = ("IP", "NODE", "LABELS")
    rows = []
    for pod in pods:
        age = presence.ages.get(pod.full_name)
        row = (
            pod.name,
            f"{_ready_containers(pod, presence)}/{len(pod.containers)}",
            _pod_status(pod, presence),
            age_text(age) if age is not None else "<unknown>",
        )
        wide_row = (*row, _join(pod.addresses), pod.node or NONE, labels_text(pod.labels))
        rows.append(wide_row if wide else row)
    return Table((*heads, *more) if wide else heads, tuple(rows))


def _ready_containers(pod: Pod, presence: Presence) -> int:
    there = pod.full_name in presence.pods and presence.serving
    return len(pod.containers) if there and pod.ready else 0


def _pod_status(pod: Pod, presence: Presence) -> str:
    if not pod.node:
        return "Pending"
    if pod.full_name not in presence.pods:
        return "Missing"
    return "Terminating" if pod.terminating else "Running"


def _services_table(services: Iterable[Service], *, wide: bool) -> Table:
    heads = ("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)")
    rows = []
    for service in services:
        row = (
            service.name,
            str(service.type),
            _join(service.cluster_ips) if service.cluster_ips else "None",
            external_ip_text(service),
            ports_text(service),
        )
        if service.type is ServiceType.EXTERNAL_NAME:
            row = (row[0], row[1], NONE, row[3], row[4])
        rows.append((*row, labels_text(service.selector or {})) if wide else row)
    return Table((*heads, "SELECTOR") if wide else heads, tuple(rows))


def _namespaces_table(namespaces: Iterable[Namespace], *, wide: bool) -> Table:
    """kubectl has the labels by --show-labels; here `-o wide` is the one way to see more."""
    heads = ("NAME", "STATUS")
    if not wide:
        return Table(heads, tuple((item.name, "Active") for item in namespaces))
    rows = tuple((item.name, "Active", labels_text(item.labels)) for item in namespaces)
    return Table((*heads, "LABELS"), rows)


def _ingresses_table(ingresses: Iterable[Ingress], cluster: Cluster) -> Table:
    rows = tuple(
        (
            item.name,
            item.ingress_class or NONE,
            hosts_text(item),
            ingress_address(item, cluster),
            "80, 443" if item.tls else "80",
        )
        for item in ingresses
    )
    return Table(("NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS"), rows)


# -- cells -----------------------------------------------------------------------------------------


def external_ip_text(service: Service) -> str:
    """kubectl's EXTERNAL-IP: external IPs, a load balancer's addresses, or an external name."""
    match service.type:
        case ServiceType.EXTERNAL_NAME:
            return service.external_name
        case ServiceType.LOAD_BALANCER:
            ingress = [str(item.ip or item.hostname) for item in service.load_balancer_ingress]
            found = [*ingress, *map(str, service.external_ips)]
            return ",".join(found) if found else "<pending>"
        case ServiceType.CLUSTER_IP | ServiceType.NODE_PORT:
            return _join(service.external_ips)


def ports_text(service: Service) -> str:
    """kubectl's PORT(S): `80/TCP`, with a node port `80:30080/TCP`."""
    ports = [
        f"{port.port}:{port.node_port}/{port.protocol}"
        if port.node_port
        else f"{port.port}/{port.protocol}"
        for port in service.ports
    ]
    return ",".join(ports) if ports else NONE


def endpoints_text(service: Service, slices: Iterable[EndpointSlice]) -> str:
    """kubectl's ENDPOINTS: ready `address:port`s, the first three and how many more."""
    found: list[str] = []
    for item in slices:
        if (item.namespace, item.service) == (service.namespace, service.name):
            found += [
                _address_and_port(endpoint.addresses[0], port.port)
                for port in item.ports
                for endpoint in item.endpoints
                if endpoint.ready is not False
            ]
    if not found:
        return NONE
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more


def hosts_text(ingress: Ingress) -> str:
    """kubectl's HOSTS: `*` for any, the first three and how many more."""
    hosts = list(dict.fromkeys(rule.host or "*" for rule in ingress.rules)) or ["*"]
    more = f" + {len(hosts) - 3} more..." if len(hosts) > 3 else ""
    return ",".join(hosts[:3]) + more


def ingress_address(ingress: Ingress, cluster: Cluster) -> str:
    """Where the world finds the Ingress: its controller's entrance; empty if nobody serves it."""
    if ingress not in served(cluster):
        return ""
    door = entrance(cluster)
    return str(door.address) if door is not None else ""


def _address_and_port(address: IPAddress, port: int | None) -> str:
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{port}" if port is not None else host


def labels_text(labels: Mapping[str, str]) -> str:
    """`key=value`, sorted, with commas; kubectl's `<none>` for no label."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE


def age_text(seconds: float) -> str:
    """kubectl's AGE, as apimachinery's HumanDuration writes it: `42s`, `5m10s`, `3h2m`, `2d`."""
    total = max(int(seconds), 0)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return _two_units(minutes, "m", total % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    return _two_units(days, "d", hours % 24, "h") if days < 8 else f"{days}d"


def _two_units(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"


def _join(items: Iterable[object]) -> str:
    return ",".join(map(str, items)) or NONE
