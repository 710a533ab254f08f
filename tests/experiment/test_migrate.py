"""What another mode or release changes, from objects alone: a table of causes and kinds."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from kns.cluster.manifests import load_objects
from kns.errors import UsageError
from kns.experiment.migrate.differences import BehaviourChange
from kns.experiment.migrate.kinds import ADVICE, DifferenceKind
from kns.experiment.migrate.migrate import Migration, migrate
from kns.experiment.migrate.world import world
from kns.experiment.setting import proxy_setting
from kns.kinds.networking import DetectLocalMode, IPVSOptions, KubeProxyOptions
from kns.report.migrate import migration_json, migration_text

NODES = """
apiVersion: v1
kind: Node
metadata: {name: node1, labels: {topology.kubernetes.io/zone: a}}
spec: {podCIDRs: [10.244.0.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.50.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: node2, labels: {topology.kubernetes.io/zone: b}}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.50.12}]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  {spec}
  ports: [{{name: p, port: 80, protocol: {protocol}, targetPort: 8080{node_port}}}]
status: {{loadBalancer: {{ingress: [{ingress}]}}}}
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: p, port: 8080, protocol: {protocol}}}]
endpoints:
- {{addresses: [10.244.0.5], nodeName: node1{first}}}
- {{addresses: [10.244.1.5], nodeName: {second_node}{second}}}
"""
CIDR = """
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.96.0.0/16]}
"""


def cluster_of(
    spec: str = "type: ClusterIP",
    *,
    node_port: str = "",
    protocol: str = "TCP",
    ingress: str = "",
    hints: tuple[str, str] = ("", ""),
    second_node: str = "node2",
    endpoints: bool = True,
    service_cidr: bool = False,
    name: str = "web",
) -> str:
    """The objects of two nodes, one Service, and its two endpoints."""
    texts = [
        NODES,
        SERVICE.format(
            spec=spec, node_port=node_port, protocol=protocol, ingress=ingress, name=name
        ),
    ]
    if endpoints:
        first, second = hints
        texts.append(
            SLICE.format(protocol=protocol, first=first, second=second, second_node=second_node)
        )
    return "---".join([*texts, *([CIDR] if service_cidr else [])])


def migration(
    text: str, before: str, after: str, options: KubeProxyOptions | None = None
) -> Migration:
    """What changes for the objects."""
    cluster = world(load_objects([("objects.yaml", text)]), options or KubeProxyOptions())
    return migrate(cluster, proxy_setting(before), proxy_setting(after))


def found(text: str, before: str, after: str) -> dict[DifferenceKind, list[BehaviourChange]]:
    """The differences by kind."""
    kinds: dict[DifferenceKind, list[BehaviourChange]] = {}
    for item in migration(text, before, after).differences:
        kinds.setdefault(item.kind, []).append(item)
    return kinds


IPTABLES, OLD, NFT_33, NFT_37, IPVS = (
    "iptables@1.37",
    "iptables@1.30",
    "nftables@1.33",
    "nftables@1.37",
    "ipvs@1.37",
)
NODE_PORT = ", nodePort: 30080"
LOCAL = "type: LoadBalancer\n  externalTrafficPolicy: Local"
HINTS = (", hints: {forZones: [{name: a}]}", ", hints: {forZones: [{name: b}]}")
NODE_HINTS = (", hints: {forNodes: [{name: node1}]}", ", hints: {forNodes: [{name: node2}]}")
AFFINITY = "type: ClusterIP\n  sessionAffinity: ClientIP"
NODE_LOCAL = "type: NodePort\n  externalTrafficPolicy: Local"
GONE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-2, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: p, port: 8080}]
endpoints:
- addresses: [10.244.0.5]
  nodeName: node1
  conditions: {ready: false, serving: false, terminating: true}
"""
RANGES = "type: LoadBalancer\n  loadBalancerSourceRanges: [203.0.113.0/24]"

