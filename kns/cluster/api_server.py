"""The cluster's own API server: where it listens, its Service, and the slice of that. Pure.

    pod ─▶ default/kubernetes, the first address of the service subnet ─▶ the node's address:6443

As kube-apiserver keeps them: the Service is single-stack in the cluster's primary family, has no
selector, and the slice no controller and no owner.
"""

from __future__ import annotations

from collections.abc import Sequence

from kns.addresses import IPFamily
from kns.cluster.allocate import address_at
from kns.cluster.model import APIEndpoint, Cluster, Network
from kns.cluster.slices import SERVICE_NAME
from kns.kinds.apiserver import (
    API_NAMESPACE,
    API_PORT,
    API_SERVICE,
    DEFAULT_ACCOUNT,
    SECURE_PORT,
)
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.lab import Lab
from kns.kinds.networks import KUBERNETES_INDEX
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort

_PORT_NAME = "https"


def resolve_api_server(lab: Lab, nodes: Sequence[Node]) -> APIEndpoint | None:
    """The lab's API server, if it has one and its node is there."""
    if lab.api_server is None:
        return None
    wanted = lab.api_server.node
    node = next((node for node in nodes if wanted in {"", node.name}), None)
    return None if node is None else APIEndpoint(node.name, node.addresses, SECURE_PORT)


def api_service(network: Network) -> Service:
    """The Service `kubernetes` of the namespace `default`."""
    return Service(
        name=API_SERVICE,
        namespace=API_NAMESPACE,
        labels={"component": "apiserver", "provider": "kubernetes"},
        cluster_ips=(address_at(network.service_cidrs[0], KUBERNETES_INDEX),),
        ip_families=(),
        ports=(ServicePort(API_PORT, _PORT_NAME, Protocol.TCP, SECURE_PORT),),
    )


def api_slice(server: APIEndpoint) -> EndpointSlice:
    """The slice of that Service, in the primary family."""
    address = server.addresses[0]
    return EndpointSlice(
        namespace=API_NAMESPACE,
        name=API_SERVICE,
        service=API_SERVICE,
        address_type=IPFamily.of(address),
        ports=(EndpointPort(server.port, _PORT_NAME),),
        endpoints=(Endpoint((address,), ready=True),),
        labels={SERVICE_NAME: API_SERVICE},
    )


def is_api_slice(item: EndpointSlice) -> bool:
    """Whether it is the one that the API server keeps, by what names it."""
    return (item.namespace, item.name) == (API_NAMESPACE, API_SERVICE)


def account_of(cluster: Cluster, pod: Pod) -> str:
    """`namespace/name` of the service account whose files the pod is given; empty: none.

    What the pod says of it counts before what its account says: plugin/pkg/admission/serviceaccount
    shouldAutomount.
    """
    if cluster.api_server is None:
        return ""
    account = f"{pod.namespace}/{pod.service_account or DEFAULT_ACCOUNT}"
    wanted = pod.automount_service_account_token
    if wanted is None:
        wanted = account not in cluster.tokenless_accounts
    return account if wanted else ""


def tokenless_accounts(lab: Lab) -> frozenset[str]:
    """The service accounts that say that pods are not to be given their token."""
    return frozenset(
        f"{item.namespace}/{item.name}" for item in lab.service_accounts if item.automount is False
    )


def server_names(cluster: Cluster) -> tuple[str, ...]:
    """Under which names and addresses those in the cluster ask for the API.

    As kubeadm writes them into the certificate of its API server.
    """
    server = cluster.api_server
    if server is None:
        return ()
    domain = cluster.network.dns.domain.rstrip(".")
    service = cluster.service(API_NAMESPACE, API_SERVICE)
    addresses = (*(service.cluster_ips if service is not None else ()), *server.addresses)
    full = f"{API_SERVICE}.{API_NAMESPACE}.svc.{domain}"
    return (full, server.node, *map(str, addresses))
