"""`kns rules` in nftables and IPVS mode."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from kns.addresses import IPFamily
from kns.compile.proxy.nftables import nft_tables
from kns.kinds.release import NEWEST, Release
from kns.kinds.service import Service
from kns.probe.rules import destinations
from kns.report.chain_words import hook_purpose, purpose
from kns.report.rules import Options, rules_text
from kns.state.ipvs import with_counts
from kns.state.listing import ChainListing, in_order
from kns.state.model import Netns, RealServer, VirtualServer
from tests.compile.proxy.services import (
    NODE,
    OPTIONS,
    cluster_ip,
    endpoint,
    endpoint_slice,
    node_port,
)
from tests.report.test_rules import heads, rules

SLICE = endpoint_slice(endpoint("10.244.1.10"), endpoint("10.244.2.10", "node2"))
OTHER = endpoint_slice(endpoint("10.244.1.20"), name="other", service="web-2")
STATISTICS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.96.10.1:80                      12       90       60     5400     4800
  -> 10.244.1.10:8080                    6       45       30     2700     2400
TCP  10.96.10.1:81                       0        0        0        0        0
TCP  192.168.50.11:30080                 1        5        4      300      400
UDP  192.168.50.11:30080                 1        5        4      300      400
TCP  [fd00:10:96::a01]:80                3       15       12      900      800
  -> [fd00:10:244:1::10]:8080            3       15       12      900      800
"""
SERVERS = (
    VirtualServer(
        "tcp",
        ip_address("10.96.10.1"),
        80,
        real_servers=(RealServer(ip_address("10.244.1.10"), 8080),),
    ),
    VirtualServer("tcp", ip_address("10.96.10.1"), 81),
    VirtualServer("tcp", ip_address("192.168.50.11"), 30080),
    VirtualServer("udp", ip_address("192.168.50.11"), 30080),
    VirtualServer(
        "tcp",
        ip_address("fd00:10:96::a01"),
        80,
        real_servers=(RealServer(ip_address("fd00:10:244:1::10"), 8080),),
    ),
)


def nft(*services: Service, release: Release = NEWEST) -> tuple[ChainListing, ...]:
    """What packets to the first of the services meet."""
    options = replace(OPTIONS, version=release)
    tables = nft_tables(services, (SLICE, OTHER), NODE, options, IPFamily.IPV4)
    slices = [item for item in (SLICE, OTHER) if item.service == services[0].name]
    asked = destinations(services[0], slices, NODE, IPFamily.IPV4)
    return in_order(Netns("node1", nftables=tuple(tables)), IPFamily.IPV4, asked)


def ipvs(family: IPFamily, service: Service | None) -> list[tuple[int, int, str]]:
    space = Netns("node1", virtual_servers=with_counts(SERVERS, STATISTICS))
    asked = destinations(service, (), NODE, family) if service else ()
    return [
        (rule.count.packets, rule.count.octets, rule.text)
        for _, rule in rules(in_order(space, family, asked))
        if rule.count is not None
    ]


def test_a_look_up_is_shown_with_the_services_elements_and_chains() -> None:
    other = cluster_ip(name="web-2", cluster_ips=(ip_address("10.96.10.2"),))
    found = nft(cluster_ip(), other)
    names = [chain.name.partition("-default")[0] for chain in heads(found)]
    assert names[:3] == ["nat-prerouting", "services", "service-SUSTUHLJ"]
    texts = [rule.text for _, rule in rules(found)]
    assert not any("web-2" in text for text in texts)
    assert any(text.startswith("10.96.10.1 . tcp . 80") for text in texts)
    # the backends are in the map of the rule that translates
    (translation,) = (text for text in texts if "dnat" in text and "map {" in text)
    assert "10.244.1.10 . 8080" in translation


def test_endpoints_with_chains_are_shown_by_their_chains() -> None:
    found = nft(cluster_ip(), release=Release.V1_30)
    assert [chain.name.partition("-default")[0] for chain in heads(found)][:5] == [
        "nat-prerouting",
        "services",
        "service-SUSTUHLJ",
        "mark-for-masquerade",
        "endpoint-FLXOMXXM",
    ]


def test_refusals_are_found_by_their_port() -> None:
    texts = [rule.text for _, rule in rules(nft(node_port(name="lonely")))]
    assert 'tcp . 30080 comment "default/lonely:http" : goto reject-chain' in texts
    assert "reject" in texts


def test_every_nft_chain_says_what_it_does() -> None:
    chains = nft(node_port())
    for chain in heads(chains):
        if chain in chains:
            assert hook_purpose(chain.hook, chain.priority, translates=chain.translates)
        else:
            assert purpose(chain.table, chain.name, (r.rule.text for r in chain.rules))


def test_rules_without_counters_leave_the_column_empty() -> None:
    lines = rules_text(nft(cluster_ip()), Options(general=True)).splitlines()
    assert [line[:8].strip() for line in lines[1:]] == [""] * (len(lines) - 1)


def test_virtual_servers_of_a_service_are_its_addresses_and_node_ports() -> None:
    assert ipvs(IPFamily.IPV4, node_port()) == [
        (90, 5400, "TCP 10.96.10.1:80"),
        (45, 2700, "-> 10.244.1.10:8080"),
        (5, 300, "TCP 192.168.50.11:30080"),
    ]
    assert ipvs(IPFamily.IPV6, node_port()) == [
        (15, 900, "TCP [fd00:10:96::a01]:80"),
        (15, 900, "-> [fd00:10:244:1::10]:8080"),
    ]


def test_without_a_service_every_virtual_server_is_listed() -> None:
    assert len(ipvs(IPFamily.IPV4, None)) == 7
