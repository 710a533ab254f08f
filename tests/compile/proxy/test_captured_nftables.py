"""kns' nft tables are those that the real kube-proxies of several releases left, case by case.

After a step kube-proxy still has the chains that it has just emptied; they are left out.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from kns.addresses import IPFamily
from kns.compile.proxy.nftables import nft_tables
from kns.kinds.networking import ProxyMode
from kns.kinds.release import Release
from kns.state.model import NftTable
from kns.state.nft import parse_tables
from tests.kube_proxy_cases import CapturedState, captured_releases, captured_states

CAPTURED = "ruleset.nft"
STATES = [
    state
    for release in captured_releases(ProxyMode.NFTABLES)
    for state in captured_states(ProxyMode.NFTABLES, release)
]
#: how many cases of each release there are, and their states after steps
CASES = {"1.30": 32, "1.34": 55, "1.36": 56, "1.37": 56}
STEPS = {"1.30": 5, "1.34": 11, "1.36": 11, "1.37": 11}


def tables_of(state: CapturedState, release: Release | None = None) -> tuple[NftTable, ...]:
    objects, options = state.objects, state.options
    if release is not None:
        options = replace(options, version=release)
    return tuple(
        table
        for family in IPFamily
        for table in nft_tables(
            objects.services,
            objects.endpoint_slices,
            state.node,
            options,
            family,
            service_cidrs=objects.service_cidrs,
        )
    )


def without_empty_chains(table: NftTable) -> NftTable:
    """Chains of services and endpoints have a slash in their name."""
    kept = (chain for chain in table.chains if chain.rules or "/" not in chain.name)
    return replace(table, chains=tuple(kept))


@pytest.mark.parametrize("state", STATES, ids=lambda state: f"{state.release}-{state.name}")
def test_table_is_the_captured_one(state: CapturedState) -> None:
    captured = map(without_empty_chains, parse_tables((state.folder / CAPTURED).read_text()))
    assert tables_of(state) == tuple(captured)


def test_1_35_writes_what_1_34_does() -> None:
    """Their proxier.go is the same file."""
    found = [state for state in STATES if state.release == "1.34"]
    assert [tables_of(state, Release.V1_35) for state in found] == list(map(tables_of, found))


def test_every_captured_state_is_compared() -> None:
    """A reader that finds nothing would compare nothing."""
    found = {r: [s for s in STATES if s.release == r] for r in CASES}
    assert {r: sum(not s.is_step for s in states) for r, states in found.items()} == CASES
    assert {r: sum(s.is_step for s in states) for r, states in found.items()} == STEPS
