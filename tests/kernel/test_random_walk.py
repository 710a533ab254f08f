"""From any state of a lab to any other: after a few steps the kernel is as if built anew.

The states are those of the shipped labs, in either mode, with some of their pods and services
missing, all under one name: their nodes and some of their pods are called the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kns.compile.lab import compile_host
from kns.compile.names import lab_prefix
from kns.compile.own_rules import own_rules
from kns.engine.up import desire
from kns.kernel import netns
from kns.kernel.apply import apply
from kns.kernel.observe import Observation, interests, observe
from kns.kinds.networking import PodNetworkMode, ProxyMode
from kns.plan.diff import plan
from kns.state.model import HostState, Netns

pytestmark = pytest.mark.kernel

LAB = "walktest"
LABS = sorted((Path(__file__).parents[2] / "labs").glob("*.yaml"))
MODES = (ProxyMode.IPTABLES, ProxyMode.NFTABLES)
STEPS = 4
#: what a change may take with it: a route goes with its link, and comes back at the second look
LOOKS = 3


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    remove()
    yield
    remove()
    netns.remove_folder_if_empty()


def remove() -> None:
    netns.delete_all(netns.list_netns(lab_prefix(LAB)))


def some_state(choice: random.Random) -> tuple[str, HostState]:
    """A state, and how to call it in a message."""
    file, mode = choice.choice(LABS), choice.choice(MODES)
    cluster = desire(file, mode, fresh=True).cluster
    network = replace(cluster.network, pod_network=choice.choice(list(PodNetworkMode)))
    found = replace(
        cluster,
        name=LAB,
        network=network,
        pods=tuple(pod for pod in cluster.pods if choice.random() < 0.7),
        services=tuple(service for service in cluster.services if choice.random() < 0.7),
    )
    sizes = f"{len(found.pods)} pods, {len(found.services)} services"
    return f"{file.stem} ({mode}, {network.pod_network}, {sizes})", compile_host(found)


def look(state: HostState) -> Observation:
    return observe(netns.list_netns(lab_prefix(LAB)), interests(state, own_rules()))


def converge(state: HostState) -> int:
    """How many looks it took until nothing differed."""
    for count in range(LOOKS):
        observation = look(state)
        ops = plan(state, observation.state)
        if not ops:
            return count
        apply(ops, observation.indexes)
    assert plan(state, look(state).state) == ()
    return LOOKS


def portrait(state: HostState) -> list[Netns]:
    """What is there, without the tables in which nothing is: a mode that has gone leaves them."""
    return sorted(
        (
            replace(
                space,
                links=tuple(sorted(space.links, key=lambda link: link.name)),
                addresses=tuple(sorted(space.addresses, key=str)),
                routes=tuple(sorted(space.routes, key=str)),
                rules=tuple(sorted(space.rules, key=str)),
                neighbors=tuple(sorted(space.neighbors, key=str)),
                fdb=tuple(sorted(space.fdb, key=str)),
                iptables=tuple(
                    table
                    for table in space.iptables
                    if any(chain.rules or not chain.policy for chain in table.chains)
                ),
            )
            for space in look(state).state.netns
        ),
        key=lambda space: space.name,
    )


@pytest.mark.parametrize("seed", range(4))
def test_after_a_walk_the_kernel_is_as_if_built_anew(seed: int) -> None:
    choice = random.Random(seed)
    walked: list[str] = []
    state = HostState()
    for _ in range(STEPS):
        name, state = some_state(choice)
        walked.append(name)
        converge(state)
    after_walk = portrait(state)
    remove()
    assert converge(state) == 1
    built_anew = portrait(state)
    where = " → ".join(walked)
    assert [space.name for space in after_walk] == [space.name for space in built_anew], where
    for walked_to, built in zip(after_walk, built_anew, strict=True):
        assert walked_to == built, f"{built.name} after {where}"
