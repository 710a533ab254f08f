"""No name of a lab file becomes more than a word in a file that kns writes, past all checks."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.cluster.model import Cluster
from kns.cluster.podfiles import internet_files, node_files, pod_files
from kns.cluster.words import word, word_with_colons
from kns.compile.programs import bird, haproxy
from kns.compile.programs.corefile import coredns_files
from kns.kinds.internet import InternetHost
from kns.kinds.pod import DNSConfig, DNSOption, Pod
from kns.kinds.service import ServicePort
from tests.balanced import balanced

EVIL = (
    "a\n6.6.6.6 registry.test",
    "a\r\nnameserver 6.6.6.6",
    'a" { whoami } "',
    "a;} log { # x",
    "a 60 IN A 6.6.6.6",
    "$INCLUDE /etc/shadow",
    "{$HOME}{%PATH%}",
    "a\\",
    "'`$(id)`",
    "a\0b\x1b[2J\u2028",
    "( a ) @",
)
HOSTS_LINE = re.compile(r"(#.*|[0-9a-f.:]+\t[A-Za-z0-9._-]+([\t ][A-Za-z0-9._-]+)*)")
RESOLV_LINE = re.compile(r"(search|nameserver|options)( [A-Za-z0-9._:-]+)+")
ZONE_LINE = re.compile(
    r'[A-Za-z0-9._-]+ \d+ IN (A|AAAA|CNAME|SRV|PTR|NS|SOA|TXT) ("[0-9.]+"|[A-Za-z0-9._: -]+)'
)


@pytest.mark.parametrize("text", [*EVIL, "ü€😀", ""], ids=repr)
def test_a_word_has_nothing_that_a_syntax_may_know(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]*", word(text))
    assert re.fullmatch(r"[A-Za-z0-9._:-]*", word_with_colons(text))


@pytest.mark.parametrize("name", ["web-1.example.com", "_http", "node1"])
def test_a_name_stays_as_it_is(name: str) -> None:
    assert (word(name), word_with_colons(name)) == (name, name)
    assert word_with_colons("ndots:5") == "ndots:5"


def cluster_of(text: str) -> Cluster:
    """The text in every name that reaches a file."""
    cluster = balanced("proxy")
    pods = tuple(
        replace(
            item,
            namespace=text,
            hostname=text,
            subdomain=text,
            dns_config=DNSConfig(searches=(text,), options=(DNSOption(text, text),)),
        )
        for item in cluster.pods
    )
    services = tuple(
        replace(item, namespace=text, name=text, ports=_named_ports(item.ports, text))
        for item in cluster.services
    )
    slices = tuple(
        replace(
            item,
            namespace=text,
            service=text,
            ports=tuple(replace(port, name=text) for port in item.ports),
            endpoints=tuple(replace(end, hostname=text) for end in item.endpoints),
        )
        for item in cluster.endpoint_slices
    )
    dns = replace(cluster.network.dns, domain=text, service_ips=(ip_address("10.96.0.10"),))
    return replace(
        cluster,
        network=replace(cluster.network, dns=dns),
        pods=pods,
        services=services,
        endpoint_slices=slices,
        nodes=tuple(replace(node, name=text) for node in cluster.nodes),
        internet=(InternetHost(text, (ip_address("203.0.113.10"),)),),
    )


def _named_ports(ports: tuple[ServicePort, ...], name: str) -> tuple[ServicePort, ...]:
    return tuple(replace(port, name=name) for port in ports)


def first_pod(cluster: Cluster) -> Pod:
    return cluster.pods[0]


@pytest.mark.parametrize("text", EVIL, ids=repr)
def test_hosts_and_resolv_conf(text: str) -> None:
    cluster, plain = cluster_of(text), cluster_of("plain")
    for files, expected in (
        (pod_files(cluster, first_pod(cluster)), pod_files(plain, first_pod(plain))),
        (node_files(cluster, cluster.nodes[0]), node_files(plain, plain.nodes[0])),
        (internet_files(cluster, cluster.internet[0]), internet_files(plain, plain.internet[0])),
    ):
        for name, line in (("hosts", HOSTS_LINE), ("resolv.conf", RESOLV_LINE)):
            lines = files[name].removesuffix("\n").split("\n")
            assert len(lines) == len(expected[name].splitlines())
            assert [item for item in lines if not line.fullmatch(item)] == []


@pytest.mark.parametrize("text", EVIL, ids=repr)
def test_corefile_and_zones(text: str) -> None:
    corefile, *zones = coredns_files(cluster_of(text), "/f").values()
    expected = coredns_files(cluster_of("plain"), "/f")["Corefile"]
    first_words = [line.split()[0] for line in corefile.split("\n") if line]
    assert first_words == [line.split()[0] for line in expected.splitlines()]
    for mark in '{}"$#':
        assert corefile.count(mark) == expected.count(mark)
    for zone in zones:
        lines = zone.removesuffix("\n").split("\n")
        assert [item for item in lines if not ZONE_LINE.fullmatch(item)] == []


@pytest.mark.parametrize("text", EVIL, ids=repr)
def test_haproxy(text: str) -> None:
    evil, plain = haproxy.config(cluster_of(text)), haproxy.config(cluster_of("plain"))
    assert evil.replace(word(text), "plain") == plain


@pytest.mark.parametrize("text", [*EVIL, "10.0.0.0/8\n  bind :1"], ids=repr)
def test_haproxy_takes_networks_alone_as_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        haproxy.config(balanced("proxy", load_balancer_source_ranges=(text,)))


@pytest.mark.parametrize("text", EVIL, ids=repr)
def test_bird_has_no_names(text: str) -> None:
    evil, plain = cluster_of(text), cluster_of("plain")
    assert bird.router_config(evil) == bird.router_config(plain)
    assert bird.node_config(evil, evil.nodes[0]) == bird.node_config(plain, plain.nodes[0])
