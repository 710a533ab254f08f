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
