"""The captured states of the real kube-proxy: applied by ours, the kernel reads back the same.

Read with the same programs as the captures: ipvsadm, ipset, iptables-save, ip. A case's steps are
applied to the netns in which the state before them stands, as a running kube-proxy does.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

import pytest

from kns.compile.own_rules import own_rules
from kns.compile.proxy.ipvs import DEVICE
from kns.compile.proxy.ipvs_rules import IpvsRules
from kns.kernel import netns, processes
from kns.kernel.apply import apply
from kns.kernel.contents import Interest
from kns.kernel.observe import Observation, observe
from kns.kernel.processes import Context
from kns.kinds.networking import ProxyMode
from kns.plan.diff import plan
from kns.state.ipset import parse_save as parse_ipset
from kns.state.iptables import SAVE
from kns.state.iptables import parse_save as parse_iptables
from kns.state.ipvs import parse_save as parse_ipvsadm
from kns.state.model import Dummy, HostState, Link, Netns, loopback
from tests.compile.proxy.ipvs_captured import (
    captured_rules,
    comparable,
    compiled_rules,
    parse_addresses,
)
from tests.kube_proxy_cases import CASES, RELEASE, captured_states

pytestmark = pytest.mark.ipvs

STATES = tuple(captured_states(ProxyMode.IPVS))
CASE_NAMES = tuple(dict.fromkeys(state.name.partition("/")[0] for state in STATES))
DEVICE_LINK = Link(DEVICE, Dummy(), mac="02:00:00:00:00:01", up=False)
INTEREST = Interest(iptables=True, ipvs=True, rules=own_rules())


@pytest.fixture
def space() -> Iterator[str]:
    """The name of an empty netns."""
    name = f"t-ipvs-{uuid.uuid4().hex[:8]}"
    netns.prepare_folder()
    netns.in_thread(netns.create_here, name)
    try:
        yield name
    finally:
        netns.delete(name)


@pytest.fixture(scope="module")
def compared() -> Iterator[list[str]]:
    """The states that were found equal; prints how many."""
    equal: list[str] = []
    yield equal
    print(f"\nkube-proxy ipvs: {len(equal)} of {len(STATES)} captured states equal")


def desired(space: str, rules: IpvsRules) -> HostState:
    node = Netns(
        space,
        links=(loopback(up=False), DEVICE_LINK),
        addresses=rules.addresses,
        iptables=rules.tables,
        ipsets=rules.ipsets,
        virtual_servers=rules.virtual_servers,
    )
    return HostState((node,))


def look(space: str) -> Observation:
    return observe([space], {space: INTEREST})


def run(space: str, *argv: str) -> str:
    done = processes.run(argv, context=Context(space), timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def read_back(space: str) -> IpvsRules:
    """What the kernel holds, told by other programs than ours."""
    tables = (
        table
        for family, program in SAVE.items()
        for table in parse_iptables(run(space, program), family)
    )
    return comparable(
        IpvsRules(
            tables=tuple(tables),
            ipsets=parse_ipset(run(space, "ipset", "save")),
            virtual_servers=parse_ipvsadm(run(space, "ipvsadm", "-Sn")),
            addresses=parse_addresses(run(space, "ip", "addr", "show", DEVICE)),
        )
    )


@pytest.mark.parametrize("case", CASE_NAMES)
def test_rules_read_back_equal_kube_proxys(space: str, case: str, compared: list[str]) -> None:
    for state in (item for item in STATES if item.name.partition("/")[0] == case):
        wanted = desired(space, compiled_rules(state))
        before = look(space)
        apply(plan(wanted, before.state), before.indexes)
        actual, expected = read_back(space), captured_rules(state)
        assert actual.virtual_servers == expected.virtual_servers, state.name
        assert actual.ipsets == expected.ipsets, state.name
        assert actual.tables == expected.tables, state.name
        assert actual.addresses == expected.addresses, state.name
        assert plan(wanted, look(space).state) == (), state.name
        compared.append(state.name)


def test_every_captured_state_was_compared(
    request: pytest.FixtureRequest, compared: list[str]
) -> None:
    """N of N; where only some cases were asked for, those."""
    params = (getattr(item, "callspec", None) for item in request.session.items)
    values: list[Mapping[str, object]] = [spec.params for spec in params if spec]
    asked = {str(value["case"]) for value in values if "case" in value} & set(CASE_NAMES)
    assert {name.partition("/")[0] for name in compared} == asked
    folders = {path.parents[2].name for path in CASES.glob(f"*/ipvs/{RELEASE}/ipvsadm.save")}
    assert set(CASE_NAMES) == folders
