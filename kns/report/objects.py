"""`kns get -o json|yaml`: the cluster's objects as the Kubernetes API writes them.

So what reads `kubectl get -o json` reads this. Fields that a lab doesn't have are absent.
"""

from __future__ import annotations

from kns.cluster.model import Cluster
from kns.engine.presence import Presence
from kns.kinds import endpointslice, ingress, namespace, networkpolicy, service
from kns.kinds.common import Object, metadata
from kns.kinds.env import EnvVar
from kns.kinds.node import Node
from kns.kinds.pod import Container, Pod
from kns.labfile.reader import JSON
from kns.report.get import (
    ListedKind,
    Selection,
    ingress_address,
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
    items: list[JSON]
    match kind:
        case ListedKind.NODES:
            nodes = [node for node in cluster.nodes if selection.admits("", node.name)]
            items = [node_object(node, presence) for node in nodes]
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
    only = items[0] if len(selection.names) == len(items) == 1 else None
    if isinstance(only, dict) and kind is not ListedKind.ENDPOINTS:
        return only
    return {"apiVersion": "v1", "kind": "List", "items": items}


def node_object(node: Node, presence: Presence) -> Object:
    """A v1 Node; it is Ready while its netns exists."""
    ready = "True" if node.name in presence.nodes else "False"
    cidrs: list[JSON] = [str(cidr) for cidr in node.pod_cidrs]
    addresses: list[JSON] = [
        {"type": "InternalIP", "address": str(address)} for address in node.addresses
    ]
    listed: list[JSON] = [
        {"key": taint.key, "value": taint.value, "effect": str(taint.effect)}
        for taint in node.taints
    ]
    taints: Object = {"taints": listed} if listed else {}
    addresses.append({"type": "Hostname", "address": node.name})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata(node.name, "", node.labels),
        "spec": {**({"podCIDR": cidrs[0], "podCIDRs": cidrs} if cidrs else {}), **taints},
        "status": {
            "addresses": addresses,
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def pod_object(pod: Pod, cluster: Cluster, presence: Presence) -> Object:
    """A v1 Pod; Running while its netns exists, ready while its ports are served too."""
    there = pod.full_name in presence.pods
    ready = there and pod.ready and presence.serving
    node = cluster.node(pod.node)
    status: Object = {
        "phase": "Running" if there else "Pending",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        "hostIP": str(node.addresses[0]) if node else "",
        "podIP": str(pod.addresses[0]) if pod.addresses else "",
        "podIPs": [{"ip": str(address)} for address in pod.addresses],
        "containerStatuses": [
            {"name": container.name, "ready": ready} for container in pod.containers
        ],
    }
    spec: Object = {
        **({"nodeName": pod.node} if pod.node else {}),
        "dnsPolicy": str(pod.dns_policy),
        "enableServiceLinks": pod.enable_service_links,
        "containers": [_container(item) for item in pod.containers if not item.is_sidecar],
    }
    sidecars: list[JSON] = [
        {**_container(item), "restartPolicy": "Always"}
        for item in pod.containers
        if item.is_sidecar
    ]
    if sidecars:
        spec["initContainers"] = sidecars
    if pod.host_aliases:
        spec["hostAliases"] = [
            {"ip": str(alias.ip), "hostnames": list(alias.hostnames)} for alias in pod.host_aliases
        ]
    if pod.host_network:
        spec["hostNetwork"] = True
    if pod.hostname:
        spec["hostname"] = pod.hostname
    if pod.subdomain:
        spec["subdomain"] = pod.subdomain
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(pod.name, pod.namespace, pod.labels, annotations=pod.annotations),
        "spec": spec,
        "status": status,
    }


def _container(container: Container) -> Object:
    ports: list[JSON] = []
    for port in container.ports:
        item: Object = {"containerPort": port.port, "protocol": str(port.protocol)}
        if port.host_port:
            item["hostPort"] = port.host_port
        if port.host_ip is not None:
            item["hostIP"] = str(port.host_ip)
        ports.append({"name": port.name, **item} if port.name else item)
    result: Object = {"name": container.name, "ports": ports}
    if container.command:
        result["command"] = list(container.command)
    if container.env:
        result["env"] = [_variable(item) for item in container.env]
    return result


def _variable(variable: EnvVar) -> JSON:
    if not variable.field_path:
        return {"name": variable.name, "value": variable.value}
    source: Object = {"fieldRef": {"apiVersion": "v1", "fieldPath": variable.field_path}}
    return {"name": variable.name, "valueFrom": source}
