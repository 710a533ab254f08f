"""Where kube-proxy's modes differ, as data: a new mode or release is a row here.

Source: pkg/proxy/{iptables,ipvs,nftables}/proxier.go and what their rules do on a kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

from kns.cluster.model import Cluster, ProxyMode


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """What the rules of one mode do."""

    #: a port of a cluster IP that no service has is rejected; else it leaves by the default route
    rejects_unknown_ports: bool
    #: policy Local without an endpoint here drops; else the other nodes' endpoints answer
    drops_without_local: bool
    #: node ports are served on 127.0.0.1 too
    has_localhost_node_ports: bool
    #: what the node itself sends to an external address without endpoints is rejected
    rejects_own_packets: bool
    #: policy Local is looked at before the node's own packets are taken for inside ones
    checks_local_for_own_packets: bool
    #: service addresses are the node's own (kube-ipvs0): what it sends there stays undecided
    binds_service_addresses: bool
    #: session affinity counts for each address by itself, not for each endpoint
    affinity_by_address: bool
    #: an affinity lasts as long as a connection in TIME_WAIT
    affinity_outlives_timeout: bool
    #: the share of each backend is a scheduler's business
    has_schedulers: bool
    #: what becomes of a flow to a service without endpoints
    without_endpoints: str


_IPTABLES = ProxyFacts(
    rejects_unknown_ports=False,
    drops_without_local=True,
    has_localhost_node_ports=True,
    rejects_own_packets=False,
    checks_local_for_own_packets=False,
    binds_service_addresses=False,
    affinity_by_address=False,
    affinity_outlives_timeout=False,
    has_schedulers=False,
    without_endpoints="kube-proxy rejects",
)
_NFTABLES = ProxyFacts(
    rejects_unknown_ports=True,
    drops_without_local=True,
    has_localhost_node_ports=False,
    rejects_own_packets=True,
    checks_local_for_own_packets=True,
    binds_service_addresses=False,
    affinity_by_address=False,
    affinity_outlives_timeout=False,
    has_schedulers=False,
    without_endpoints="kube-proxy rejects",
)
_IPVS = ProxyFacts(
    rejects_unknown_ports=True,
    drops_without_local=False,
    has_localhost_node_ports=False,
    rejects_own_packets=True,
    checks_local_for_own_packets=False,
    binds_service_addresses=True,
    affinity_by_address=True,
    affinity_outlives_timeout=True,
    has_schedulers=True,
    without_endpoints="its virtual server has no real server",
)
_FACTS = {
    ProxyMode.IPTABLES: _IPTABLES,
    ProxyMode.NFTABLES: _NFTABLES,
    ProxyMode.IPVS: _IPVS,
}


def proxy_facts(cluster: Cluster) -> ProxyFacts:
    """The facts of the cluster's mode."""
    return _FACTS[cluster.network.kube_proxy.mode]
