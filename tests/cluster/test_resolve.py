"""From spec to Cluster: defaults, addresses, leases."""

from __future__ import annotations

import time

import pytest

from kns.addresses import IPFamily
from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.cluster.resolve import Resolution, resolve
from kns.errors import SpecError
from kns.kinds.common import Protocol
from kns.kinds.networking import DetectLocalMode, LoadBalancerOptions, NFTablesOptions, ProxyMode
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from tests.kinds.labs import NODES, lab

NO_DNS = "networking: {dns: {enabled: false}}\n"


def resolved(body: str = "", leases: Leases | None = None, *, nodes: str = NODES) -> Resolution:
    return resolve(lab(body, nodes=nodes).spec, leases)


def pod(cluster: Cluster, name: str) -> Pod:
    return next(pod for pod in cluster.pods if name in {pod.name, pod.full_name})


def service(cluster: Cluster, name: str) -> Service:
    return next(item for item in cluster.services if name in {item.name, item.full_name})


def texts(items: tuple[object, ...]) -> list[str]:
    return [str(item) for item in items]


# -- defaults --------------------------------------------------------------------------------------


def test_defaults_are_those_of_kind() -> None:
    network = resolved().cluster.network
    assert network.families == (IPFamily.IPV4,)
    assert texts(network.pod_cidrs) == ["10.244.0.0/16"]
    assert texts(network.service_cidrs) == ["10.96.0.0/16"]
    assert texts(network.node_cidrs) == ["172.18.0.0/24"]
    assert texts(network.internet_cidrs) == ["203.0.113.0/24"]
    assert network.node_port_range == (30000, 32767)
    assert network.kube_proxy.mode is ProxyMode.IPTABLES
    assert network.kube_proxy.cluster_cidrs == network.pod_cidrs
    assert network.kube_proxy.masquerade_bit == 14
    assert texts(network.dns.service_ips) == ["10.96.0.10"]
    assert network.dns.domain == "cluster.local"
    assert network.load_balancer is None


def test_defaults_of_ipv6_and_dual() -> None:
    six = resolved("networking: {ipFamily: ipv6}\n").cluster
    assert six.network.families == (IPFamily.IPV6,)
    assert texts(six.nodes[0].addresses) == ["fc00:172:18::2"]
    assert texts(six.nodes[1].pod_cidrs) == ["fd00:10:244:1::/64"]
    assert texts(six.network.dns.service_ips) == ["fd00:10:96::a"]
    assert texts(six.internet[0].addresses) == ["2001:db8:203::10"]
    dual = resolved("networking: {ipFamily: dual}\npods: [{name: web}]\n").cluster
    assert dual.network.families == (IPFamily.IPV4, IPFamily.IPV6)
    assert texts(pod(dual, "web").addresses) == ["10.244.0.2", "fd00:10:244::2"]
    assert texts(dual.nodes[1].addresses) == ["172.18.0.3", "fc00:172:18::3"]
    assert texts(service(dual, "kube-dns").cluster_ips) == ["10.96.0.10", "fd00:10:96::a"]


def test_the_first_service_subnet_gives_the_primary_family() -> None:
    body = 'networking: {ipFamily: dual, serviceSubnet: "fd00:1::/112,10.96.0.0/16"}\n'
    cluster = resolved(f"{body}services: [{{name: a, ports: [{{port: 80}}]}}]\n").cluster
    assert cluster.network.families == (IPFamily.IPV6, IPFamily.IPV4)
    assert service(cluster, "a").ip_families == (IPFamily.IPV6,)
    assert texts(cluster.nodes[0].addresses) == ["fc00:172:18::2", "172.18.0.2"]


def test_kube_proxy_options_reach_the_cluster() -> None:
    body = (
        "networking: {kubeProxyMode: ipvs, kubeProxy: {clusterCIDR: 10.0.0.0/8,"
        " masqueradeAll: true, masqueradeBit: 3,"
        " detectLocalMode: InterfaceNamePrefix, podInterfaceNamePrefix: veth,"
        " nodePortAddresses: [primary], localhostNodePorts: false, conntrackTCPBeLiberal: true,"
        " ipvs: {scheduler: sh, strictARP: true, tcpTimeout: 9, excludeCIDRs: [10.9.0.0/16]}}}\n"
    )
    options = resolved(body).cluster.network.kube_proxy
    assert options.mode is ProxyMode.IPVS
    assert texts(options.cluster_cidrs) == ["10.0.0.0/8"]
    assert options.detect_local_mode is DetectLocalMode.INTERFACE_NAME_PREFIX
    assert (options.masquerade_all, options.masquerade_bit) == (True, 3)
    assert (options.nodeport_addresses, options.nodeport_addresses_primary) == ((), True)
    assert (options.localhost_nodeports, options.conntrack_tcp_be_liberal) == (False, True)
    assert (options.ipvs.scheduler, options.ipvs.strict_arp, options.ipvs.tcp_timeout) == (
        "sh", True, 9,
    )  # fmt: skip
    assert texts(options.ipvs.exclude_cidrs) == ["10.9.0.0/16"]
    assert options.nftables == NFTablesOptions(masquerade_all=True, masquerade_bit=3)


