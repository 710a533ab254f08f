"""IPVS mode on a kernel that has no IPVS: said before anything is built, with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kns.cli.main import main
from tests.kernel.labfiles import leftovers
from tests.vm import features

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not features.missing("ipvs"), reason="the running kernel has IPVS"),
]
FILE = Path(__file__).parents[2] / "labs" / "ipvs.yaml"


def test_up_tells_the_modules_and_how_to_get_them() -> None:
    result = CliRunner().invoke(main, ["up", str(FILE)])
    assert result.exit_code == 3
    assert "kubeProxyMode ipvs needs what this kernel lacks: ip_vs" in result.output
    assert "hint:" in result.output
    assert "iptables and nftables modes need none of it" in result.output
    assert leftovers("ipvs") == {}


def test_dry_run_needs_no_ipvs() -> None:
    result = CliRunner().invoke(main, ["up", "--dry-run", str(FILE)])
    assert result.exit_code == 0, result.output
    assert "kube-ipvs0" in result.output
