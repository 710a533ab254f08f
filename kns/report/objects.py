"""`kns get -o json|yaml`: the cluster's objects as the Kubernetes API writes them.

So what reads `kubectl get -o json` reads this. Fields that a lab doesn't have are absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from kns.cluster.model import Cluster
from kns.engine.presence import Presence
from kns.kinds.endpointslice import Endpoint, EndpointSlice
from kns.kinds.ingress import Ingress, IngressBackend, IngressRule
from kns.kinds.node import Node
from kns.kinds.pod import Container, Pod
from kns.kinds.service import Service, ServicePort, ServiceType, SessionAffinity
from kns.report.get import (
    Kind,
    Selection,
    ingress_address,
    select_ingresses,
    select_pods,
    select_services,
)

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


def get_objects(
    kind: Kind, cluster: Cluster, selection: Selection, presence: Presence
) -> dict[str, Json]:
    """A Kubernetes List of the selected objects; endpoints are the services' EndpointSlices."""
    items: list[Json]
    match kind:
        case Kind.NODES:
            nodes = [node for node in cluster.nodes if selection.admits("", node.name)]
            items = [node_object(node, presence) for node in nodes]
        case Kind.PODS:
            items = [pod_object(pod, cluster, presence) for pod in select_pods(cluster, selection)]
        case Kind.SERVICES:
            items = [service_object(item) for item in select_services(cluster, selection)]
        case Kind.ENDPOINTS:
            slices = [
                item
                for item in cluster.endpoint_slices
                if selection.admits(item.namespace, item.service)
            ]
            items = [slice_object(item) for item in slices]
        case Kind.INGRESSES:
            found = select_ingresses(cluster, selection)
            items = [ingress_object(item, ingress_address(item, cluster)) for item in found]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def node_object(node: Node, presence: Presence) -> dict[str, Json]:
    """A v1 Node; it is Ready while its netns exists."""
    ready = "True" if node.name in presence.nodes else "False"
    cidrs: list[Json] = [str(cidr) for cidr in node.pod_cidrs]
    addresses: list[Json] = [
        {"type": "InternalIP", "address": str(address)} for address in node.addresses
    ]
    addresses.append({"type": "Hostname", "address": node.name})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": _metadata(node.name, "", node.labels),
        "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs} if cidrs else {},
        "status": {
            "addresses": addresses,
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def pod_object(pod: Pod, cluster: Cluster, presence: Presence) -> dict[str, Json]:
    """A v1 Pod; Running while its netns exists, ready while its ports are served too."""
    there = pod.full_name in presence.pods
    ready = there and pod.ready and presence.serving
    node = next((node for node in cluster.nodes if node.name == pod.node), None)
    status: dict[str, Json] = {
        "phase": "Running" if there else "Pending",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        "hostIP": str(node.addresses[0]) if node else "",
        "podIP": str(pod.addresses[0]) if pod.addresses else "",
        "podIPs": [{"ip": str(address)} for address in pod.addresses],
        "containerStatuses": [
            {"name": container.name, "ready": ready} for container in pod.containers
        ],
    }
    spec: dict[str, Json] = {
        "nodeName": pod.node,
        "dnsPolicy": str(pod.dns_policy),
        "enableServiceLinks": pod.enable_service_links,
        "containers": [_container(container) for container in pod.containers],
    }
    if pod.hostname:
        spec["hostname"] = pod.hostname
    if pod.subdomain:
        spec["subdomain"] = pod.subdomain
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(pod.name, pod.namespace, pod.labels),
        "spec": spec,
        "status": status,
    }


def _container(container: Container) -> dict[str, Json]:
    ports: list[Json] = []
    for port in container.ports:
        item: dict[str, Json] = {"containerPort": port.port, "protocol": str(port.protocol)}
        ports.append({"name": port.name, **item} if port.name else item)
    result: dict[str, Json] = {"name": container.name, "ports": ports}
    if container.command:
        result["command"] = list(container.command)
    if container.env:
        result["env"] = [{"name": item.name, "value": item.value} for item in container.env]
    return result


def service_object(service: Service) -> dict[str, Json]:
    """A v1 Service after defaulting and allocation."""
    spec: dict[str, Json] = {
        "type": str(service.type),
        "ports": [_service_port(port) for port in service.ports],
        "sessionAffinity": str(service.session_affinity),
        "internalTrafficPolicy": str(service.internal_traffic_policy),
    }
    if service.type is ServiceType.EXTERNAL_NAME:
        spec["externalName"] = service.external_name
    else:
        ips: list[Json] = [str(address) for address in service.cluster_ips] or ["None"]
        spec |= {"clusterIP": ips[0], "clusterIPs": ips}
        spec["ipFamilies"] = [str(family) for family in service.ip_families]
    if service.selector is not None:
        spec["selector"] = dict(service.selector)
    if service.type in {ServiceType.NODE_PORT, ServiceType.LOAD_BALANCER}:
        spec["externalTrafficPolicy"] = str(service.external_traffic_policy)
    spec |= _optional_service_fields(service)
    ingress: list[Json] = [
        {"ip": str(item.ip), "ipMode": item.ip_mode} if item.ip else {"hostname": item.hostname}
        for item in service.load_balancer_ingress
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(
            service.name, service.namespace, service.labels, annotations=service.annotations
        ),
        "spec": spec,
        "status": {"loadBalancer": {"ingress": ingress} if ingress else {}},
    }


