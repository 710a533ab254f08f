"""Where kube-proxy's modes and releases differ, as data: a new one is a row here.

Source: pkg/proxy/{iptables,ipvs,nftables}/proxier.go and what their rules do on a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kns.cluster.model import Cluster
from kns.kinds.networking import ProxyMode
from kns.kinds.release import Release
from kns.kinds.service import Service


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
    #: a UDP flow whose endpoint has gone is looked up anew, whatever conntrack remembers of it
    looks_up_orphaned_flows: bool
    #: what becomes of a flow to a service without endpoints
    without_endpoints: str
    #: source ranges are looked at whether there are endpoints or not; else only if there are some
    filters_sources_first: bool = False
    #: and so for what the node itself sends
    filters_own_sources_first: bool = False
    #: without nodePortAddresses node ports are served on the node's own address only
    has_primary_node_ports: bool = False
    #: nodePortAddresses of the other family alone mean every address, not the node's own
    opens_unlisted_family: bool = True
    #: the name of a service port with source ranges stands in a comment
    comments_source_ranges: bool = False
    #: what goes to an address of the service subnet that no service has is dropped
    drops_unallocated: bool = False
    #: an endpoint of another node that is led to itself is masqueraded, as one of this node is
    masquerades_remote_hairpins: bool = True


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
    looks_up_orphaned_flows=False,
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
    looks_up_orphaned_flows=False,
    without_endpoints="kube-proxy rejects",
    filters_sources_first=True,
    has_primary_node_ports=True,
    opens_unlisted_family=False,
    comments_source_ranges=True,
)
_NFTABLES_31 = replace(_NFTABLES, opens_unlisted_family=True, comments_source_ranges=False)
#: with the ServiceCIDR that the API server makes
_NFTABLES_33 = replace(_NFTABLES_31, drops_unallocated=True)
#: what the node sends is looked at after its translation
_NFTABLES_34 = replace(
    _NFTABLES_33, checks_local_for_own_packets=False, filters_own_sources_first=True
)
#: the set hairpin-connections holds endpoints of the node alone, as KUBE-LOOP-BACK in IPVS mode
_NFTABLES_36 = replace(_NFTABLES_34, masquerades_remote_hairpins=False)
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
    looks_up_orphaned_flows=True,  # expire_nodest_conn
    without_endpoints="its virtual server has no real server",
    masquerades_remote_hairpins=False,
)
#: the facts of a mode from a release on, the newest first
_FACTS: Mapping[ProxyMode, tuple[tuple[Release, ProxyFacts], ...]] = {
    ProxyMode.IPTABLES: ((Release.V1_30, _IPTABLES),),
    ProxyMode.NFTABLES: (
        (Release.V1_36, _NFTABLES_36),
        (Release.V1_34, _NFTABLES_34),
        (Release.V1_33, _NFTABLES_33),
        (Release.V1_31, _NFTABLES_31),
        (Release.V1_30, _NFTABLES),
    ),
    ProxyMode.IPVS: ((Release.V1_30, _IPVS),),
}


def proxy_facts(cluster: Cluster) -> ProxyFacts:
    """The facts of the cluster's mode and release."""
    options = cluster.network.kube_proxy
    return next(facts for first, facts in _FACTS[options.mode] if options.version >= first)


# -- of every mode ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HintUse:
    """Which of the hints of EndpointSlices count; those for nodes before those for zones."""

    nodes: bool
    zones: bool


def hint_use(cluster: Cluster, service: Service) -> HintUse:
    """In 1.30 a service has to ask for its zone hints by an annotation; since 1.34 nodes count."""
    release = cluster.network.kube_proxy.version
    names = ("topology-aware-hints", "topology-mode")
    written = (service.annotations.get(f"service.kubernetes.io/{name}") for name in names)
    asked = next((value for value in written if value is not None), "")
    wanted = asked not in ("", "disabled", "Disabled")
    return HintUse(release >= Release.V1_34, release >= Release.V1_31 or wanted)


def prefers_living(cluster: Cluster) -> bool:
    """Of two endpoints at one address the one counts that isn't terminating; before 1.36 either."""
    return cluster.network.kube_proxy.version >= Release.V1_36


def serves_external_ips(cluster: Cluster) -> bool:
    """False if the feature gate AllowServiceExternalIPs, which came with 1.36, is off."""
    options = cluster.network.kube_proxy
    gates = options.feature_gates
    return gates.allow_service_external_ips or options.version < Release.V1_36
