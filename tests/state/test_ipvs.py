"""The steps between virtual servers, and graceful termination."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from kns.plan.diff import plan
from kns.plan.ops import SetVirtualServers
from kns.state.ipvs import IpvsStep, Verb, draining, steps, timeouts_to_set
from kns.state.model import HostState, IpvsTimeouts, Netns, RealServer, VirtualServer

ONE = RealServer(ip_address("10.244.1.10"), 8080)
TWO = RealServer(ip_address("10.244.2.10"), 8080)
SERVICE = VirtualServer("tcp", ip_address("10.96.10.1"), 80, real_servers=(ONE, TWO))
ALONE = replace(SERVICE, real_servers=(ONE,))


def with_second(weight: int, connections: int, protocol: str = "tcp") -> VirtualServer:
    """The service as observed, its second real server in this condition."""
    second = replace(TWO, weight=weight, connections=connections)
    return replace(SERVICE, protocol=protocol, real_servers=(ONE, second))


def test_nothing_to_do_between_equal_states() -> None:
    assert steps([SERVICE], [SERVICE]) == ()


def test_connections_make_no_difference() -> None:
    assert steps([SERVICE], [with_second(1, 7)]) == ()


def test_new_service_comes_before_its_real_servers() -> None:
    assert steps([SERVICE], []) == (
        IpvsStep(Verb.ADD_SERVICE, SERVICE),
        IpvsStep(Verb.ADD_SERVER, SERVICE, ONE),
        IpvsStep(Verb.ADD_SERVER, SERVICE, TWO),
    )


def test_removed_service_goes_at_once_with_its_connections() -> None:
    busy = with_second(1, 3)
    assert steps([], [busy]) == (IpvsStep(Verb.DELETE_SERVICE, busy),)


@pytest.mark.parametrize("change", [{"scheduler": "lc"}, {"persistent": 600}, {"flags": 0x10}])
def test_changed_setting_edits_the_service(change: dict[str, int | str]) -> None:
    changed = replace(SERVICE, **change)  # type: ignore[arg-type]
    assert steps([changed], [SERVICE]) == (IpvsStep(Verb.EDIT_SERVICE, changed),)


def test_changed_weight_edits_the_real_server() -> None:
    assert steps([SERVICE], [with_second(5, 0)]) == (IpvsStep(Verb.EDIT_SERVER, SERVICE, TWO),)


def test_idle_real_server_is_deleted() -> None:
    assert steps([ALONE], [SERVICE]) == (IpvsStep(Verb.DELETE_SERVER, ALONE, TWO),)


def test_busy_real_server_gets_weight_zero() -> None:
    drained = replace(TWO, weight=0)
    observed = with_second(1, 2)
    assert steps([ALONE], [observed]) == (IpvsStep(Verb.EDIT_SERVER, ALONE, drained),)
    assert draining([ALONE], [observed]) == ()


def test_draining_real_server_is_waited_for() -> None:
    observed = with_second(0, 2)
    assert steps([ALONE], [observed]) == ()
    assert draining([ALONE], [observed]) == ((observed, replace(TWO, weight=0)),)


def test_drained_real_server_is_deleted() -> None:
    drained = replace(TWO, weight=0)
    assert steps([ALONE], [with_second(0, 0)]) == (IpvsStep(Verb.DELETE_SERVER, ALONE, drained),)


@pytest.mark.parametrize("protocol", ["udp", "sctp"])
def test_busy_real_server_without_tcp_goes_at_once(protocol: str) -> None:
    desired = replace(ALONE, protocol=protocol)
    observed = with_second(1, 9, protocol)
    assert steps([desired], [observed]) == (IpvsStep(Verb.DELETE_SERVER, desired, TWO),)
    assert draining([desired], [with_second(0, 9, protocol)]) == ()


def test_draining_real_server_that_is_wanted_again_gets_its_weight_back() -> None:
    assert steps([SERVICE], [with_second(0, 4)]) == (IpvsStep(Verb.EDIT_SERVER, SERVICE, TWO),)


def test_excluded_networks_are_left_alone() -> None:
    exclude = (ip_network("10.96.10.0/24"),)
    assert steps([], [SERVICE], exclude) == ()
    assert steps([], [SERVICE], (ip_network("fd00::/8"), ip_network("10.97.0.0/16"))) == (
        IpvsStep(Verb.DELETE_SERVICE, SERVICE),
    )


def test_service_that_is_desired_is_changed_though_excluded() -> None:
    exclude = (ip_network("10.96.10.0/24"),)
    assert steps([ALONE], [SERVICE], exclude) == (IpvsStep(Verb.DELETE_SERVER, ALONE, TWO),)


def test_only_timeouts_not_in_force_are_set() -> None:
    desired = IpvsTimeouts(tcp=900, udp=300)
    observed = IpvsTimeouts(tcp=900, tcp_fin=120, udp=60)
    assert timeouts_to_set(desired, observed) == IpvsTimeouts(udp=300)


def test_plan_waits_without_an_op() -> None:
    """A lab whose only difference is a draining real server has nothing to change."""
    desired = HostState((Netns("n", virtual_servers=(ALONE,)),))
    observed = HostState((Netns("n", virtual_servers=(with_second(0, 1),)),))
    assert plan(desired, observed) == ()


def test_plan_sets_timeouts_alone() -> None:
    desired = HostState((Netns("n", ipvs_timeouts=IpvsTimeouts(udp=30)),))
    observed = HostState((Netns("n", ipvs_timeouts=IpvsTimeouts(900, 120, 300)),))
    assert plan(desired, observed) == (
        SetVirtualServers("n", (), (), timeouts=IpvsTimeouts(udp=30)),
    )
