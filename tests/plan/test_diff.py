"""plan(desired, observed): what is planned for which difference, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from kns.addresses import IPFamily
from kns.compile.lab import compile_host
from kns.plan.diff import plan
from kns.plan.ops import (
    Add,
    Change,
    CleanConntrack,
    CreateNetns,
    Delete,
    DeleteNetns,
    Op,
    Replace,
    RestoreIptables,
    VethPair,
    Write,
)
from kns.state.model import (
    Address,
    Bridge,
    HostState,
    Link,
    Netns,
    NextHop,
    Route,
    Sysctl,
    UdpFlow,
    VethPeer,
)
from tests.clusters import make_cluster

STATE = compile_host(make_cluster())
NODE1, POD1 = "kns.test.node1", "kns.test.pod1"


def changed(name: str, change: Callable[[Netns], Netns]) -> HostState:
    return HostState(tuple(change(space) if space.name == name else space for space in STATE.netns))


def kind(op: Op) -> object:
    """What the op does, to what kind of object."""
    return (type(op), type(op.item)) if isinstance(op, Add | Delete) else type(op)


def test_plan_is_empty_for_equal_states() -> None:
    assert plan(STATE, STATE) == ()


def test_plan_on_nothing_creates_every_netns_and_each_pair_once() -> None:
    ops = plan(STATE, HostState())
    created = [op.netns for op in ops if isinstance(op, CreateNetns)]
    assert created == [space.name for space in STATE.netns]
    ends = [
        end
        for op in ops
        if isinstance(op, Add) and isinstance(op.item, VethPair)
        for end in ((op.netns, op.item.link.name), (op.item.peer_netns, op.item.peer.name))
    ]
    assert sorted(ends) == sorted(
        (space.name, link.name)
        for space in STATE.netns
        for link in space.links
        if link.peer is not None
    )


def test_bridges_come_up_after_their_ports_and_before_any_route() -> None:
    ops = plan(STATE, HostState())
    kinds = [kind(op) for op in ops]
    ups = [
        position
        for position, op in enumerate(ops)
        if isinstance(op, Change) and isinstance(op.link.kind, Bridge)
    ]
    assert len(ups) == 4
    last_port = max(i for i, kind in enumerate(kinds) if kind == (Add, VethPair))
    assert last_port < ups[0]
    assert ups[-1] < kinds.index((Add, Route))


def test_deleted_route_is_all_that_is_put_back() -> None:
    observed = changed(NODE1, lambda space: replace(space, routes=space.routes[:-1]))
    route = next(space for space in STATE.netns if space.name == NODE1).routes[-1]
    assert plan(STATE, observed) == (Add(NODE1, route),)


def test_a_route_that_leads_elsewhere_is_replaced_in_one_step() -> None:
    """Between a deletion and an addition packets would be told that their host is unreachable."""
    route = next(space for space in STATE.netns if space.name == NODE1).routes[-1]
    elsewhere = replace(route, hops=(NextHop(ip_address("172.18.0.99"), "eth0"),))
    second = replace(elsewhere, metric=7)

    def with_routes(*routes: Route) -> HostState:
        return changed(NODE1, lambda space: replace(space, routes=(*space.routes[:-1], *routes)))

    assert plan(STATE, with_routes(elsewhere)) == (Replace(NODE1, route),)
    assert plan(STATE, with_routes(second)) == (Delete(NODE1, second), Add(NODE1, route))
    # somebody has appended a second one by hand: which of the two the kernel would replace is open
    other = replace(elsewhere, hops=(NextHop(ip_address("172.18.0.98"), "eth0"),))
    assert plan(STATE, with_routes(elsewhere, other)) == (
        Delete(NODE1, elsewhere),
        Delete(NODE1, other),
        Add(NODE1, route),
    )


@pytest.mark.parametrize(
    ("network", "gateway", "is_replaced"),
    [
        ("fd00:10:244:1::/64", "fd00:10:244:1::", False),
        ("fd00:10:244:1::/64", "fd00:172:18::3", True),
        ("10.244.1.0/24", "10.244.1.0", True),
    ],
)
def test_an_ipv6_route_over_another_link_to_a_gateway_in_it_comes_after_the_old_one(
    network: str,
    gateway: str,
    is_replaced: bool,  # noqa: FBT001
) -> None:
    old = Route(ip_network(network), (NextHop(None, "eth0"),))
    new = Route(ip_network(network), (NextHop(ip_address(gateway), "flannel-v6.1", onlink=True),))
    before, after = (HostState((Netns("n", routes=(route,)),)) for route in (old, new))
    steps = (Replace("n", new),) if is_replaced else (Delete("n", old), Add("n", new))
    assert plan(after, before) == steps


def test_changed_sysctl_is_all_that_is_written() -> None:
    wrong = Sysctl("ipv4/ip_forward", "0")
    right = Sysctl("ipv4/ip_forward", "1")
    observed = changed(
        NODE1,
        lambda space: replace(
            space, sysctls=tuple(wrong if item == right else item for item in space.sysctls)
        ),
    )
    assert plan(STATE, observed) == (Write(NODE1, right),)


def test_link_set_down_is_set_up() -> None:
    observed = changed(
        POD1,
        lambda space: replace(
            space,
            links=tuple(
                replace(link, up=False) if link.name == "eth0" else link for link in space.links
            ),
        ),
    )
    eth0 = next(
        link
        for space in STATE.netns
        if space.name == POD1
        for link in space.links
        if link.name == "eth0"
    )
    assert plan(STATE, observed) == (Change(POD1, eth0, ("up",)),)


def test_flushed_chain_is_the_only_one_written() -> None:
    def flush(space: Netns) -> Netns:
        return replace(
            space,
            iptables=tuple(
                replace(
                    table,
                    chains=tuple(
                        replace(chain, rules=())
                        if (table.name, chain.name) == ("nat", "KUBE-SERVICES")
                        else chain
                        for chain in table.chains
                    ),
                )
                for table in space.iptables
            ),
        )

    (op,) = (
        op for op in plan(STATE, changed(NODE1, flush)) if isinstance(op, RestoreIptables)
        and op.family is IPFamily.IPV4
    )  # fmt: skip
    assert [(change.table.name, change.write, change.remove) for change in op.changes] == [
        ("nat", ("KUBE-SERVICES",), ())
    ]


def test_wrong_address_is_removed_and_the_right_one_added() -> None:
    stray = Address("eth0", ip_interface("10.9.9.9/24"))
    observed = changed(POD1, lambda space: replace(space, addresses=(stray,)))
    (right,) = next(space for space in STATE.netns if space.name == POD1).addresses
    assert plan(STATE, observed) == (Delete(POD1, stray), Add(POD1, right))


def test_vanished_pod_goes_with_its_port() -> None:
    fewer = compile_host(make_cluster(pods=2))
    removed = [op for op in plan(fewer, STATE) if isinstance(op, Delete | DeleteNetns)]
    pod3 = next(space for space in STATE.netns if space.name == "kns.test.pod3")
    peer = next(link.peer.name for link in pod3.links if link.peer is not None)
    node1 = next(space for space in STATE.netns if space.name == NODE1)
    port = next(link for link in node1.links if link.name == peer)
    assert removed == [Delete(NODE1, port), DeleteNetns("kns.test.pod3")]


def test_pod_netns_that_vanished_alone_gets_a_new_pair() -> None:
    """Its far end may still be there, without a peer, kept by an open socket."""

    def orphan(space: Netns) -> Netns:
        return replace(
            space,
            links=tuple(
                replace(link, kind=VethPeer("", ""))
                if link.peer is not None and link.peer.netns == POD1
                else link
                for link in space.links
            ),
        )

    observed = HostState(
        tuple(space for space in changed(NODE1, orphan).netns if space.name != POD1)
    )
    ops = plan(STATE, observed)
    kinds = [kind(op) for op in ops]
    assert kinds.index((Delete, Link)) < kinds.index(CreateNetns) < kinds.index((Add, VethPair))
    assert [op.netns for op in ops if isinstance(op, CreateNetns)] == [POD1]
    assert kinds.count((Add, VethPair)) == 1


@pytest.mark.parametrize("pods", [0, 1, 5])
def test_plan_leads_from_any_number_of_pods_to_another(pods: int) -> None:
    desired = compile_host(make_cluster(pods=pods))
    touched = {op.netns for op in plan(desired, STATE)}
    assert "kns.test.fabric" not in touched
    assert "kns.test.internet" not in touched


NODE = next(space for space in STATE.netns if space.name == NODE1)
FLOW = UdpFlow(ip_address("10.96.0.10"), 53, frozenset({(ip_address("10.244.0.2"), 53)}))
FLUSHED = tuple(replace(table, chains=()) for table in NODE.iptables)


@pytest.mark.parametrize(
    ("before", "after", "cleaned"),
    [
        # what was observed says nothing of the table: whoever writes rules looks through it
        ({}, {"udp_flows": (FLOW,)}, False),
        ({"iptables": FLUSHED}, {"udp_flows": (FLOW,)}, True),
        # what was applied does: rules of TCP change without
        ({"udp_flows": (FLOW,), "iptables": FLUSHED}, {"udp_flows": (FLOW,)}, False),
        ({"udp_flows": (FLOW,)}, {"udp_flows": (replace(FLOW, backends=frozenset()),)}, True),
        # the fault that leaves old entries begins, and ends
        ({"udp_flows": (FLOW,), "iptables": FLUSHED}, {"udp_flows": ()}, False),
        ({"udp_flows": ()}, {"udp_flows": (FLOW,)}, True),
    ],
)
def test_conntrack_is_looked_through_if_what_may_be_in_it_has_changed(
    before: dict[str, Any],
    after: dict[str, Any],
    cleaned: bool,  # noqa: FBT001
) -> None:
    bare = replace(NODE, udp_flows=None, virtual_networks=())
    old, new = replace(bare, **before), replace(bare, **after)
    ops = plan(HostState((new,)), HostState((old,)))
    wanted = [CleanConntrack(NODE1, new.udp_flows or (), ())] if cleaned else []
    assert [op for op in ops if isinstance(op, CleanConntrack)] == wanted
