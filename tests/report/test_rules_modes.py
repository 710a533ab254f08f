"""`kns rules` in nftables and IPVS mode."""

from __future__ import annotations

from ipaddress import ip_address

from kns.addresses import IPFamily
from kns.compile.proxy.nftables import nft_tables
from kns.kinds.service import Service
from kns.report.rules import Entry, rules_text
from kns.report.rules_ipvs import walk_ipvs
from kns.report.rules_nft import walk_nft
from tests.compile.proxy.services import (
    NODE,
    OPTIONS,
    cluster_ip,
    endpoint,
    endpoint_slice,
    node_port,
)

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


def nft(*services: Service, name: str = "default/web") -> tuple[Entry, ...]:
    (table,) = nft_tables(services, (SLICE, OTHER), NODE, OPTIONS, IPFamily.IPV4)
    return walk_nft(table, name)


def heads(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.chain.partition("-default")[0] for entry in entries if entry.rule is None]


def test_a_look_up_is_shown_with_the_services_elements_and_chains() -> None:
    other = cluster_ip(name="web-2", cluster_ips=(ip_address("10.96.10.2"),))
    entries = nft(cluster_ip(), other)
    assert heads(entries)[:5] == [
        "nat-prerouting",
        "services",
        "service-SUSTUHLJ",
        "mark-for-masquerade",
        "endpoint-FLXOMXXM",
    ]
    texts = [entry.rule.text for entry in entries if entry.rule is not None]
    assert not any("web-2" in text for text in texts)
    assert any(text.startswith("10.96.10.1 . tcp . 80") for text in texts)


def test_refusals_are_found_by_their_comment() -> None:
    service = node_port(name="lonely")
    entries = nft(service, name="default/lonely")
    texts = [entry.rule.text for entry in entries if entry.rule is not None]
    assert 'tcp . 30080 comment "default/lonely:http" : goto reject-chain' in texts
    assert "reject" in texts


def test_every_nft_chain_says_what_it_does() -> None:
    assert [entry for entry in nft(node_port()) if entry.rule is None and not entry.about] == []


def test_rules_without_counters_leave_the_column_empty() -> None:
    lines = rules_text(nft(cluster_ip())).splitlines()
    assert [line[:8].strip() for line in lines[1:]] == [""] * (len(lines) - 1)


def test_virtual_servers_of_a_service_are_its_addresses_and_node_ports() -> None:
    entries = walk_ipvs(STATISTICS, node_port())
    found = [(e.rule.packets, e.rule.octets, e.rule.text) for e in entries if e.rule is not None]
    assert found == [
        (90, 5400, "TCP 10.96.10.1:80"),
        (45, 2700, "-> 10.244.1.10:8080"),
        (5, 300, "TCP 192.168.50.11:30080"),
        (15, 900, "TCP [fd00:10:96::a01]:80"),
        (15, 900, "-> [fd00:10:244:1::10]:8080"),
    ]


def test_without_a_service_every_virtual_server_is_listed() -> None:
    entries = walk_ipvs(STATISTICS, None)
    assert len([entry for entry in entries if entry.rule is not None]) == 7
