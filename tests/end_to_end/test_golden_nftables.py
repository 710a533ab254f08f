"""The captured tables of the real kube-proxy: loaded from ours, the kernel holds the same.

What has no meaning is sorted: chains, sets, elements. After a step kube-proxy still has the chains
that it has just emptied; it deletes them with a sync more than a second later. They are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import DetectLocalMode, ProxyMode
from kns.compile.own_rules import own_rules
from kns.compile.proxy.nftables import nft_tables
from kns.kernel import netns, nftables, processes
from kns.kernel.processes import Context
from kns.state.model import NftTable
from kns.state.nft import change, parse_tables, table_text
from tests.kube_proxy_cases import CASES, RELEASE, CapturedState, captured_states, states_of_case

pytestmark = pytest.mark.kernel

CAPTURED = "ruleset.nft"
CASES_WITH_STEPS = [
    path.parents[2] for path in sorted(CASES.glob(f"*/nftables/{RELEASE}/step-1-*"))
]
STATES = {state.name: state for state in captured_states(ProxyMode.NFTABLES)}
#: here kube-proxy's own transaction failed: it writes `iif "veth*"`, which no kernel takes
FAILED = {"flag-detect-prefix"}


@contextmanager
def new_netns(name: str) -> Iterator[str]:
    netns.prepare_folder()
    netns.in_thread(netns.create_here, name)
    try:
        yield name
    finally:
        netns.delete(name)


@pytest.fixture
def space() -> Iterator[str]:
    """The name of an empty netns."""
    with new_netns("t-nft-golden") as name:
        yield name


@pytest.fixture
def second_space() -> Iterator[str]:
    """The name of another one."""
    with new_netns("t-nft-golden-2") as name:
        yield name


def tables_of(state: CapturedState) -> tuple[NftTable, ...]:
    objects = state.objects
    return tuple(
        table
        for family in IPFamily
        for table in nft_tables(
            objects.services, objects.endpoint_slices, state.node, state.options, family
        )
    )


def prepare(space: str, state: CapturedState) -> None:
    """`iif NAME` is resolved when it is loaded: the link must be there, as it is on a node."""
    if state.options.detect_local_mode is DetectLocalMode.BRIDGE_INTERFACE:
        bridge = state.options.pod_bridge_interface
        context = Context(space)
        processes.run(["ip", "link", "add", bridge, "type", "bridge"], context=context)


def run_nft(space: str, *arguments: str, text: str = "") -> str:
    done = processes.run(["nft", *arguments], context=Context(space), input=text)
    assert done.stderr == ""
    return done.stdout


def captured(space: str, state: CapturedState) -> list[str]:
    """What the captured ruleset is in the words of this machine's nft."""
    run_nft(space, "flush", "ruleset")
    run_nft(space, "-f", str(state.folder / CAPTURED))
    return normalized(run_nft(space, "-j", "list", "ruleset"))


def normalized(text: str) -> list[str]:
    """The objects of `nft -j list ruleset`, one a line, without handles, in a fixed order."""
    lines = []
    rules: dict[tuple[str, str], list[str]] = {}
    for item in json.loads(text)["nftables"]:
        ((kind, body),) = item.items()
        body.pop("handle", None)
        if kind == "rule":
            rules.setdefault((body["family"], body["chain"]), []).append(line(kind, body))
        elif kind != "metainfo":
            if "elem" in body:
                body["elem"].sort(key=lambda element: json.dumps(element, sort_keys=True))
            lines.append((kind, (body["family"], body.get("name", "")), line(kind, body)))
    # chains of services and endpoints have a slash in their name
    kept = [
        text
        for kind, key, text in lines
        if not (kind == "chain" and "/" in key[1] and key not in rules)
    ]
    return sorted(kept) + [text for key in sorted(rules) for text in rules[key]]


def line(kind: str, body: object) -> str:
    return json.dumps({kind: body}, sort_keys=True)


@pytest.mark.parametrize("name", sorted(STATES.keys() - FAILED))
def test_loaded_table_is_the_captured_one(space: str, name: str) -> None:
    state = STATES[name]
    prepare(space, state)
    run_nft(space, "-f", "-", text="".join(map(table_text, tables_of(state))))
    loaded = normalized(run_nft(space, "-j", "list", "ruleset"))
    assert loaded == captured(space, state)


@pytest.mark.parametrize("name", sorted(STATES))
def test_observed_table_is_the_desired_one(space: str, name: str) -> None:
    state = STATES[name]
    prepare(space, state)
    desired = tables_of(state)
    for table in desired:
        nftables.apply(space, change(None, table))
    assert nftables.observe(space, own_rules().nft_tables) == desired


@pytest.mark.parametrize("name", sorted(n for n, state in STATES.items() if not state.is_step))
def test_captured_text_reads_as_the_desired_table(name: str) -> None:
    if name in FAILED:
        pytest.skip("kube-proxy's own transaction failed here")
    state = STATES[name]
    assert parse_tables((state.folder / CAPTURED).read_text()) == tables_of(state)


@pytest.mark.parametrize("case", CASES_WITH_STEPS, ids=lambda path: path.name)
def test_steps_by_partial_transactions_lead_to_the_captured_tables(
    space: str, second_space: str, case: Path
) -> None:
    before: tuple[NftTable | None, ...] = (None, None)
    for state in states_of_case(case, ProxyMode.NFTABLES):
        desired = tables_of(state)
        for old, new in zip(before, desired, strict=True):
            nftables.apply(space, change(old, new))
        changed = normalized(run_nft(space, "-j", "list", "ruleset"))
        assert changed == captured(second_space, state)
        before = desired
