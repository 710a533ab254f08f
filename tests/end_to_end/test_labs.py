"""Every lab in labs/, in each mode: up, all promises kept, up again changes nothing, down leaves
nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kns.compile.paths import LabPaths
from kns.engine.down import down
from kns.engine.status import status
from kns.engine.up import desire, up
from kns.kinds.networking import ProxyMode
from kns.kinds.release import NEWEST, Release
from kns.probe.ask.places import places_of
from kns.probe.verify import verify
from tests.end_to_end.labfiles import broken_promises, fingerprint, leftovers

LABS_FOLDER = Path(__file__).parents[2] / "labs"
LABS = sorted(LABS_FOLDER.glob("*.yaml"))
#: in the modes of any kernel; IPVS only where there is one: all labs take an emulated VM half an
#: hour, so there they run when asked for (test_lab_ipvs.py always does)
MODES = [
    pytest.param(ProxyMode.IPTABLES, marks=pytest.mark.kernel),
    pytest.param(ProxyMode.NFTABLES, marks=pytest.mark.kernel),
    pytest.param(ProxyMode.IPVS, marks=[pytest.mark.ipvs, pytest.mark.slow]),
]


def test_there_are_labs() -> None:
    assert len(LABS) >= 10


@pytest.mark.parametrize("file", LABS, ids=lambda file: file.stem)
def test_lab_is_not_warned_of(file: Path) -> None:
    assert desire(file, fresh=True).loaded.warnings == ()


@pytest.mark.parametrize(("release", "is_told"), [(None, True), ("1.31", True), ("1.33", False)])
def test_what_nft_refuses_is_told_of_the_release_that_is_built(
    tmp_path: Path,
    release: str | None,
    is_told: bool,  # noqa: FBT001
) -> None:
    """By its number, and only of this one."""
    file = tmp_path / "lab.yaml"
    text = (LABS_FOLDER / "nftables.yaml").read_text(encoding="utf-8")
    options = (
        'networking:\n  kubeProxy: {version: "1.32", detectLocalMode: InterfaceNamePrefix,'
        " podInterfaceNamePrefix: cni}\n"
    )
    file.write_text(text.replace("networking:\n", options), encoding="utf-8")
    wanted = None if release is None else Release(release)
    warnings = desire(file, release=wanted, fresh=True).loaded.warnings
    told = [item.message.split()[1] for item in warnings if "takes no prefix" in item.message]
    assert set(told) == ({release or "1.32"} if is_told else set())


#: what four-paths.yaml is run with besides its own defaults
NETWORKS = {
    "vxlan": "podNetwork: vxlan",
    "ipv6": "ipFamily: ipv6",
    "dual": "ipFamily: dual",
    "dual-vxlan": "ipFamily: dual\n  podNetwork: vxlan",
}


@pytest.mark.kernel
@pytest.mark.parametrize("mode", [ProxyMode.IPTABLES, ProxyMode.NFTABLES])
@pytest.mark.parametrize("network", NETWORKS)
def test_four_paths_on_other_networks(tmp_path: Path, network: str, mode: ProxyMode) -> None:
    text = (LABS_FOLDER / "four-paths.yaml").read_text(encoding="utf-8")
    file = tmp_path / "four-paths.yaml"
    file.write_text(
        text.replace("networking:\n", f"networking:\n  {NETWORKS[network]}\n"), encoding="utf-8"
    )
    assert NETWORKS[network] in file.read_text(encoding="utf-8")
    prove(file, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("file", LABS, ids=lambda file: file.stem)
def test_lab_keeps_its_promises_and_leaves_nothing(file: Path, mode: ProxyMode) -> None:
    prove(file, mode)


def prove(file: Path, mode: ProxyMode, release: Release = NEWEST) -> None:
    before = fingerprint()
    result = up(file, proxy_mode=mode, release=release)
    assert result.lab == file.stem
    try:
        assert (result.created, result.problems) == (True, ())
        lab_paths = places_of(result.lab, LabPaths(result.lab))
        report = verify(result.cluster, lab_paths)
        assert [
            (check.id, check.expected, check.actual)
            for check in broken_promises(report, result.cluster, lab_paths)
        ] == []
        assert report.passed > 50
        again = up(file, proxy_mode=mode, release=release)
        assert (again.ops, again.agent_started) == ((), False)
        assert status(result.lab).healthy
    finally:
        down(result.lab)
    assert leftovers(result.lab) == {}
    assert fingerprint() == before
