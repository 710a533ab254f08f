"""Where the packets of a fault are held back: on which links, and which packets there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kns.cluster.faults import ClusterFaults
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.compile.lab import compile_host, recompile_host
from kns.kinds.load import load_lab_text
from kns.state.model import HostState
from kns.state.traffic import (
    DISCARDED,
    FIRST,
    WHOLE_LINK,
    Discard,
    Netem,
    PacketMatch,
    TokenBucket,
)

HEAD = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
networking: {dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: pod1, node: node1, labels: {app: a}}
- {name: pod2, node: node2, labels: {app: a}}
- {name: pod3, node: node2}
services:
- {name: both, selector: {app: a}, ports: [{port: 80}]}
internet: [{name: internet}, {name: other}]
faults:
  netem:
"""
POD1, POD2, POD3 = "10.244.0.2/32", "10.244.1.2/32", "10.244.1.3/32"
NODE1 = {"172.18.0.2/32", "10.244.0.1/32", "10.244.0.0/24"}
NODE2_ITSELF = {"172.18.0.3/32", "10.244.1.1/32"}
HOST = "203.0.113.10/32"
TO_POD1, TO_POD2, TO_POD3 = "node1 pod1", "node2 pod2", "node2 pod3"


def lab(*faults: str) -> tuple[Cluster, HostState]:
    lines = "".join(f"  - {fault}\n" for fault in faults)
    cluster = resolve(load_lab_text(HEAD + lines).spec).cluster
    return cluster, compile_host(cluster)


def places(*faults: str) -> dict[str, set[str]]:
    """Each link with a shaper, and what it chooses; nothing: whatever leaves by it."""
    _, state = lab(*faults)
    found: dict[str, set[str]] = {}
    for space in state.netns:
        links = {link.name: link.alias.removeprefix("pod default/") for link in space.links}
        for shaper in space.shapers:
            alias = links[shaper.ifname].removesuffix(" eth0")
            where = alias if alias.startswith("pod") else shaper.ifname
            words = {words_of(match) for item in shaper.classes for match in item.matches}
            found[f"{space.name.removeprefix('kns.lab.')} {where}"] = words
    return found


def words_of(match: PacketMatch) -> str:
    return str(match.source or match.destination or match.destination_mac)


@pytest.mark.parametrize(
    ("ends", "links"),
    [
        # to a pod: on its node's end of its cable, whichever way it comes
        ("from: pod1, to: pod2", {TO_POD2: {POD1}}),
        ("from: pod3, to: pod2", {TO_POD2: {POD3}}),
        ("from: node1, to: pod2", {TO_POD2: NODE1}),
        ("from: internet, to: pod2", {TO_POD2: {HOST}}),
        ("from: pod3, to: svc/both", {TO_POD1: {POD3}, TO_POD2: {POD3}}),
        ("from: both, to: pod3", {TO_POD3: {POD1, POD2}}),
        # a node is itself and its pods
        ("from: pod1, to: node2",
         {"pod1 eth0": NODE2_ITSELF, TO_POD2: {POD1}, TO_POD3: {POD1}}),
        ("from: pod1, to: internet", {"pod1 eth0": {HOST}}),
        ("from: node1, to: internet", {"node1 eth0": {HOST}}),
        ("from: internet/other, to: node1", {"fabric node1": {"203.0.113.11/32"}}),
        # whole links
        ("from: pod1", {"pod1 eth0": set()}),
        ("to: pod1", {TO_POD1: set()}),
        ("from: node1", {"node1 eth0": set()}),
        ("to: node1", {"fabric node1": set()}),
        ("from: internet", {"internet eth0": set()}),
    ],
)  # fmt: skip
def test_the_link_is_where_the_packets_bear_the_addresses_that_the_fault_names(
    ends: str, links: dict[str, set[str]]
) -> None:
    found = places(f"{{{ends}, rate: 10mbit}}")
    known = {key: {w for w in words if ":" not in w} for key, words in found.items()}
    assert known == links


def test_between_nodes_the_other_ones_mac_address_tells() -> None:
    """Whatever packets there are: a pod's, a tunnel's, ARP."""
    _, state = lab("{from: node1, to: node2, rate: 10mbit}")
    spaces = {space.name: space for space in state.netns}
    (shaper,) = spaces["kns.lab.node1"].shapers
    (eth0,) = (link for link in spaces["kns.lab.node2"].links if link.name == "eth0")
    assert [match.destination_mac for match, _ in shaper.filters] == [eth0.mac]
    assert spaces["kns.lab.node2"].shapers == ()