# -- nodes -----------------------------------------------------------------------------------------


def test_nodes_have_addresses_and_pod_cidrs_in_file_order() -> None:
    first, second = resolved().cluster.nodes
    assert (texts(first.addresses), texts(second.addresses)) == (["172.18.0.2"], ["172.18.0.3"])
    assert (texts(first.pod_cidrs), texts(second.pod_cidrs)) == (
        ["10.244.0.0/24"],
        ["10.244.1.0/24"],
    )
    assert texts(first.host_addresses) == ["10.244.0.1"]


def test_written_addresses_and_cidrs_are_left_to_their_nodes() -> None:
    nodes = (
        "nodes: [{name: a}, {name: b, address: 172.18.0.2, podCIDR: 10.244.0.0/24, zone: z,"
        " labels: {x: y}}, {name: c}]\n"
    )
    cluster = resolved(nodes=nodes).cluster
    assert [str(node.addresses[0]) for node in cluster.nodes] == [
        "172.18.0.3", "172.18.0.2", "172.18.0.4",
    ]  # fmt: skip
    assert [str(node.pod_cidrs[0]) for node in cluster.nodes] == [
        "10.244.1.0/24", "10.244.0.0/24", "10.244.2.0/24",
    ]  # fmt: skip
    assert cluster.nodes[1].zone == "z"
    assert cluster.nodes[1].labels == {
        "kubernetes.io/hostname": "b", "topology.kubernetes.io/zone": "z", "x": "y",
    }  # fmt: skip


def test_a_node_keeps_its_lease_when_an_earlier_one_goes() -> None:
    before = resolved(nodes="nodes: [{name: a}, {name: b}, {name: c}]\n")
    after = resolved("", before.leases, nodes="nodes: [{name: b}, {name: c}, {name: d}]\n")
    assert after.cluster.nodes[0] == before.cluster.nodes[1]
    assert after.cluster.nodes[1] == before.cluster.nodes[2]
    assert texts(after.cluster.nodes[2].pod_cidrs) == ["10.244.0.0/24"]


def test_a_new_pod_subnet_is_new_for_all() -> None:
    before = resolved("pods: [{name: web}]\n")
    body = "networking: {podSubnet: 10.200.0.0/16}\npods: [{name: web}]\n"
    cluster = resolved(body, before.leases).cluster
    assert texts(pod(cluster, "web").addresses) == ["10.200.0.2"]


def test_flannels_own_address_is_a_host_address_with_vxlan() -> None:
    node = resolved("networking: {podNetwork: vxlan}\n").cluster.nodes[1]
    assert texts(node.host_addresses) == ["10.244.1.1", "10.244.1.0"]


# -- pods ------------------------------------------------------------------------------------------


def test_pods_get_addresses_in_order_on_each_node() -> None:
    cluster = resolved("pods: [{name: web, replicas: 4}, {name: x, node: node1}]\n").cluster
    found = {item.name: str(item.addresses[0]) for item in cluster.pods}
    assert found == {
        "web-1": "10.244.0.2", "web-2": "10.244.1.2", "web-3": "10.244.0.3",
        "web-4": "10.244.1.3", "x": "10.244.0.4",
        "coredns-1": "10.244.0.5", "coredns-2": "10.244.1.4",
    }  # fmt: skip


def test_a_pod_that_goes_moves_no_other_and_its_address_waits() -> None:
    before = resolved(f"{NO_DNS}pods: [{{name: a}}, {{name: b}}, {{name: c}}]\n")
    after = resolved(f"{NO_DNS}pods: [{{name: c}}, {{name: b}}, {{name: d}}]\n", before.leases)
    for name in ("b", "c"):
        assert pod(after.cluster, name) == pod(before.cluster, name)
    assert texts(pod(before.cluster, "a").addresses) == ["10.244.0.2"]
    assert texts(pod(after.cluster, "d").addresses) == ["10.244.0.4"]


def test_a_pod_made_anew_has_a_new_address() -> None:
    first = resolved(f"{NO_DNS}pods: [{{name: a, node: node1}}]\n")
    without = resolved(NO_DNS, first.leases)
    again = resolved(f"{NO_DNS}pods: [{{name: a, node: node1}}]\n", without.leases)
    assert texts(pod(again.cluster, "a").addresses) == ["10.244.0.3"]


def test_a_pod_that_moves_has_an_address_of_its_new_node() -> None:
    first = resolved(f"{NO_DNS}pods: [{{name: a, node: node1}}]\n")
    moved = resolved(f"{NO_DNS}pods: [{{name: a, node: node2}}]\n", first.leases)
    assert texts(pod(moved.cluster, "a").addresses) == ["10.244.1.2"]


