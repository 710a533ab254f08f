"""IPVS mode against the captured states of the real kube-proxy, text against text."""

from __future__ import annotations

import pytest

from kns.kinds.networking import ProxyMode
from tests.compile.proxy.ipvs_captured import captured_rules, compiled_rules
from tests.kube_proxy_cases import CASES, RELEASE, captured_states

STATES = {state.name: state for state in captured_states(ProxyMode.IPVS)}


@pytest.mark.parametrize("name", STATES)
def test_rules_equal_kube_proxys(name: str) -> None:
    actual, expected = compiled_rules(STATES[name]), captured_rules(STATES[name])
    assert actual.virtual_servers == expected.virtual_servers
    assert actual.ipsets == expected.ipsets
    assert actual.tables == expected.tables
    assert actual.addresses == expected.addresses


def test_every_captured_state_is_compared() -> None:
    folders = [path.parent for path in CASES.glob(f"*/ipvs/{RELEASE}/**/ipvsadm.save")]
    assert sorted(state.folder for state in STATES.values()) == sorted(folders)
