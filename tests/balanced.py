"""A cluster with LoadBalancer Services, as `labs/load-balancer.yaml` has them, in each mode."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from kns.cluster.model import Cluster
from kns.kinds.internet import InternetHost
from kns.kinds.networking import LoadBalancerOptions
from kns.kinds.service import LoadBalancerIngress, Service, ServicePort, ServiceType, TrafficPolicy
from tests.clusters import make_cluster
from tests.probe.scenes import with_service

POOL = ip_network("198.51.100.0/24")


def balanced(mode: str = "l2", *, backends: int = 2, **changes: Any) -> Cluster:
    """Three nodes with a pod each; svc-cluster, svc-local, svc-ranges lead to the first pods.

    `changes` are made to all three services.
    """
    cluster = make_cluster(nodes=3, pods=3)
    stranger = InternetHost("stranger", (ip_address("203.0.113.66"),))
    network = replace(cluster.network, load_balancer=LoadBalancerOptions(mode, (POOL,)))
    cluster = replace(cluster, network=network, services=(), internet=(*cluster.internet, stranger))
    ip_mode = "Proxy" if mode == "proxy" else "VIP"
    special: dict[str, dict[str, Any]] = {
        "svc-cluster": {},
        "svc-local": {
            "external_traffic_policy": TrafficPolicy.LOCAL,
            "health_check_node_port": 32001,
        },
        "svc-ranges": {"load_balancer_source_ranges": ("203.0.113.10/32",)},
    }
    for number, (name, fields) in enumerate(special.items(), start=1):
        service = Service(
            "default",
            name,
            type=ServiceType.LOAD_BALANCER,
            cluster_ips=(ip_address(f"10.96.7.{number}"),),
            selector={"app": "a"},
            ports=(ServicePort(80, target_port=8080, node_port=30080 + number),),
            load_balancer_ingress=(
                LoadBalancerIngress(ip_address(f"198.51.100.{number}"), "", ip_mode),
            ),
        )
        service = replace(service, **{**fields, **changes})
        cluster = with_service(cluster, service, cluster.pods[:backends])
    return cluster
