"""resolv.conf, hosts and hostname as kubelet and containerd write them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_address

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, Network
from kns.cluster.podfiles import (
    ResolvConf,
    internet_files,
    node_files,
    pod_files,
    pod_hostname,
    pod_resolv_conf,
)
from kns.kinds.internet import InternetHost
from kns.kinds.networking import DNSOptions
from kns.kinds.node import Node
from kns.kinds.pod import DNSConfig, DNSOption, DNSPolicy, Pod

NETWORK = Network(
    families=(IPFamily.IPV4,),
    pod_cidrs=(IPv4Network("10.244.0.0/16"),),
    service_cidrs=(IPv4Network("10.96.0.0/16"),),
    node_cidrs=(IPv4Network("172.18.0.0/24"),),
    internet_cidrs=(IPv4Network("203.0.113.0/24"),),
    dns=DNSOptions(service_ips=(ip_address("10.96.0.10"),)),
)
CLUSTER = Cluster(
    name="files",
    network=NETWORK,
    nodes=(
        Node("node1", (ip_address("172.18.0.2"),)),
        Node("node2", (ip_address("172.18.0.3"),)),
    ),
    internet=(InternetHost("internet", (ip_address("203.0.113.10"),)),),
)
POD = Pod("team", "pod1", "node1", (ip_address("10.244.0.2"),))

CLUSTER_FIRST = """\
search team.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5
"""


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (DNSPolicy.CLUSTER_FIRST, CLUSTER_FIRST),
        (DNSPolicy.CLUSTER_FIRST_WITH_HOST_NET, CLUSTER_FIRST),
        (DNSPolicy.DEFAULT, "nameserver 203.0.113.10\n"),
        (DNSPolicy.NONE, ""),
    ],
)
def test_resolv_conf_follows_dns_policy(policy: DNSPolicy, expected: str) -> None:
    pod = replace(POD, dns_policy=policy)
    assert pod_files(CLUSTER, pod)["resolv.conf"] == expected


def test_resolv_conf_when_dns_is_disabled_is_the_nodes() -> None:
    network = replace(NETWORK, dns=replace(NETWORK.dns, enabled=False))
    cluster = replace(CLUSTER, network=network)
    assert pod_files(cluster, POD)["resolv.conf"] == "nameserver 203.0.113.10\n"


def test_upstream_of_the_lab_file_replaces_the_internet_host() -> None:
    network = replace(NETWORK, dns=replace(NETWORK.dns, upstream=(ip_address("203.0.113.53"),)))
    cluster = replace(CLUSTER, network=network)
    assert node_files(cluster, cluster.nodes[0])["resolv.conf"] == "nameserver 203.0.113.53\n"


def test_dns_config_appends_and_overrides_by_name() -> None:
    config = DNSConfig(
        nameservers=(ip_address("10.96.0.10"), ip_address("1.1.1.1")),
        searches=("corp.example", "cluster.local"),
        options=(DNSOption("ndots", "2"), DNSOption("edns0")),
    )
    assert pod_resolv_conf(CLUSTER, replace(POD, dns_config=config)) == ResolvConf(
        ("10.96.0.10", "1.1.1.1"),
        ("team.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"),
        ("ndots:2", "edns0"),
    )


def test_dns_config_with_policy_none_is_all_there_is() -> None:
    config = DNSConfig(nameservers=(ip_address("192.0.2.1"),), searches=("a.example",))
    pod = replace(POD, dns_policy=DNSPolicy.NONE, dns_config=config)
    expected = "search a.example\nnameserver 192.0.2.1\n"
    assert pod_files(CLUSTER, pod)["resolv.conf"] == expected


def test_resolv_conf_over_kubelets_limits_is_cut() -> None:
    config = DNSConfig(
        nameservers=tuple(ip_address(f"192.0.2.{i}") for i in range(5)),
        searches=("x" * 254, *(f"d{i}.example" for i in range(40))),
    )
    conf = pod_resolv_conf(CLUSTER, replace(POD, dns_config=config))
    assert conf.nameservers == ("10.96.0.10", "192.0.2.0", "192.0.2.1")
    # 32 of them counted before the one that is too long is taken out, as kubelet does
    assert len(conf.searches) == 31
    assert conf.searches[-1] == "d27.example"


def test_search_line_over_2048_characters_is_cut() -> None:
    config = DNSConfig(searches=tuple(f"{'y' * 200}{i:02}" for i in range(20)))
    conf = pod_resolv_conf(CLUSTER, replace(POD, dns_config=config))
    assert len(" ".join(conf.searches)) <= 2048
    assert len(conf.searches) == 3 + 9


def test_hosts_file_is_kubelets() -> None:
    lines = pod_files(CLUSTER, POD)["hosts"].splitlines()
    assert lines[0] == "# Kubernetes-managed hosts file."
    assert lines[-1] == "10.244.0.2\tpod1"


def test_hosts_file_with_subdomain_has_the_full_name_first() -> None:
    pod = replace(POD, hostname="web-0", subdomain="web")
    last = pod_files(CLUSTER, pod)["hosts"].splitlines()[-1]
    assert last == "10.244.0.2\tweb-0.web.team.svc.cluster.local\tweb-0"


def test_hosts_of_nodes_and_internet_hosts() -> None:
    node = node_files(CLUSTER, CLUSTER.nodes[1])["hosts"]
    assert node.splitlines()[-2:] == ["172.18.0.3\tnode2", "172.18.0.2\tnode1"]
    host = internet_files(CLUSTER, CLUSTER.internet[0])
    assert host["hosts"].splitlines()[-1] == "203.0.113.10\tinternet"
    assert host["resolv.conf"] == "nameserver 203.0.113.10\n"


def test_nsswitch_asks_files_then_dns() -> None:
    assert "hosts: files dns\n" in pod_files(CLUSTER, POD)["nsswitch.conf"]


def test_hostname_is_cut_to_63_without_trailing_dash() -> None:
    assert pod_hostname(replace(POD, name=f"{'a' * 62}-{'b' * 20}")) == "a" * 62
    assert pod_hostname(replace(POD, hostname="other")) == "other"


def test_parse_reads_what_text_writes() -> None:
    conf = ResolvConf(("10.96.0.10", "fd00::a"), ("a.example", "b.example"), ("ndots:5", "use-vc"))
    assert ResolvConf.parse(conf.text) == conf


def test_parse_follows_glibc_where_lines_repeat() -> None:
    text = "# c\n; c\ndomain old.example\nsearch a b\noptions ndots:3\noptions edns0\nnameserver\n"
    assert ResolvConf.parse(text) == ResolvConf((), ("a", "b"), ("ndots:3", "edns0"))


def test_the_host_network_has_the_nodes_names() -> None:
    pod = replace(POD, host_network=True, hostname="mine", addresses=CLUSTER.nodes[0].addresses)
    files = pod_files(CLUSTER, pod)
    node = node_files(CLUSTER, CLUSTER.nodes[0])
    assert files["hosts"] == f"# Kubernetes-managed hosts file (host network).\n{node['hosts']}"
    assert pod_hostname(pod) == "node1"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (DNSPolicy.CLUSTER_FIRST, "nameserver 203.0.113.10\n"),
        (DNSPolicy.CLUSTER_FIRST_WITH_HOST_NET, CLUSTER_FIRST),
        (DNSPolicy.DEFAULT, "nameserver 203.0.113.10\n"),
    ],
)
def test_dns_policy_in_the_host_network(policy: DNSPolicy, expected: str) -> None:
    pod = replace(POD, host_network=True, dns_policy=policy)
    assert pod_files(CLUSTER, pod)["resolv.conf"] == expected
