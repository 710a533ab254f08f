"""`mode: bgp` where BIRD is missing: l2, with a warning, and every command agrees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kns.cluster.leases import Leases
from kns.compile.paths import LabPaths
from kns.engine import labs, platform, up
from kns.engine.files import write_lab
from kns.engine.labs import ModeOptions
from kns.errors import PlatformError
from kns.kernel import processes
from kns.kinds.networking import ProxyMode
from tests.balanced import balanced

LAB = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: fallback-lab}
loadBalancer: {mode: bgp, pool: 198.51.100.0/24}
nodes: [{name: node1}]
"""


@pytest.fixture
def _without_bird(monkeypatch: pytest.MonkeyPatch) -> None:
    real = processes.which

    def which(program: str) -> str:
        if program == "bird":
            raise PlatformError("the program bird is not installed", hint="apt-get install bird2")
        return real(program)

    monkeypatch.setattr(processes, "which", which)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB, encoding="utf-8")
    return path


@pytest.mark.usefixtures("_without_bird")
def test_without_bird_the_lab_is_in_mode_l2_and_says_so(file: Path) -> None:
    desired = up.desire(file, None)
    assert desired.cluster.network.load_balancer is not None
    assert desired.cluster.network.load_balancer.mode == "l2"
    (warning,) = desired.loaded.warnings
    assert str(warning) == (
        f"{file}: warning: loadBalancer.mode: the program bird is not installed (apt-get install"
        " bird2): mode l2 in place of bgp"
    )
    assert desired.options.to_json() == {"balancerMode": "l2"}


@pytest.mark.usefixtures("_without_bird")
def test_a_script_is_for_any_machine_and_keeps_the_files_mode(file: Path) -> None:
    desired = up.desire(file, None, fresh=True)
    assert desired.cluster.network.load_balancer is not None
    assert desired.cluster.network.load_balancer.mode == "bgp"


@pytest.mark.usefixtures("_without_bird")
@pytest.mark.parametrize("mode", ["l2", "proxy"])
def test_other_modes_need_no_fallback(mode: str) -> None:
    assert platform.balancer_fallback(balanced(mode)) == ""


def test_a_kernel_without_multipath_routes_falls_back_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "which", lambda program: program)
    monkeypatch.setattr(platform, "_MULTIPATH", tmp_path / "missing")
    assert "CONFIG_IP_ROUTE_MULTIPATH" in platform.balancer_fallback(balanced("bgp"))


@pytest.mark.parametrize(
    "options", [ModeOptions(), ModeOptions(ProxyMode.NFTABLES), ModeOptions(ProxyMode.IPVS, "l2")]
)
def test_options_are_read_as_they_were_written(
    options: ModeOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kns.compile.paths.RUN_DIR", tmp_path)
    paths = LabPaths("some")
    paths.folder.mkdir()
    assert labs.read_options(paths) == ModeOptions()
    write_lab(paths, LAB, Leases(), options.to_json())
    assert labs.read_options(paths) == options
    paths.options.write_text("[]", encoding="utf-8")
    assert labs.read_options(paths) == ModeOptions()


def test_modes_of_the_machine_replace_those_of_the_file() -> None:
    loaded = labs.Loaded(balanced("bgp"), Leases())
    changed = labs.in_modes(loaded, ModeOptions(ProxyMode.NFTABLES, "l2")).cluster.network
    assert changed.kube_proxy.mode is ProxyMode.NFTABLES
    assert changed.load_balancer is not None
    assert changed.load_balancer.mode == "l2"
    none = replace(loaded.cluster, network=replace(loaded.cluster.network, load_balancer=None))
    kept = labs.in_modes(labs.Loaded(none, Leases()), ModeOptions(None, "l2"))
    assert kept.cluster.network.load_balancer is None
