"""Leases survive the way through JSON; anything else is refused."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kns.cluster.leases import HostLease, Leases, PodLease, ServiceLease

FULL = Leases(
    hosts={"node1": HostLease((ip_address("172.18.0.2"),), (ip_network("10.244.0.0/24"),))},
    pods={"default/web": PodLease("node1", (ip_address("10.244.0.2"), ip_address("fd00::2")))},
    services={
        "default/web": ServiceLease(
            (ip_address("10.96.5.5"),), {"80/TCP": 30100}, 30200, (ip_address("192.0.2.1"),)
        )
    },
    last={ip_network("10.244.0.0/24"): ip_address("10.244.0.9")},
)


@pytest.mark.parametrize("leases", [Leases(), FULL])
def test_json_gives_the_same_leases(leases: Leases) -> None:
    assert Leases.from_json(leases.to_json()) == leases
    assert Leases.from_json(leases.to_json()).to_json() == leases.to_json()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", "1", '"x"', "{}", '{"version": 2}', '{"version": 1}',
        '{"version": 1, "hosts": [], "pods": {}, "services": {}, "last": {}}',
        '{"version": 1, "hosts": {}, "pods": {"a": {}}, "services": {}, "last": {}}',
        '{"version": 1, "hosts": {}, "pods": {}, "services": {}, "last": {"x": "y"}}',
        FULL.to_json().replace("10.244.0.2", "10.244.0.256"),
        FULL.to_json().replace("30100", '"30100"'),
        FULL.to_json().replace("30200", "70000"),
        FULL.to_json().replace('"80/TCP": 30100', ""),
        FULL.to_json()[:-10],
        "[" * 100_000,
    ],
)  # fmt: skip
def test_anything_else_is_a_value_error(text: str) -> None:
    if text == FULL.to_json().replace('"80/TCP": 30100', ""):
        assert Leases.from_json(text).services["default/web"].node_ports == {}
        return
    with pytest.raises(ValueError):  # noqa: PT011 - json, ipaddress and Leases word it differently
        Leases.from_json(text)


@given(st.text(max_size=50) | st.binary(max_size=50).map(lambda b: b.decode("latin-1")))
def test_garbage_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Leases.from_json(text)
