"""`kns get`: the cluster's objects in kubectl's columns, or as Kubernetes objects.

Nodes and pods are as old as their netns; of the other objects nothing tells when they came, and
their AGE is the lab's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kns.addresses import IPAddress
from kns.cluster.ingress import ingress_address
from kns.cluster.model import Cluster
from kns.engine.presence import Presence
from kns.kinds.column_words import NONE, age_text, labels_text
from kns.kinds.common import Labels
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.ingress import Ingress
from kns.kinds.namespace import Namespace
from kns.kinds.networkpolicy import NetworkPolicy
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.release import Release
from kns.kinds.scheduling import NOT_READY_TAINTS, UNSCHEDULABLE_TAINT
from kns.kinds.service import Service, ServiceType
from kns.report.table import Table


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
    """Which objects: those of `namespace` (empty: of all) whose name is in `names` (empty: all).

    `keys` are those that a label selector selects, if there is one.
    """

    namespace: str = "default"
    names: tuple[str, ...] = ()
    keys: frozenset[tuple[str, str]] | None = None

    def admits(self, namespace: str, name: str) -> bool:
        """True if an object of that namespace and name is selected."""
        in_namespace = not self.namespace or namespace == self.namespace
        is_selected = self.keys is None or (namespace, name) in self.keys
        return in_namespace and is_selected and (not self.names or name in self.names)


# -- tables ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns besides the usual ones: those of `-o wide`, and the labels."""

    wide: bool = False
    labels: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    """One object: its cells, those that `-o wide` adds, and what every table has of it."""

    cells: tuple[str, ...]
    labels: Labels
    namespace: str = ""
    wide: tuple[str, ...] = ()


def get_table(
    kind: ListedKind,
    cluster: Cluster,
    selection: Selection,
    presence: Presence,
    columns: Columns = Columns(),
) -> Table:
    """The selected objects in kubectl's columns."""
    heads, wide = _HEADS[kind]
    rows = tuple(_rows(kind, cluster, selection, presence))
    every = kind.is_namespaced and not selection.namespace
    return Table(
        (
            *(("NAMESPACE",) if every else ()),
            *heads,
            *(wide if columns.wide else ()),
            *(("LABELS",) if columns.labels else ()),
        ),
        tuple(
            (
                *((row.namespace,) if every else ()),
                *row.cells,
                *(row.wide if columns.wide else ()),
                *((labels_text(row.labels),) if columns.labels else ()),
            )
            for row in rows
        ),
    )


#: the columns of each kind, and those that `-o wide` adds. kubectl's, but for a node's POD-CIDR,
#: which tells whose addresses it has
_HEADS: Mapping[ListedKind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    ListedKind.NODES: (
        ("NAME", "STATUS", "ROLES", "AGE", "VERSION"),
        ("INTERNAL-IP", "EXTERNAL-IP", "POD-CIDR"),
    ),
    ListedKind.PODS: (
        ("NAME", "READY", "STATUS", "RESTARTS", "AGE"),
        ("IP", "NODE", "NOMINATED NODE", "READINESS GATES"),
    ),
    ListedKind.SERVICES: (
        ("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"),
        ("SELECTOR",),
    ),
    ListedKind.ENDPOINTS: (("NAME", "ENDPOINTS", "AGE"), ()),
    ListedKind.INGRESSES: (("NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE"), ()),
    ListedKind.NETWORK_POLICIES: (("NAME", "POD-SELECTOR", "AGE"), ()),
    ListedKind.NAMESPACES: (("NAME", "STATUS", "AGE"), ()),
}


def _rows(
    kind: ListedKind, cluster: Cluster, selection: Selection, presence: Presence
) -> Iterator[_Row]:
    age = _age(presence.lab_age)
    match kind:
        case ListedKind.NODES:
            release = cluster.network.kube_proxy.version
            nodes = (node for node in cluster.nodes if selection.admits("", node.name))
            yield from (_node_row(node, presence, release) for node in nodes)
        case ListedKind.PODS:
            pods = select_pods(cluster, selection)
            yield from (_pod_row(pod, presence) for pod in pods)
        case ListedKind.SERVICES:
            services = select_services(cluster, selection)
            yield from (_service_row(service, age) for service in services)
        case ListedKind.ENDPOINTS:
            services = select_services(cluster, selection)
            yield from _endpoints_rows(services, cluster.endpoint_slices, age)
        case ListedKind.INGRESSES:
            ingresses = select_ingresses(cluster, selection)
            yield from (_ingress_row(item, cluster, age) for item in ingresses)
        case ListedKind.NETWORK_POLICIES:
            policies = select_policies(cluster, selection)
            yield from (_policy_row(policy, age) for policy in policies)
        case ListedKind.NAMESPACES:
            found = select_namespaces(cluster, selection)
            yield from (_Row((item.name, "Active", age), item.labels) for item in found)


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