def test_a_pair_counts_before_the_whole_link() -> None:
    _, state = lab("{to: pod2, rate: 1mbit}", "{from: pod1, to: pod2, rate: 2mbit}")
    (shaper,) = (shaper for space in state.netns for shaper in space.shapers)
    assert [(item.number, item.queue) for item in shaper.classes] == [
        (FIRST, TokenBucket(2_000_000)),
        (WHOLE_LINK, TokenBucket(1_000_000)),
    ]
    assert [number for _, number in shaper.filters] == [FIRST]


def test_of_several_for_the_whole_link_the_last_counts() -> None:
    _, state = lab("{to: both, rate: 1mbit}", "{to: pod2, rate: 2mbit}")
    rates = [
        item.queue for space in state.netns for shaper in space.shapers for item in shaper.classes
    ]
    assert rates == [TokenBucket(1_000_000), TokenBucket(2_000_000)]


def test_a_rate_alone_is_a_token_bucket_and_anything_more_is_netem() -> None:
    _, state = lab("{to: pod2, delay: 50ms, jitter: 1500us, loss: 0.5%, rate: 10mbit, limit: 7}")
    (shaper,) = (shaper for space in state.netns for shaper in space.shapers)
    netem = Netem(delay=50_000, jitter=1_500, loss=5_000, rate=10_000_000, limit=7)
    assert [item.queue for item in shaper.classes] == [netem]


def test_a_fault_that_is_gone_leaves_nothing_on_pods_that_stay() -> None:
    first, _ = lab("{from: pod1, to: internet, rate: 10mbit}")
    before = recompile_host(first, None)
    after, host = lab("{from: pod2, to: internet, rate: 10mbit}")
    assert recompile_host(after, before).host == host
    sound = replace(after, faults=ClusterFaults())
    assert recompile_host(sound, before).host == compile_host(sound)


def apart(sides: str, *faults: str) -> HostState:
    """The state of a lab with a partition, and others of its faults."""
    lines = "".join(f"  - {fault}\n" for fault in faults)
    head = HEAD if lines else HEAD.removesuffix("  netem:\n")
    text = f"{head}{lines}  partitions: [{{{sides}}}]\n"
    return compile_host(resolve(load_lab_text(text).spec).cluster)


def test_a_partition_discards_in_both_directions() -> None:
    state = apart("between: [pod1, node1], and: [node2]")
    spaces = {space.name.removeprefix("kns.lab."): space for space in state.netns}
    queues = {
        type(item.queue) for space in state.netns for s in space.shapers for item in s.classes
    }
    assert queues == {Discard}
    places = {name: len(space.shapers) for name, space in spaces.items() if space.shapers}
    # pod1's own way out; its node's way out and its port to pod1; node2's, and its ports to pods
    assert places == {"pod1": 1, "node1": 2, "node2": 3}
    macs = {
        match.destination_mac: name
        for name, space in spaces.items()
        for s in space.shapers
        for match, _ in s.filters
        if match.destination_mac
    }
    eth0 = {link.mac: name for name, space in spaces.items() for link in space.links}
    assert {eth0[mac]: name for mac, name in macs.items()} == {"node1": "node2", "node2": "node1"}


def test_what_is_discarded_counts_before_what_is_impaired() -> None:
    state = apart("between: [node1], and: [pod2]", "{from: pod1, to: pod2, rate: 1mbit}")
    (shaper,) = next(
        space.shapers for space in state.netns if space.name.endswith("node2") and space.shapers
    )
    kinds = {item.number: type(item.queue) for item in shaper.classes}
    found = [(words_of(match), kinds[number]) for match, number in shaper.filters]
    assert {words for words, kind in found[:-1]} == NODE1
    assert {kind for _, kind in found[:-1]} == {Discard}
    assert found[-1] == (POD1, TokenBucket)
    assert list(kinds) == [DISCARDED, FIRST]


def test_a_lab_without_faults_has_no_shapers() -> None:
    cluster, state = lab("{to: pod2, rate: 1mbit}")
    assert cluster.faults
    sound = resolve(load_lab_text(HEAD.partition("faults:")[0]).spec).cluster
    assert not sound.faults
    assert not any(space.shapers for space in compile_host(sound).netns)
    assert any(space.shapers for space in state.netns)


def test_without_clean_up_no_udp_entry_of_conntrack_is_deleted() -> None:
    text = HEAD.replace("port: 80", "port: 80, protocol: UDP").replace("  netem:\n", "")
    text = text.replace("faults:\n", "")
    usual, kept = (
        compile_host(resolve(load_lab_text(text + more).spec).cluster)
        for more in ("", "faults: {noConntrackCleanup: true}\n")
    )
    nodes = [space.name for space in usual.netns if space.udp_flows]
    assert nodes == ["kns.lab.node1", "kns.lab.node2"]
    bare = [
        replace(space, udp_flows=(), virtual_networks=()) if space.name in nodes else space
        for space in usual.netns
    ]
    assert list(kept.netns) == bare