CASES = [
    (cluster_of("type: NodePort", node_port=NODE_PORT), OLD, NFT_37, "localhost-node-port"),
    (cluster_of("type: NodePort", node_port=NODE_PORT), OLD, IPVS, "localhost-node-port"),
    (cluster_of("type: NodePort", node_port=NODE_PORT), OLD, NFT_37, "node-port-address"),
    (cluster_of(LOCAL, ingress="{ip: 198.51.100.7}", second_node="node1"), NFT_33, NFT_37,
     "local-policy"),
    (cluster_of(LOCAL, node_port=NODE_PORT, second_node="node1"), IPTABLES, IPVS, "local-policy"),
    (cluster_of("type: ClusterIP", hints=HINTS), OLD, IPTABLES, "endpoint-choice"),
    (cluster_of("type: ClusterIP", hints=NODE_HINTS), NFT_33, NFT_37, "endpoint-choice"),
    (cluster_of("externalIPs: [198.51.100.7]", endpoints=False), OLD, NFT_37, "no-endpoints"),
    (cluster_of(RANGES, ingress="{ip: 198.51.100.7}", endpoints=False), OLD, NFT_37,
     "source-ranges"),
    (cluster_of(), OLD, NFT_37, "unused-port"),
    (cluster_of(), OLD, NFT_37, "ping"),
    (cluster_of(service_cidr=True), OLD, NFT_37, "unallocated-address"),
    (cluster_of(AFFINITY), IPVS, NFT_37, "session-affinity"),
    (cluster_of(), IPVS, NFT_37, "scheduler"),
    (cluster_of(RANGES, ingress="{ip: 198.51.100.7}", endpoints=False), NFT_33, "nftables@1.34",
     "source-ranges"),
    (f"{cluster_of()}---{GONE}", "iptables@1.35", "iptables@1.36", "endpoint-choice"),
    (cluster_of(protocol="UDP"), NFT_33, NFT_37, "stale-udp"),
    (cluster_of(protocol="UDP"), "ipvs@1.36", "iptables@1.36", "stale-udp"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "before", "after", "kind"), CASES)
def test_each_cause_is_told_as_its_kind_and_the_other_way_round(
    text: str, before: str, after: str, kind: str
) -> None:
    there, back = found(text, before, after), found(text, after, before)
    (told,) = (items for name, items in there.items() if name == kind)
    assert all(item.before != item.after for item in told)
    assert {(item.after, item.before) for item in back[DifferenceKind(kind)]} == {
        (item.before, item.after) for item in told
    }


@pytest.mark.parametrize("before", [IPTABLES, OLD, NFT_37, "ipvs@1.36"])
def test_stale_udp_is_refused_by_ipvs_in_each_release(before: str) -> None:
    """IPVS looks a flow to a real server that is gone up anew, whatever the release deletes."""
    assert DifferenceKind.STALE_UDP not in found(cluster_of(protocol="UDP"), before, IPVS)
    assert DifferenceKind.STALE_UDP not in found(cluster_of(protocol="UDP"), before, "ipvs@1.34")


@pytest.mark.parametrize("setting", [OLD, NFT_33, NFT_37, IPVS])
def test_nothing_differs_from_itself(setting: str) -> None:
    text = cluster_of(LOCAL, node_port=NODE_PORT, ingress="{ip: 198.51.100.7}", hints=HINTS)
    assert migration(text, setting, setting).differences == ()


def test_what_is_the_same_in_both_is_not_told() -> None:
    """A ClusterIP Service is served alike: only what is not its own port differs."""
    kinds = found(cluster_of(), OLD, NFT_37)
    assert set(kinds) == {DifferenceKind.UNUSED_PORT, DifferenceKind.PING}
    assert all(item.service == "" for items in kinds.values() for item in items)


def test_the_node_port_is_served_still_at_the_nodes_own_address() -> None:
    kinds = found(cluster_of("type: NodePort", node_port=NODE_PORT), OLD, NFT_37)
    (localhost,) = kinds[DifferenceKind.LOCALHOST_NODE_PORT]
    assert localhost.client == "the node itself"
    assert localhost.after == "refused: nftables mode has no node ports on localhost"
    frontends = {item.frontend for items in kinds.values() for item in items}
    assert "node port 30080" not in frontends


def test_a_nodes_name_is_no_part_of_other_words() -> None:
    text = cluster_of(LOCAL, node_port=NODE_PORT, second_node="node1").replace("node2", "n")
    told = found(text, "ipvs@1.37", OLD)[DifferenceKind.LOCAL_POLICY]
    afters = {item.after for item in told if item.client == "clients outside the cluster"}
    reason = "externalTrafficPolicy Local and no ready endpoint on the node: dropped"
    assert afters == {f"no answer: {reason}"}