def _optional_service_fields(service: Service) -> dict[str, Json]:
    spec: dict[str, Json] = {}
    if service.session_affinity is SessionAffinity.CLIENT_IP:
        timeout: dict[str, Json] = {"timeoutSeconds": service.session_affinity_timeout}
        spec["sessionAffinityConfig"] = {"clientIP": timeout}
    if service.external_ips:
        spec["externalIPs"] = [str(address) for address in service.external_ips]
    if service.load_balancer_source_ranges:
        spec["loadBalancerSourceRanges"] = list(service.load_balancer_source_ranges)
    if service.load_balancer_class:
        spec["loadBalancerClass"] = service.load_balancer_class
    if service.health_check_node_port:
        spec["healthCheckNodePort"] = service.health_check_node_port
    if service.publish_not_ready_addresses:
        spec["publishNotReadyAddresses"] = True
    if service.traffic_distribution:
        spec["trafficDistribution"] = service.traffic_distribution
    return spec


def _service_port(port: ServicePort) -> dict[str, Json]:
    result: dict[str, Json] = {"name": port.name} if port.name else {}
    result |= {"protocol": str(port.protocol), "port": port.port}
    result["targetPort"] = port.target_port or port.port
    if port.node_port:
        result["nodePort"] = port.node_port
    return result


def slice_object(item: EndpointSlice) -> dict[str, Json]:
    """A discovery.k8s.io/v1 EndpointSlice."""
    ports: list[Json] = [
        {"name": port.name, "port": port.port, "protocol": str(port.protocol)}
        for port in item.ports
    ]
    labels = {**item.labels, "kubernetes.io/service-name": item.service}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata(item.name, item.namespace, labels),
        "addressType": str(item.address_type),
        "ports": ports,
        "endpoints": [_endpoint(endpoint) for endpoint in item.endpoints],
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Json]:
    conditions = {
        "ready": endpoint.ready,
        "serving": endpoint.serving,
        "terminating": endpoint.terminating,
    }
    result: dict[str, Json] = {
        "addresses": [str(address) for address in endpoint.addresses],
        "conditions": {key: value for key, value in conditions.items() if value is not None},
    }
    for key, value in (
        ("nodeName", endpoint.node_name),
        ("zone", endpoint.zone),
        ("hostname", endpoint.hostname),
    ):
        if value:
            result[key] = value
    if endpoint.hint_zones:
        result["hints"] = {"forZones": [{"name": zone} for zone in endpoint.hint_zones]}
    if endpoint.pod:
        namespace, _, name = endpoint.pod.partition("/")
        result["targetRef"] = {"kind": "Pod", "namespace": namespace, "name": name}
    return result


def ingress_object(ingress: Ingress, address: str) -> dict[str, Json]:
    """A networking.k8s.io/v1 Ingress; `address` is its controller's, or empty."""
    spec: dict[str, Json] = {}
    if ingress.ingress_class:
        spec["ingressClassName"] = ingress.ingress_class
    if ingress.default_backend is not None:
        spec["defaultBackend"] = _backend(ingress.default_backend)
    if ingress.tls:
        spec["tls"] = [
            {"hosts": list(item.hosts), "secretName": item.secret_name} for item in ingress.tls
        ]
    if ingress.rules:
        spec["rules"] = [_rule(rule) for rule in ingress.rules]
    points: list[Json] = [{"ip": address}] if address else []
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": _metadata(
            ingress.name, ingress.namespace, ingress.labels, annotations=ingress.annotations
        ),
        "spec": spec,
        "status": {"loadBalancer": {"ingress": points} if points else {}},
    }


def _rule(rule: IngressRule) -> dict[str, Json]:
    result: dict[str, Json] = {"host": rule.host} if rule.host else {}
    if rule.paths:
        paths: list[Json] = [
            {"path": item.path, "pathType": str(item.path_type), "backend": _backend(item.backend)}
            for item in rule.paths
        ]
        result["http"] = {"paths": paths}
    return result


def _backend(backend: IngressBackend) -> dict[str, Json]:
    key = "number" if isinstance(backend.port, int) else "name"
    return {"service": {"name": backend.service, "port": {key: backend.port}}}


def _metadata(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    *,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Json]:
    result: dict[str, Json] = {"name": name}
    if namespace:
        result["namespace"] = namespace
    if labels:
        result["labels"] = dict(labels)
    if annotations:
        result["annotations"] = dict(annotations)
    return result
