"""Whose address is it? Pods, nodes, bridges, services and internet hosts by address. Pure."""

from __future__ import annotations

import re

from kns.addresses import IPAddress, is_address
from kns.cluster.model import Cluster
from kns.errors import UsageError
from kns.promise.addresses import CLOUD_LB, cloud_lb_addresses
from kns.promise.location import label

_BRACKETED = re.compile(r"^\[(?P<host>[^\]]+)\](?::(?P<port>[^:]+))?$")


def owners(cluster: Cluster) -> dict[IPAddress, str]:
    """Every address of the lab with the name of its owner, as people call it."""
    network = cluster.network
    found = {cidr[1]: "router" for cidr in (*network.node_cidrs, *network.internet_cidrs)}
    found |= dict.fromkeys(cloud_lb_addresses(cluster), CLOUD_LB)
    for node in cluster.nodes:
        for cidr in node.pod_cidrs:
            found[cidr.network_address] = f"{node.name}'s flannel.1"
            found[cidr.network_address + 1] = f"{node.name}'s cni0"
        found |= dict.fromkeys(node.addresses, node.name)
        found |= {address: node.name for address in node.host_addresses if address not in found}
    for service in cluster.services:
        balanced = (point.ip for point in service.load_balancer_ingress if point.ip is not None)
        addresses = (*service.cluster_ips, *service.external_ips, *balanced)
        found |= {a: f"svc/{label(service)}" for a in addresses if a not in found}
    for host in cluster.internet:
        found |= dict.fromkeys(host.addresses, host.name)
    for pod in (pod for pod in cluster.pods if not pod.host_network):
        found |= dict.fromkeys(pod.addresses, label(pod))
    return found


def in_url(host: IPAddress | str) -> str:
    """The address (or name) as a URL's host: IPv6 goes in brackets."""
    text = str(host)
    return f"[{text}]" if ":" in text else text


def split_port(text: str) -> tuple[str, str]:
    """`host` and `port` of `host[:port]`; an IPv6 address needs brackets to have a port."""
    bracketed = _BRACKETED.match(text)
    if bracketed:
        return bracketed["host"], bracketed["port"] or ""
    if is_address(text):
        return text, ""
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, ""
    if not host or not port:
        raise UsageError(f"{text!r}: a name and a port are needed, as in pod1:8080")
    return host, port
