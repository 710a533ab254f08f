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

from kns.compile.own_rules import own_rules
from kns.kernel import netns, nftables, processes
from kns.kernel.processes import Context
from kns.kinds.networking import DetectLocalMode, ProxyMode
from kns.state.model import NftTable
from kns.state.nft import change, table_text
from tests.compile.proxy.test_captured_nftables import CAPTURED, STATES, tables_of
from tests.kube_proxy_cases import CASES, CapturedState, states_of_case

pytestmark = pytest.mark.kernel

CASES_WITH_STEPS = [
    (CASES / state.name.partition("/")[0], str(state.release))
    for state in STATES
    if "/1-" in state.name
]


def named(state: CapturedState) -> str:
    return f"{state.release}-{state.name}"


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


@pytest.mark.parametrize("state", STATES, ids=named)
def test_loaded_table_is_the_captured_one_and_is_observed_as_desired(
    space: str, state: CapturedState
) -> None:
    prepare(space, state)
    desired = tables_of(state)
    run_nft(space, "-f", "-", text="".join(map(table_text, desired)))
    loaded = normalized(run_nft(space, "-j", "list", "ruleset"))
    assert nftables.observe(space, own_rules().nft_tables) == desired
    assert loaded == captured(space, state)


@pytest.mark.parametrize(
    ("case", "release"), CASES_WITH_STEPS, ids=lambda part: getattr(part, "name", part)
)
def test_steps_by_partial_transactions_lead_to_the_captured_tables(
    space: str, second_space: str, case: Path, release: str
) -> None:
    before: tuple[NftTable | None, ...] = (None, None)
    for state in states_of_case(case, ProxyMode.NFTABLES, release):
        desired = tables_of(state)
        for old, new in zip(before, desired, strict=True):
            nftables.apply(space, change(old, new))
        changed = normalized(run_nft(space, "-j", "list", "ruleset"))
        assert changed == captured(second_space, state)
        before = desired
