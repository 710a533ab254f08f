"""IPVS mode on a kernel that has no IPVS: said before anything is built, with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from kns.cli.main import main
from tests.end_to_end.labfiles import leftovers
from tests.vm import features

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not features.missing("ipvs"), reason="the running kernel has IPVS"),
]
FILE = Path(__file__).parents[2] / "labs" / "ipvs.yaml"


def test_up_tells_the_modules_and_how_to_get_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", str(FILE)]) == 3
    told = capsys.readouterr().err
    assert "kubeProxyMode ipvs needs what this kernel lacks: ip_vs" in told
    assert "hint: " in told
    assert "iptables and nftables modes need none of it" in told
    assert leftovers("ipvs") == {}


@pytest.mark.parametrize("words", [("compare", str(FILE)), ("bench", "services", "--sizes", "1")])
def test_nothing_measured_is_no_success(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--modes", "ipvs"]) == 3
    told = capsys.readouterr().out
    assert "ipvs: kubeProxyMode ipvs needs what this kernel lacks: ip_vs" in told.replace(
        "ipvs: not compared: ", "ipvs: "
    )


def test_dry_run_needs_no_ipvs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--dry-run", str(FILE)]) == 0
    assert "link add kube-ipvs0 " in capsys.readouterr().out
