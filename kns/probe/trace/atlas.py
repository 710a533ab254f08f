"""Names for the places of a lab: whose a netns is, and what is at the other end of a link. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.cables import port_name
from kns.compile.load_balancer import CLOUD_LB
from kns.compile.pods import host_veth
from kns.probe.addresses import owners
from kns.promise.location import label

FABRIC = "fabric"


@dataclass(frozen=True, slots=True)
class Atlas:
    """`places` names netns, `peers` the far ends of links by (netns, link), `owners` addresses."""

    places: Mapping[str, str]
    peers: Mapping[tuple[str, str], str]
    owners: Mapping[IPAddress, str]
    nodes: frozenset[str]
    fabric: str
    #: the node of each pod in the host network, by what people call the pod
    homes: Mapping[str, str] = field(default_factory=dict)

    def place(self, netns: str) -> str:
        """What people call the netns."""
        return self.places.get(netns, netns)

    def peer(self, netns: str, link: str) -> str:
        """Whose the far end of the link is; nothing if it has none or that is not known."""
        return self.peers.get((netns, link), "")


def atlas_of(cluster: Cluster) -> Atlas:
    """The atlas of a lab as kns builds it."""
    lab = cluster.name
    fabric = names.fabric_netns(lab)
    nodes = {node.name: names.netns_of_node(lab, node.name) for node in cluster.nodes}
    hosts = [*nodes, *(host.name for host in cluster.internet), CLOUD_LB]
    places = {fabric: FABRIC}
    places |= {names.netns_of_internet(lab, host): host for host in hosts}
    peers = {(fabric, port_name("port", host)): host for host in hosts}
    for pod in cluster.pods:
        if pod.host_network:  # it is at its node
            continue
        places[names.netns_of_pod(lab, pod.namespace, pod.name)] = label(pod)
        peers[nodes[pod.node], host_veth(cluster, pod)] = label(pod)
    homes = {label(pod): pod.node for pod in cluster.pods if pod.host_network}
    return Atlas(places, peers, owners(cluster), frozenset(nodes.values()), fabric, homes)
