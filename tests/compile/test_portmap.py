"""hostPort: the rules of the CNI plugin portmap, and what is promised of the port."""

from __future__ import annotations

import hashlib
from ipaddress import ip_address

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.compile.lab import compile_host
from kns.kinds.load import load_lab_text
from kns.probe.names import find
from kns.promise.checks import cluster_checks
from kns.promise.flow import Flow, Outcome
from kns.promise.location import Location, LocationKind
from kns.promise.lookup import Lookup
from kns.promise.promise import promise

TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
networking: {ipFamily: dual, kubeProxyMode: %s}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: pod1, node: node1}
- {name: pod2, node: node2}
- name: edge
  node: node2
  containers:
  - name: web
    ports:
    - {containerPort: 80, hostPort: 8080}
    - {containerPort: 53, hostPort: 53, protocol: UDP}
    - {containerPort: 81, hostPort: 8081, hostIP: 172.18.0.3}
"""
NODE1, NODE2, BRIDGE, INTERNET = "172.18.0.2", "172.18.0.3", "10.244.1.1", "203.0.113.10"


def _cluster(mode: str = "iptables") -> Cluster:
    return resolve(load_lab_text(TEXT % mode).spec).cluster


def _nat(cluster: Cluster, node: str, family: IPFamily) -> dict[str, tuple[str, ...]]:
    netns = next(n for n in compile_host(cluster).netns if n.name == f"kns.lab.{node}")
    table = next(t for t in netns.iptables if (t.name, t.family) == ("nat", family))
    return {chain.name: chain.rules for chain in table.chains}


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
def test_rules(mode: str) -> None:
    chains = _nat(_cluster(mode), "node2", IPFamily.IPV4)
    sandbox = hashlib.sha256(b"lab/default/edge").hexdigest()
    name = f"CNI-DN-{hashlib.sha512(f'cbr0{sandbox}'.encode()).hexdigest()[:21]}"
    local = "-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT"
    assert (chains["PREROUTING"][-1], chains["OUTPUT"][-1]) == (local, local)
    assert chains["POSTROUTING"][0].endswith("-j CNI-HOSTPORT-MASQ")
    comment = f'-m comment --comment "dnat name: \\"cbr0\\" id: \\"{sandbox}\\""'
    assert chains["CNI-HOSTPORT-DNAT"] == (
        f"-p tcp {comment} -m multiport --dports 8080,8081 -j {name}",
        f"-p udp {comment} -m multiport --dports 53 -j {name}",
    )
    assert chains["CNI-HOSTPORT-MASQ"] == ("-m mark --mark 0x2000/0x2000 -j MASQUERADE",)
    assert chains[name] == tuple(
        rule
        for where, protocol, port, target in (
            ("", "tcp", 8080, 80), ("", "udp", 53, 53), ("-d 172.18.0.3/32 ", "tcp", 8081, 81),
        )
        for match in (f"{where}-p {protocol} -m {protocol} --dport {port}",)
        for rule in (
            f"-s 10.244.1.0/24 {match} -j CNI-HOSTPORT-SETMARK",
            f"-s 127.0.0.1/32 {match} -j CNI-HOSTPORT-SETMARK",
            f"{match} -j DNAT --to-destination 10.244.1.3:{target}",
        )
    )  # fmt: skip


def test_ipv6_has_no_localhost_and_no_port_of_an_ipv4_address() -> None:
    chains = _nat(_cluster(), "node2", IPFamily.IPV6)
    (name,) = (chain for chain in chains if chain.startswith("CNI-DN-"))
    assert [rule.rpartition(" -j ")[2] for rule in chains[name]] == [
        "CNI-HOSTPORT-SETMARK",
        "DNAT --to-destination [fd00:10:244:1::3]:80",
        "CNI-HOSTPORT-SETMARK",
        "DNAT --to-destination [fd00:10:244:1::3]:53",
    ]


def test_a_node_without_host_ports_has_no_such_chain() -> None:
    assert not any(name.startswith("CNI-") for name in _nat(_cluster(), "node1", IPFamily.IPV4))


@pytest.mark.parametrize(
    ("source", "destination", "port", "seen"),
    [
        ("internet", NODE2, 8080, INTERNET),
        ("internet", NODE2, 8081, INTERNET),
        ("pod1", NODE2, 8080, NODE1),
        ("pod2", NODE2, 8080, BRIDGE),
        ("edge", NODE2, 8080, BRIDGE),
        ("node1", NODE2, 8080, NODE1),
        ("node2", NODE2, 8080, NODE2),
        ("node2", "127.0.0.1", 8080, BRIDGE),
        ("node2", BRIDGE, 8080, BRIDGE),
    ],
)
def test_what_the_pod_sees(source: str, destination: str, port: int, seen: str) -> None:
    cluster = _cluster()
    found = promise(Lookup(cluster), Flow(_at(cluster, source), ip_address(destination), port))
    assert (found.names, found.sources) == (("edge",), (ip_address(seen),))


@pytest.mark.parametrize(
    ("destination", "port"), [(NODE1, 8080), (NODE2, 53), (BRIDGE, 8081), (NODE2, 80)]
)
def test_where_it_leads_nowhere(destination: str, port: int) -> None:
    cluster = _cluster()
    found = promise(Lookup(cluster), Flow(_at(cluster, "node2"), ip_address(destination), port))
    assert found.outcomes == (Outcome.REFUSED,)


def _at(cluster: Cluster, name: str) -> Location:
    return find(cluster, name, (LocationKind.POD, LocationKind.NODE, LocationKind.INTERNET))


def test_each_host_port_is_checked_from_all_sides() -> None:
    ids = {check.id for check in cluster_checks(_cluster()).checks if check.kind == "host-port"}
    assert {
        "internet-to-node/host-port/internet->node2:8080",
        "internet-to-node/host-port/internet->node2:8080/ipv6",
        "internet-to-node/host-port/internet->node2:53/udp",
        "pod-to-node/host-port/pod2->node2:8080",
        "pod-to-node/host-port/pod1->node2:8080",
        "node-to-node/host-port/node2->node2:8081",
    } <= ids
    assert "internet-to-node/host-port/internet->node2:8081/ipv6" not in ids