def _node_row(node: Node, presence: Presence, release: Release) -> _Row:
    age = _age(presence.node_ages.get(node.name))
    cells = (node.name, _node_status(node, presence), roles_text(node), age, f"v{release}")
    wide = (_join(node.addresses), NONE, _join(node.pod_cidrs))
    return _Row(cells, node.labels, wide=wide)


def _node_status(node: Node, presence: Presence) -> str:
    """kubectl's STATUS, by the taints that tell of conditions."""
    taints = {taint.key for taint in node.taints}
    ready = "NotReady" if taints & NOT_READY_TAINTS else "Ready"
    status = ready if node.name in presence.nodes else "Missing"
    return f"{status},SchedulingDisabled" if UNSCHEDULABLE_TAINT.key in taints else status


def _pod_row(pod: Pod, presence: Presence) -> _Row:
    cells = (
        pod.name,
        _pod_ready(pod, presence),
        _pod_status(pod, presence),
        str(presence.restarts.get(pod.full_name, 0)),
        _age(presence.ages.get(pod.full_name)),
    )
    wide = (_join(pod.addresses), pod.node or NONE, NONE, NONE)
    return _Row(cells, pod.labels, pod.namespace, wide)


def _pod_ready(pod: Pod, presence: Presence) -> str:
    """The kubelet's account; of a pod of which it has said nothing, what the lab wants of it."""
    total = len(pod.containers)
    if pod.full_name not in presence.pods or not presence.serving:
        return f"0/{total}"
    return presence.ready.get(pod.full_name, f"{total if pod.ready else 0}/{total}")


def _pod_status(pod: Pod, presence: Presence) -> str:
    if not pod.node:
        return "Pending"
    if pod.full_name not in presence.pods:
        return "Missing"
    return presence.statuses.get(pod.full_name, "Terminating" if pod.terminating else "Running")


def _service_row(service: Service, age: str) -> _Row:
    cluster_ip = _join(service.cluster_ips) if service.cluster_ips else "None"
    cells = (
        service.name,
        str(service.type),
        NONE if service.type is ServiceType.EXTERNAL_NAME else cluster_ip,
        external_ip_text(service),
        ports_text(service),
        age,
    )
    wide = (labels_text(service.selector or {}),)
    return _Row(cells, service.labels, service.namespace, wide)


def _endpoints_rows(
    services: Iterable[Service], slices: Sequence[EndpointSlice], age: str
) -> Iterator[_Row]:
    for service in services:
        if service.type is not ServiceType.EXTERNAL_NAME:  # has no Endpoints object
            cells = (service.name, endpoints_text(service, slices), age)
            yield _Row(cells, service.labels, service.namespace)


def _policy_row(policy: NetworkPolicy, age: str) -> _Row:
    return _Row((policy.name, str(policy.pod_selector) or NONE, age), {}, policy.namespace)


def _ingress_row(ingress: Ingress, cluster: Cluster, age: str) -> _Row:
    cells = (
        ingress.name,
        ingress.ingress_class or NONE,
        hosts_text(ingress),
        ingress_address(ingress, cluster),
        "80, 443" if ingress.tls else "80",
        age,
    )
    return _Row(cells, {}, ingress.namespace)


# -- cells -----------------------------------------------------------------------------------------


def roles_text(node: Node) -> str:
    """kubectl's ROLES: what follows `node-role.kubernetes.io/` in the labels."""
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key[len(prefix) :] for key in node.labels if key.startswith(prefix))
    return ",".join(role for role in roles if role) or NONE


def _age(seconds: float | None) -> str:
    return "<unknown>" if seconds is None else age_text(seconds)


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


def _address_and_port(address: IPAddress, port: int | None) -> str:
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{port}" if port is not None else host


def _join(items: Iterable[object]) -> str:
    return ",".join(map(str, items)) or NONE
