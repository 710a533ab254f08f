"""Whose neighbor tables a change makes stale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kns.compile.lab import compile_host
from kns.engine.stale import outdated
from kns.plan.diff import plan
from kns.state.model import HostState, Netns
from kns.state.traffic import Netem, Shaper, TrafficClass
from tests.clusters import make_cluster

STATE = compile_host(make_cluster())
NODE1, POD1 = "kns.test.node1", "kns.test.pod1"


def changed(name: str, change: Callable[[Netns], Netns]) -> HostState:
    return HostState(tuple(change(space) if space.name == name else space for space in STATE.netns))


def outdated_by(state: HostState) -> set[str]:
    return set(outdated(STATE, state, plan(state, STATE)))


def test_a_link_that_changes_makes_those_beside_it_ask_anew() -> None:
    def another_mac(space: Netns) -> Netns:
        links = (replace(link, mac="02:00:00:00:00:09") for link in space.links)
        return replace(space, links=tuple(links))

    found = outdated_by(changed(POD1, another_mac))
    assert {POD1, NODE1} <= found
    assert "kns.test.fabric" not in found


def test_a_pod_that_goes_makes_its_node_ask_anew() -> None:
    assert NODE1 in outdated_by(HostState(tuple(s for s in STATE.netns if s.name != POD1)))


def test_a_shaper_or_a_route_makes_nobody_ask_anew() -> None:
    """What a shaper loses would be the question, and with it all that waits for its answer."""
    lossy = Shaper("eth0", (TrafficClass(2, Netem(loss=300_000)),))
    assert outdated_by(changed(NODE1, lambda space: replace(space, shapers=(lossy,)))) == set()
    assert outdated_by(changed(NODE1, lambda space: replace(space, routes=()))) == set()
