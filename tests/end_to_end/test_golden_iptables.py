"""What `kns render` prints, loaded into an empty netns, reads back as the real kube-proxy's rules.

One test a captured case, all its steps and both families, and a count of all at the end.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from kns.addresses import IPFamily
from kns.cli.render import command as render
from kns.kernel import netns, nfacct, processes
from kns.kernel.nfacct import NfacctSupport
from kns.kernel.processes import Context
from kns.state.iptables import RESTORE, SAVE
from tests.compile.proxy.captured_iptables import (
    COUNTED,
    NODE,
    RELEASES,
    State,
    case_names,
    comparable,
    states,
)
from tests.kube_proxy_cases import CASES, RELEASE

pytestmark = pytest.mark.kernel

CAPTURED = [(release, case) for release in RELEASES for case in case_names(release)]


@pytest.fixture
def space() -> Iterator[str]:
    """The name of an empty netns."""
    name = f"t-ipt-{uuid.uuid4().hex[:8]}"
    netns.prepare_folder()
    netns.in_thread(netns.create_here, name)
    try:
        yield name
    finally:
        netns.delete(name)


@pytest.fixture(scope="module")
def compared() -> Iterator[list[tuple[str, str]]]:
    """The cases that were found equal; prints how many."""
    equal: list[tuple[str, str]] = []
    yield equal
    print(f"\nkube-proxy iptables: {len(equal)} of {len(CAPTURED)} captured cases equal")


def run(space: str, *argv: str, text: str = "") -> str:
    done = processes.run(argv, context=Context(space), input=text, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def reload(space: str, state: State, family: IPFamily) -> None:
    """Replace the netns' rules by those of `state`: iptables-restore flushes what it declares."""
    arguments = ["-", "--node", NODE, "--family", str(family).lower(), *state.flags]
    result = CliRunner().invoke(render, arguments, input=state.text, catch_exceptions=False)
    run(space, RESTORE[family], text=result.stdout)


@pytest.mark.parametrize(("release", "case"), CAPTURED)
def test_rules_read_back_equal_kube_proxys(
    space: str, release: str, case: str, compared: list[tuple[str, str]]
) -> None:
    for state in states(case, release):
        if COUNTED in state.flags:
            need_nfacct(space)
        for family in IPFamily:
            reload(space, state, family)
            actual = comparable(run(space, SAVE[family]), family)
            assert actual == state.captured(family), f"{state.label} {family}"
    compared.append((release, case))


def need_nfacct(space: str) -> None:
    """kube-proxy makes the objects at its start."""
    if nfacct.support() is not NfacctSupport.WHOLE:
        pytest.skip("this kernel has no nfacct")
    netns.call_in(
        space,
        nfacct.ensure_here,
        ("ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"),
    )


def test_every_captured_case_was_compared(
    request: pytest.FixtureRequest, compared: list[tuple[str, str]]
) -> None:
    """N of N; where only some cases were asked for, those."""
    asked = {
        (item.callspec.params["release"], item.callspec.params["case"])
        for item in request.session.items
        if item.path == request.path and "case" in getattr(item, "fixturenames", ())
        if hasattr(item, "callspec")
    }
    folders = {
        (path.parent.name, path.parents[2].name)
        for path in CASES.glob("*/iptables/*/iptables.save")
    }
    if nfacct.support() is not NfacctSupport.WHOLE:
        asked -= {(release, case) for release, case in folders if release != RELEASE}
    assert set(compared) == asked <= set(CAPTURED)
    assert folders <= set(CAPTURED)