def test_names_too_long_for_a_comment_take_all_rules_with_them() -> None:
    text = cluster_of(endpoints=False, name="w" * 63).replace("name: p,", f"name: {'p' * 15},")
    text = text.replace(
        f"metadata: {{name: {'w' * 63}}}", f"metadata: {{name: {'w' * 63}, namespace: {'n' * 63}}}"
    )
    assert DifferenceKind.RULES_REFUSED in found(text, OLD, "nftables@1.36")
    assert DifferenceKind.RULES_REFUSED not in found(text, OLD, NFT_37)


DUAL_NODE = """
apiVersion: v1
kind: Node
metadata: {name: node1}
spec: {podCIDRs: [10.244.0.0/24, "fd00:10:244::/64"]}
status: {addresses: [{type: InternalIP, address: 192.168.50.11},
  {type: InternalIP, address: "fd00:50::11"}]}
"""
DUAL_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  clusterIPs: [10.96.0.10, "fd00:10:96::10"]
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
"""
DUAL_SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-6, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{port: 8080}]
endpoints: [{addresses: ["fd00:10:244::5"], nodeName: node1}]
"""


def test_node_port_addresses_of_one_family_open_the_other() -> None:
    options = KubeProxyOptions(nodeport_addresses=(ip_network("192.168.50.0/24"),))
    text = "---".join((DUAL_NODE, DUAL_SERVICE, DUAL_SLICE))
    (told,) = migration(text, "nftables@1.30", "nftables@1.31", options).differences[:1]
    assert told.kind is DifferenceKind.NODE_PORT_ADDRESS
    assert told.before == "refused: node ports are served on fd00:50::11 only"
    assert told.after.startswith("answered by fd00:10:244::5")


def test_endpoints_of_other_nodes_lose_their_way_back_to_themselves_in_1_36() -> None:
    """Where pods come to nodes as themselves, and are taken for the node's own by clusterCIDR."""
    options = KubeProxyOptions(cluster_cidrs=(ip_network("10.244.0.0/16"),))
    text = cluster_of(NODE_LOCAL, node_port=NODE_PORT)
    found = migration(text, "nftables@1.35", "nftables@1.36", options).differences
    assert {item.kind for item in found} == {DifferenceKind.REMOTE_HAIRPIN}
    told = found[0]
    seen = "who see 10.244.1.5 and 192.168.50.11"
    assert told.before == f"answered by 10.244.0.5 and 10.244.1.5, {seen}"
    lost = "whoever is led to 10.244.1.5 gets no answer"
    assert told.after == f"answered by 10.244.0.5, who see 10.244.1.5; {lost}"
    # not in iptables mode, nor with a policy that has all masqueraded
    assert migration(text, "iptables@1.35", "iptables@1.36", options).differences == ()
    other = cluster_of("type: NodePort", node_port=NODE_PORT)
    assert migration(other, "nftables@1.35", "nftables@1.36", options).differences == ()


def test_prefixes_of_interfaces_cost_nftables_mode_all_rules_up_to_1_32() -> None:
    options = KubeProxyOptions(
        detect_local_mode=DetectLocalMode.INTERFACE_NAME_PREFIX, pod_interface_name_prefix="cni"
    )
    told = migration(cluster_of(), "nftables@1.32", "nftables@1.33", options).differences
    assert {item.kind for item in told if item.service} == {DifferenceKind.RULES_REFUSED}
    assert all("iif, which knows no prefixes" in item.before for item in told if item.service)


def test_scheduler_of_the_options_is_named() -> None:
    options = replace(KubeProxyOptions(), ipvs=IPVSOptions(scheduler="sh"))
    told = migration(cluster_of(), IPVS, NFT_37, options)
    (item,) = (d for d in told.differences if d.kind is DifferenceKind.SCHEDULER)
    assert item.before == "the scheduler sh chooses the endpoint"


def test_one_node_alone() -> None:
    text = cluster_of(LOCAL, ingress="{ip: 198.51.100.7}", second_node="node1")
    cluster = world(load_objects([("objects.yaml", text)]), KubeProxyOptions())
    before, after = proxy_setting(NFT_33), proxy_setting(NFT_37)
    assert DifferenceKind.LOCAL_POLICY in {
        item.kind for item in migrate(cluster, before, after, "node2").differences
    }
    assert DifferenceKind.LOCAL_POLICY not in {
        item.kind for item in migrate(cluster, before, after, "node1").differences
    }
    with pytest.raises(UsageError, match="no node 'node3'") as caught:
        migrate(cluster, before, after, "node3")
    assert caught.value.hint == "nodes: node1, node2"


