"""A virtual packet walked over compiled rules: which endpoints it may reach, and as whom."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from kns.cluster.model import Cluster, ProxyMode
from kns.compile.lab import compile_lab
from kns.state.model import Netns
from kns.state.packet import Packet, Verdict
from kns.state.walk import destinations, walk
from tests.clusters import make_cluster, make_network

NODE1 = "kns.test.node1"


def netns(cluster: Cluster, name: str = NODE1) -> Netns:
    return next(space for space in compile_lab(cluster).netns if space.name == name)


def packet(source: str, destination: str, port: int, link: str = "cni0") -> Packet:
    return Packet(ip_address(source), ip_address(destination), port=port, in_interface=link)


@pytest.mark.parametrize("mode", list(ProxyMode))
def test_pod_to_pod_is_not_translated(mode: ProxyMode) -> None:
    cluster = make_cluster(network=make_network(mode=mode))
    one, other = cluster.pods[0].addresses[0], cluster.pods[1].addresses[0]
    (passage,) = walk(netns(cluster), packet(str(one), str(other), 8080))
    assert passage.verdict is Verdict.ACCEPT
    assert (passage.destination_translated, passage.source_translated) == (False, False)
    assert passage.packet.destination == other


@pytest.mark.parametrize("mode", list(ProxyMode))
def test_service_leads_to_each_of_its_endpoints(mode: ProxyMode) -> None:
    cluster = make_cluster(network=make_network(mode=mode))
    (service,) = cluster.services
    source = str(cluster.pods[0].addresses[0])
    port = service.ports[0]
    found = walk(netns(cluster), packet(source, str(service.cluster_ips[0]), port.port))
    endpoints = {
        (ip_address(address), item.ports[0].port)
        for item in cluster.endpoint_slices
        for endpoint in item.endpoints
        for address in endpoint.addresses
    }
    assert destinations(found) == endpoints
    masqueraded = {item.packet.destination for item in found if item.source_translated}
    # only the pod that reaches itself
    assert masqueraded <= {ip_address(source)}
