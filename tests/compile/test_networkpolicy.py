"""NetworkPolicies as nft tables: what they hold, and where a packet ends in them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.compile.networkpolicy.access import Access
from kns.compile.networkpolicy.spans import Span, disjoint, of_block
from kns.compile.networkpolicy.table import TABLE, policy_table
from kns.kinds.common import Protocol
from kns.kinds.load import load_lab_text
from kns.kinds.networkpolicy import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicyRule,
    PolicyType,
)
from kns.kinds.node import Node
from kns.kinds.pod import Container, ContainerPort, Pod
from kns.kinds.selector import LabelSelector, LabelSelectorRequirement, SelectorOperator
from kns.promise.flow import Flow
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise
from kns.state.model import NftTable
from kns.state.nft import change, parse_tables, table_text
from kns.state.packet import Verdict
from tests.netpol_cases import Case, Layout, cases, cluster_of
from tests.walk_lab import WalkedLab

# -- spans -----------------------------------------------------------------------------------------

SPANS = st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda p: Span(p[0], p[0] + p[1]))


@given(st.lists(st.tuples(SPANS, st.integers(0, 3)), max_size=6))
def test_disjoint_pieces_belong_to_the_first_owner(owned: list[tuple[Span, int]]) -> None:
    pieces = disjoint(owned)
    for number in range(45):
        first = next((owner for span, owner in owned if span.first <= number <= span.last), None)
        own = [p.owner for p in pieces if p.span.first <= number <= p.span.last]
        assert own == ([] if first is None else [first])


def test_a_block_without_its_exceptions() -> None:
    block = ip_network("10.0.0.0/29")
    holes = [ip_network("10.0.0.6/31"), ip_network("10.0.0.0/32"), ip_network("10.0.0.6/32")]
    base = int(block.network_address)
    found = of_block(block, holes, "")
    assert [(span.first - base, span.last - base) for span in found] == [(1, 5)]


# -- upstream's cases, by a walk through the rules -------------------------------------------------


@pytest.mark.parametrize("layout", [
    Layout(nodes=1), Layout(nodes=2), Layout(family="ipv6"),
    Layout(mode="nftables"), Layout(mode="ipvs"), Layout(pod_network="vxlan"),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_upstreams_case_by_a_walk(case: Case, layout: Layout) -> None:
    for step in case.steps:
        cluster = cluster_of(step, layout)
        lab = WalkedLab(cluster)
        pods = {pod.full_name: pod for pod in cluster.pods}
        for probe in step.probes:
            target = pods[probe.destination].addresses[0]
            ends = lab.ends(pods[probe.source], target, probe.port, probe.protocol)
            verdict = Verdict.ACCEPT if probe.allowed else Verdict.DROP
            assert {end.verdict for end in ends} == {verdict}, probe


# -- random policies -------------------------------------------------------------------------------

LAB = """
apiVersion: kns/v1
kind: Lab
metadata: {name: t}
networking: {ipFamily: dual}
nodes: [{name: node1}, {name: node2}]
namespaces: [{name: x, labels: {team: a}}, {name: y, labels: {team: b}}]
pods:
- {name: a, namespace: x, node: node1}
- {name: b, namespace: x, node: node2}
- {name: c, namespace: x, node: node1}
- {name: a, namespace: y, node: node1}
- {name: b, namespace: y, node: node2}
- {name: host, namespace: y, node: node2, hostNetwork: true}
services:
- {name: web, namespace: x, selector: {app: a}, ports: [{port: 80, targetPort: 81}]}
"""
PORTS = (80, 81, 90)


@cache
def base() -> Cluster:
    return resolve(load_lab_text(LAB).spec).cluster


LABELS = st.fixed_dictionaries(
    {}, optional={"app": st.sampled_from("ab"), "tier": st.sampled_from("xy")}
)
REQUIREMENTS = st.sampled_from([
    LabelSelectorRequirement("app", SelectorOperator.IN, ("a", "b")),
    LabelSelectorRequirement("app", SelectorOperator.NOT_IN, ("a",)),
    LabelSelectorRequirement("tier", SelectorOperator.EXISTS),
    LabelSelectorRequirement("tier", SelectorOperator.DOES_NOT_EXIST),
])  # fmt: skip
SELECTORS = st.builds(
    LabelSelector,
    match_labels=LABELS,
    match_expressions=st.lists(REQUIREMENTS, max_size=1).map(tuple),
)
NAMESPACES = st.sampled_from([
    LabelSelector(),
    LabelSelector({"team": "a"}),
    LabelSelector({"kubernetes.io/metadata.name": "y"}),
])  # fmt: skip
BLOCKS = st.sampled_from([
    IPBlock(ip_network("10.244.0.0/16"), (ip_network("10.244.0.3/32"),)),
    IPBlock(ip_network("10.244.1.0/24")),
    IPBlock(ip_network("172.18.0.0/24")),
    IPBlock(ip_network("0.0.0.0/0"), (ip_network("10.244.0.0/24"),)),
    IPBlock(ip_network("fd00:10:244::/56"), (ip_network("fd00:10:244:1::/64"),)),
    IPBlock(ip_network("::/0")),
])  # fmt: skip
PEERS = (
    st.builds(NetworkPolicyPeer, pod_selector=SELECTORS)
    | st.builds(NetworkPolicyPeer, namespace_selector=NAMESPACES)
    | st.builds(NetworkPolicyPeer, pod_selector=SELECTORS, namespace_selector=NAMESPACES)
    | st.builds(NetworkPolicyPeer, ip_block=BLOCKS)
)
POLICY_PORTS = st.sampled_from([
    NetworkPolicyPort(),
    NetworkPolicyPort(port=80),
    NetworkPolicyPort(port=80, end_port=85),
    NetworkPolicyPort(port=82, end_port=99),
    NetworkPolicyPort(port="http"),
    NetworkPolicyPort(Protocol.UDP, 81),
    NetworkPolicyPort(Protocol.UDP, "dns"),
    NetworkPolicyPort(Protocol.SCTP),
])  # fmt: skip
RULES = st.lists(
    st.builds(
        NetworkPolicyRule,
        peers=st.lists(PEERS, max_size=2).map(tuple),
        ports=st.lists(POLICY_PORTS, max_size=2).map(tuple),
    ),
    max_size=2,
).map(tuple)
TYPES = st.sampled_from([(PolicyType.INGRESS,), (PolicyType.EGRESS,), tuple(PolicyType)])
POLICIES = st.lists(
    st.builds(
        NetworkPolicy,
        namespace=st.sampled_from("xy"),
        name=st.just("p"),
        pod_selector=SELECTORS,
        policy_types=TYPES,
        ingress=RULES,
        egress=RULES,
    ),
    max_size=4,
)
CONTAINERS = st.sampled_from([
    (ContainerPort(80, "http"), ContainerPort(81, "dns", Protocol.UDP)),
    (ContainerPort(81, "http"), ContainerPort(80)),
    (ContainerPort(80),),
])  # fmt: skip
PODS = st.lists(st.tuples(LABELS, CONTAINERS), min_size=6, max_size=6)


Pods = list[tuple[dict[str, str], tuple[ContainerPort, ...]]]


def cluster(policies: list[NetworkPolicy], pods: Pods) -> Cluster:
    named = tuple(replace(item, name=f"p{number}") for number, item in enumerate(policies))
    own = iter(pods)
    changed = []
    for pod in base().pods:
        if pod.namespace in ("x", "y"):
            labels, ports = next(own)
            changed.append(replace(pod, labels=labels, containers=(Container("c", ports),)))
    return replace(base(), pods=tuple(changed), network_policies=named)


FLOWS = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.integers(0, 5),
        st.sampled_from([None, *PORTS]),
        st.sampled_from(Protocol),
    ),
    min_size=12,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(POLICIES, PODS, FLOWS)
def test_a_packet_ends_as_promised(
    policies: list[NetworkPolicy], pods: Pods, flows: list[tuple[int, int, int | None, Protocol]]
) -> None:
    """Egress and ingress, both families, each port and protocol, pods and nodes as sources."""
    made = cluster(policies, pods)
    lookup, lab = Lookup(made), WalkedLab(made)
    users = [pod for pod in made.pods if pod.namespace in ("x", "y")]
    sources: list[Pod | Node] = [*users, *made.nodes]
    for number, to, port, protocol in flows:
        source, target = sources[number], users[to]
        if source is target or (isinstance(source, Pod) and source.host_network):
            continue
        for address in target.addresses:
            found = promise(lookup, Flow(Location(source), address, port, protocol))
            ends = lab.ends(source, address, port, protocol)
            assert {end.verdict is Verdict.DROP for end in ends} == {bool(found.denied)}


@settings(max_examples=15, deadline=None)
@given(POLICIES, PODS)
def test_tables_come_back_as_they_are_written(policies: list[NetworkPolicy], pods: Pods) -> None:
    for table in tables(cluster(policies, pods)):
        assert parse_tables(table_text(table)) == (table,)


def tables(made: Cluster) -> list[NftTable]:
    return [
        table
        for node in made.nodes
        for family in IPFamily
        if (table := policy_table(Access(made, made.pods_on(node.name)), family)) is not None
    ]


# -- what a table holds ----------------------------------------------------------------------------


def test_a_node_without_isolated_pods_has_no_table() -> None:
    only_y = NetworkPolicy("y", "p", LabelSelector({"app": "a"}))
    labels = [({"app": "b"}, ()) for _ in range(3)] + [({"app": "a"}, ()), ({}, ()), ({}, ())]
    made = cluster([only_y], labels)  # type: ignore[arg-type]
    spaces = WalkedLab(made).spaces
    names = {node: [table.name for table in space.nftables] for node, space in spaces.items()}
    assert names == {"node1": [TABLE, TABLE], "node2": []}
    assert tables(replace(made, network_policies=())) == []


def test_a_change_of_one_label_moves_elements_alone() -> None:
    """Chains, and with them counters, stay; the clients of a rule are elements of its set."""
    allow = NetworkPolicy(
        "x", "p", ingress=(NetworkPolicyRule((NetworkPolicyPeer(LabelSelector({"app": "a"})),)),)
    )
    pods: Pods = [({}, ())] * 6
    before, _, *_rest = tables(cluster([allow], [({"app": "a"}, ()), *pods[1:]]))
    after, _, *_rest = tables(cluster([allow], [({}, ()), ({"app": "a"}, ()), *pods[2:]]))
    text = change(before, after).text
    assert sorted({" ".join(line.split()[:2]) for line in text.splitlines()}) == [
        "add element", "delete element",
    ]  # fmt: skip


def test_the_cost_of_a_packet_does_not_grow_with_policies_and_pods() -> None:
    """As many rules are met with one policy as with a hundred, on the same pods."""

    def met(count: int) -> int:
        policies = [
            NetworkPolicy(
                "x", f"p{number}",
                ingress=(NetworkPolicyRule(
                    (NetworkPolicyPeer(ip_block=IPBlock(ip_network(f"192.0.2.{number}/32"))),
                     NetworkPolicyPeer(pod_selector=LabelSelector())),
                    (NetworkPolicyPort(port=80 + number), NetworkPolicyPort(port=80)),
                ),),
            )
            for number in range(count)
        ]  # fmt: skip
        made = cluster(policies, [({}, ())] * 6)
        source, _, target = made.pods[:3]
        (end,) = WalkedLab(made).ends(source, target.addresses[0], 80, Protocol.TCP)
        assert end.verdict is Verdict.ACCEPT
        return longest(tables(made)[0])

    assert met(1) == met(100)


def longest(table: NftTable) -> int:
    """The number of rules on the longest way through the table from its hook."""
    chains = {chain.name: chain for chain in table.chains}
    sets = {item.name: item for item in table.sets}

    def length(name: str) -> int:
        total = 0
        for rule in chains[name].rules:
            words = rule.split()
            following = [words[i + 1] for i, w in enumerate(words) if w in ("goto", "jump")]
            if "vmap" in words:
                texts = sets[words[-1][1:]].elements
                following += [text.split()[-1] for text in texts if text.split()[-1] in chains]
            total += 1 + max(map(length, set(following)), default=0)
        return total

    return length("postrouting")


def test_long_names_are_cut_and_stay_apart() -> None:
    policies = [
        NetworkPolicy("x", f"{'n' * 250}{number}", ingress=(NetworkPolicyRule(),))
        for number in range(2)
    ]
    made = replace(base(), network_policies=tuple(policies))
    for table in tables(made):
        assert max(len(chain.name) for chain in table.chains) < 255
        assert max(len(chain.comment) for chain in table.chains) <= 120
        texts = [rule for chain in table.chains for rule in chain.rules]
        assert max(len(text) for text in texts) < 300


def test_services_lead_to_what_policies_allow() -> None:
    """What a packet to the cluster IP comes to is what the promise tells of it."""
    text = LAB.replace(
        "{name: a, namespace: x,", "{name: a, namespace: x, labels: {app: a, tier: x},"
    )
    text = text.replace("{name: b, namespace: x,", "{name: b, namespace: x, labels: {app: a},")
    text += "networkPolicies: [{name: p, namespace: x, podSelector: {matchLabels: {tier: x}}}]\n"
    made = resolve(load_lab_text(text).spec).cluster
    client = next(pod for pod in made.pods if pod.full_name == "x/c")
    address = next(s for s in made.services if s.name == "web").cluster_ips[0]
    found = promise(Lookup(made), Flow(Location(client), address, 80))
    assert found.names == ("x/b",)
    assert [item.backend.name for item in found.denied] == ["x/a"]
    ends = WalkedLab(made).ends(client, address, 80, Protocol.TCP)
    denied = {item.backend.address for item in found.denied}
    assert {end.address for end in ends if end.verdict is Verdict.DROP} == denied
    assert {end.address for end in ends if end.verdict is Verdict.ACCEPT} == {
        answer.backend.address for answer in found.answers
    }
