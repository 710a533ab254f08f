"""A route in the place of another: of whichever shape both are, nothing else is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from itertools import permutations

import pytest

from kns.kernel import netns
from kns.kernel.apply import apply
from kns.kernel.observe import interests, observe
from kns.plan.diff import plan
from kns.plan.ops import Replace
from kns.state.model import (
    Address,
    Bridge,
    HostState,
    Link,
    Netns,
    NextHop,
    Route,
    RouteType,
    RuleNames,
    loopback,
)

pytestmark = pytest.mark.kernel

NAME = "kns.routetest.a"
NETWORKS = {
    4: (ip_network("10.9.0.0/16"), ip_network("0.0.0.0/0")),
    6: (ip_network("fd00:9::/64"), ip_network("::/0")),
}
GATEWAYS = {
    4: tuple(ip_address(f"10.0.0.{number}") for number in (2, 3)),
    6: tuple(ip_address(f"fd00::{number}") for number in (2, 3)),
}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    netns.delete_all(netns.list_netns("kns.routetest."))
    netns.remove_folder_if_empty()


def state(*routes: Route) -> HostState:
    bridge = Link("br0", Bridge(), mac="02:00:5e:00:00:01")
    addresses = (
        Address("br0", ip_interface("10.0.0.1/24")),
        Address("br0", ip_interface("fd00::1/64")),
    )
    return HostState((Netns(NAME, links=(loopback(), bridge), addresses=addresses, routes=routes),))


def shapes(version: int, destination: int) -> tuple[Route, ...]:
    first, second = (NextHop(gateway, "br0") for gateway in GATEWAYS[version])
    route = Route(NETWORKS[version][destination], (first,), table=(254, 1000)[destination])
    return (
        route,
        replace(route, hops=(second,)),
        replace(route, hops=(first, second)),
        replace(route, hops=(NextHop(None, "br0"),)),
        replace(route, hops=(), type=RouteType.UNREACHABLE),
    )


@pytest.mark.parametrize("destination", [0, 1], ids=["a network", "everywhere, another table"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_route_takes_the_place_of_another(version: int, destination: int) -> None:
    apply(plan(state(), HostState()), {})
    for before, after in permutations(shapes(version, destination), 2):
        found = observe((NAME,), interests(state(), RuleNames()))
        apply(plan(state(before), found.state), found.indexes)
        found = observe((NAME,), interests(state(), RuleNames()))
        ops = plan(state(after), found.state)
        assert ops == (Replace(NAME, after),)
        apply(ops, found.indexes)
        found = observe((NAME,), interests(state(), RuleNames()))
        assert plan(state(after), found.state) == (), (before, after)
