"""A virtual packet walked over compiled rules: which endpoints it may reach, and as whom."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.compile.lab import compile_host
from kns.kinds.networking import ProxyMode
from kns.state.model import Chain, IptablesTable, Netns, NftChain, NftSet, NftTable
from kns.state.packet import Packet, Passage, Verdict
from kns.state.walk import destinations, walk
from tests.clusters import make_cluster, make_network

NODE1 = "kns.test.node1"


def netns(cluster: Cluster, name: str = NODE1) -> Netns:
    return next(space for space in compile_host(cluster).netns if space.name == name)


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


FROM, TO = ip_address("10.0.0.1"), ip_address("10.0.0.2")


def through_nft(*rules: str, sets: tuple[NftSet, ...] = ()) -> tuple[Passage, ...]:
    hook = "type filter hook prerouting priority filter; policy accept;"
    chains = (NftChain("first", hook, rules), NftChain("end", rules=("drop",)))
    table = NftTable(IPFamily.IPV4, "t", sets, chains)
    return walk(Netns("a", nftables=(table,)), Packet(FROM, TO, port=80, in_interface="eth0"))


def through_iptables(*rules: str) -> tuple[Passage, ...]:
    chains = (Chain("PREROUTING", rules, "ACCEPT"),)
    table = IptablesTable(IPFamily.IPV4, "mangle", chains)
    return walk(Netns("a", iptables=(table,)), Packet(FROM, TO, port=80, in_interface="eth0"))


@pytest.mark.parametrize(
    "rule",
    [
        "ip daddr . th dport { 10.0.0.9 . 80, 10.0.0.2 . 80 } drop",
        "ct state established,new drop",
        "meta l4proto vmap { udp : accept, tcp : drop }",
        "ip daddr vmap { 10.0.0.2 : goto end }",
        'ip daddr vmap @by-address comment "a : b"',
    ],
)
def test_nft_lists_maps_and_comments_are_read_as_nft_means_them(rule: str) -> None:
    element = '10.0.0.2 comment "a : accept . b" : drop'
    by_address = NftSet("map", "by-address", ("type ipv4_addr : verdict",), (element,))
    (passage,) = through_nft(rule, sets=(by_address,))
    assert passage.verdict is Verdict.DROP


@pytest.mark.parametrize(
    "rule",
    ["jump gone", "ip daddr @gone drop", "ip daddr", "jump", "th dport http drop", "dnat to"],
)
def test_nft_rule_that_cannot_be_followed_is_named(rule: str) -> None:
    with pytest.raises(ValueError, match=f"the rule `{rule}` can't be followed"):
        through_nft(rule)


@pytest.mark.parametrize(
    "rule",
    ["-m set --match-set gone dst -j DROP", "--unheard-of 1 -j DROP", "-j TEE", "-p", "-s x"],
)
def test_iptables_rule_that_cannot_be_followed_is_named(rule: str) -> None:
    with pytest.raises(ValueError, match=f"the rule `{rule}` can't be followed"):
        through_iptables(rule)
