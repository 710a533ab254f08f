"""`kns get -o json|yaml`: the cluster's objects as the Kubernetes API writes them.

So what reads `kubectl get -o json` reads this. Fields that a lab doesn't have are absent.
"""

from __future__ import annotations

from kns.cluster.ingress import ingress_address
from kns.cluster.model import Cluster
from kns.engine.presence import Presence
from kns.kinds import (
    endpointslice,
    ingress,
    namespace,
    networkpolicy,
    node,
    podobject,
    service,
)
from kns.kinds.common import Object
from kns.kinds.node import Node
from kns.kinds.objects import list_of
from kns.kinds.pod import Pod
from kns.labfile.reader import JSON
from kns.report.get import (
    ListedKind,
    Selection,
    select_ingresses,
    select_namespaces,
    select_pods,
    select_policies,
    select_services,
)


def get_objects(
    kind: ListedKind, cluster: Cluster, selection: Selection, presence: Presence
) -> Object:
    """A Kubernetes List of the selected objects; of one name, the object itself.

    Endpoints are the services' EndpointSlices, of which a service may have several: a List always.
    """
    items: list[Object]
    match kind:
        case ListedKind.NODES:
            nodes = [item for item in cluster.nodes if selection.admits("", item.name)]
            items = [node_object(item, presence) for item in nodes]
        case ListedKind.PODS:
            items = [pod_object(pod, cluster, presence) for pod in select_pods(cluster, selection)]
        case ListedKind.SERVICES:
            items = [service.write(item) for item in select_services(cluster, selection)]
        case ListedKind.ENDPOINTS:
            slices = [
                item
                for item in cluster.endpoint_slices
                if selection.admits(item.namespace, item.service)
            ]
            items = [endpointslice.write(item) for item in slices]
        case ListedKind.INGRESSES:
            found = select_ingresses(cluster, selection)
            items = [ingress.write(item, ingress_address(item, cluster)) for item in found]
        case ListedKind.NETWORK_POLICIES:
            items = [networkpolicy.write(item) for item in select_policies(cluster, selection)]
        case ListedKind.NAMESPACES:
            items = [namespace.write(item) for item in select_namespaces(cluster, selection)]
    if len(selection.names) == len(items) == 1 and kind is not ListedKind.ENDPOINTS:
        return items[0]
    return list_of(items)


def node_object(item: Node, presence: Presence) -> Object:
    """A v1 Node; it is Ready while its netns exists."""
    made = node.write(item)
    ready = "True" if item.name in presence.nodes else "False"
    conditions: list[JSON] = [{"type": "Ready", "status": ready}]
    status = made["status"]
    assert isinstance(status, dict)  # noqa: S101 - it has the node's addresses
    return {**made, "status": {**status, "conditions": conditions}}


def pod_object(item: Pod, cluster: Cluster, presence: Presence) -> Object:
    """A v1 Pod; Running while its netns exists, ready while its ports are served too."""
    there = item.full_name in presence.pods
    ready = there and item.ready and presence.serving
    host = cluster.node(item.node)
    status: Object = {
        "phase": "Running" if there else "Pending",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        "hostIP": str(host.addresses[0]) if host else "",
        "podIP": str(item.addresses[0]) if item.addresses else "",
        "podIPs": [{"ip": str(address)} for address in item.addresses],
        "containerStatuses": [
            {"name": container.name, "ready": ready} for container in item.containers
        ],
    }
    return {**podobject.write(item), "status": status}