def test_no_node_is_an_error_with_what_to_add() -> None:
    with pytest.raises(UsageError) as caught:
        world(load_objects([("objects.yaml", CIDR)]), KubeProxyOptions())
    assert "kubectl get nodes" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [("iptabels", "'iptabels'"), ("nftables@1.29", "1.29"), ("nftables@", "without a number")],
)
def test_unknown_settings_are_refused_with_what_there_is(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        proxy_setting(text)
    assert caught.value.hint.startswith("one of ")


def test_every_kind_has_its_advice() -> None:
    assert set(ADVICE) == set(DifferenceKind)
    assert all(advice.title and advice.remedy for advice in ADVICE.values())


def test_text_fits_a_terminal_and_names_every_difference() -> None:
    text = cluster_of(LOCAL, node_port=NODE_PORT, ingress="{ip: 198.51.100.7}", hints=HINTS)
    told = migration(text, OLD, NFT_37)
    printed = migration_text(told)
    assert printed.startswith("iptables@1.30 → nftables@1.37: 1 of 1 services behave differently\n")
    assert max(map(len, printed.splitlines())) <= 80
    for item in told.differences:
        assert f"[{item.kind}]" in printed
    assert migration_text(migration(text, OLD, OLD)).startswith(
        "iptables@1.30 → iptables@1.30: nothing differs for 1 services\n"
    )


def test_json_has_the_reasons_and_the_sizes() -> None:
    told = migration_json(migration(cluster_of(), OLD, NFT_37))
    assert (told["from"], told["to"]) == (OLD, NFT_37)
    assert [item["kind"] for item in told["differences"]] == ["unused-port", "ping"]  # type: ignore[attr-defined]
    assert told["rules"]["before"]["rules"] > 0  # type: ignore[index]
    assert told["switch"] == [
        "open connections to Services go on: conntrack keeps their translation"
    ]


THIRD = "- {addresses: [10.244.1.5], nodeName: node2}\n- {addresses: [10.244.1.6], nodeName: node2}"


@pytest.mark.parametrize(
    ("setting", "lines"),
    # of a Service with three endpoints: captured transactions of the releases have as many
    [("nftables@1.34", 16), ("nftables@1.36", 3), ("nftables@1.37", 3)],
)
def test_an_endpoints_change_writes_the_chains_of_its_service(setting: str, lines: int) -> None:
    text = cluster_of().replace("- {addresses: [10.244.1.5], nodeName: node2}", THIRD)
    options = KubeProxyOptions(cluster_cidrs=(ip_network("10.244.0.0/16"),))
    growth = migration(text, "nftables@1.32", setting, options).growth
    # before 1.33 every sync writes everything
    assert growth.before.sync.endpoint == growth.before.sync.first
    assert growth.after.sync.endpoint == lines


def test_other_services_cost_an_endpoints_change_what_stands_in_common_chains() -> None:
    """A rule of KUBE-SERVICES each in iptables mode; in nftables and ipvs mode nothing."""
    one = cluster_of()
    more = one + "".join(
        "---"
        + SERVICE.format(spec="", node_port="", protocol="TCP", ingress="", name=f"other{n}")
        .replace("10.96.0.10", f"10.96.1.{n}")
        .replace("type: ClusterIP", "")
        + "---"
        + SLICE.format(protocol="TCP", first="", second="", second_node="node2")
        .replace("web-1", f"other{n}-1")
        .replace("service-name: web", f"service-name: other{n}")
        for n in (1, 2, 3)
    )
    for setting, grows in (("iptables@1.37", 3), (NFT_37, 0), (IPVS, 0)):
        few = migration(one, setting, setting).growth.before.sync
        many = migration(more, setting, setting).growth.before.sync
        assert few.endpoint is not None
        assert many.endpoint == few.endpoint + grows
        assert many.first > few.first


def test_without_an_endpoint_none_can_change() -> None:
    growth = migration(cluster_of(endpoints=False), OLD, NFT_37).growth
    assert (growth.before.sync.endpoint, growth.after.sync.endpoint) == (None, None)
    printed = migration_text(migration(cluster_of(endpoints=False), OLD, NFT_37))
    assert "lines of a first sync" in printed
    assert "when an endpoint changes" not in printed