def test_a_pod_is_what_its_spec_says() -> None:
    body = (
        "pods: [{name: a, namespace: shop, labels: {x: y}, hostname: h, subdomain: s, ready: false,"
        " terminating: true, dnsPolicy: None, enableServiceLinks: false, containers:"
        " [{name: c, command: [nc], args: [-l], env: [{name: A, value: b}], ports: [{name: p,"
        " containerPort: 53, protocol: UDP}]}], dnsConfig: {nameservers: [1.1.1.1],"
        " searches: [x.y], options: [{name: ndots, value: '2'}, {name: rotate}]}}]\n"
    )
    found = pod(resolved(body).cluster, "shop/a")
    assert (found.ready, found.serving, found.terminating) == (False, False, True)
    assert (found.hostname, found.subdomain, dict(found.labels)) == ("h", "s", {"x": "y"})
    assert found.enable_service_links is False
    (container,) = found.containers
    assert (container.name, container.command) == ("c", ("nc", "-l"))
    assert (container.env[0].name, container.env[0].value) == ("A", "b")
    (port,) = container.ports
    assert (port.port, port.name, port.protocol) == (53, "p", Protocol.UDP)
    assert texts(found.dns_config.nameservers) == ["1.1.1.1"]
    assert [(o.name, o.value) for o in found.dns_config.options] == [
        ("ndots", "2"),
        ("rotate", None),
    ]


def test_namespaces_are_those_declared_and_used() -> None:
    body = "namespaces: [empty]\npods: [{name: a, namespace: shop}]\n"
    found = resolved(body).cluster.namespaces
    assert [item.name for item in found] == ["default", "empty", "shop", "kube-system"]


def test_namespaces_have_their_labels_and_their_name_as_one() -> None:
    body = (
        "namespaces: [{name: shop, labels: {team: a, kubernetes.io/metadata.name: x}}]\n"
        "---\n{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {tier: b}}}\n"
    )
    found = resolved(body).cluster.namespaces
    assert {item.name: dict(item.labels) for item in found} == {
        "default": {"kubernetes.io/metadata.name": "default"},
        "shop": {"kubernetes.io/metadata.name": "shop", "team": "a", "tier": "b"},
        "kube-system": {"kubernetes.io/metadata.name": "kube-system"},
    }


# -- the internet ----------------------------------------------------------------------------------


def test_the_internet_has_a_host_unless_the_file_says_otherwise() -> None:
    (host,) = resolved().cluster.internet
    assert (host.name, texts(host.addresses), host.port) == ("internet", ["203.0.113.10"], 80)
    assert resolved("internet: []\n").cluster.internet == ()


def test_internet_hosts_have_addresses_and_servers_as_written() -> None:
    body = (
        "internet: [{name: a}, {name: b, address: 203.0.113.10, port: 8080},"
        " {name: c, server: false}]\n"
    )
    hosts = resolved(body).cluster.internet
    assert [(h.name, str(h.addresses[0]), h.port) for h in hosts] == [
        ("a", "203.0.113.11", 80), ("b", "203.0.113.10", 8080), ("c", "203.0.113.12", 0),
    ]  # fmt: skip


# -- the whole -------------------------------------------------------------------------------------


def test_the_same_file_gives_the_same_cluster_and_leases_change_nothing() -> None:
    body = (
        "pods: [{name: web, replicas: 5, labels: {app: web}}]\n"
        "services:\n- {name: a, selector: {app: web}, ports: [{port: 80}]}\n"
        "- {name: b, type: NodePort, selector: {app: web}, ports: [{port: 80}]}\n"
    )
    first = resolved(body)
    assert resolved(body) == first
    assert resolved(body, first.leases) == first
    assert resolved(body, Leases.from_json(first.leases.to_json())) == first


def test_a_range_that_is_used_up_is_a_spec_error() -> None:
    ports = ", ".join(f"{{name: p{i}, port: {i + 1}}}" for i in range(3))
    body = (
        "networking: {nodePortRange: 30000-30001}\n"
        f"services: [{{name: a, type: NodePort, ports: [{ports}]}}]\n"
    )
    with pytest.raises(SpecError) as caught:
        resolved(body)
    (problem,) = caught.value.problems
    assert problem.message == "no free node port in 30000-30001"


def test_load_balancer_options_reach_the_cluster() -> None:
    cluster = resolved("loadBalancer: {mode: bgp, pool: 192.0.2.0/24}\n").cluster
    options = cluster.network.load_balancer
    assert isinstance(options, LoadBalancerOptions)
    assert (options.mode, texts(options.pools)) == ("bgp", ["192.0.2.0/24"])


def test_resolving_a_thousand_replicas_is_fast() -> None:
    body = (
        "pods: [{name: web, replicas: 1000, labels: {app: a}}]\n"
        "services: [{name: a, selector: {app: a}, ports: [{port: 80}]}]\n"
    )
    spec = lab(body, nodes="nodes: [{name: a}, {name: b}, {name: c}, {name: d}]\n").spec
    begin = time.process_time()
    leases = resolve(spec).leases
    assert time.process_time() - begin < 0.4
    assert len(leases.pods) == 1002
