"""What `pip install kns` brings: the wheel and the source distribution, built and looked into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from kns import __version__
from kns.labfile.shipped import shipped_labs
from tests.readme_console import PROJECT

pytest.importorskip("build", reason="make setup-test installs it")

NAME = f"kns-{__version__}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both; the wheel is built from the source distribution, as pip does it."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(PROJECT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return built / f"{NAME}-py3-none-any.whl"


def modules() -> set[str]:
    return {str(path.relative_to(PROJECT)) for path in (PROJECT / "kns").rglob("*.py")}


def lab_files() -> set[str]:
    return {path.name for path in (PROJECT / "labs").glob("*.yaml")}


def test_wheel_has_the_package_its_types_and_the_labs(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {
        *modules(),
        "kns/py.typed",
        "kns/kinds/api_types.txt",
        *(f"kns/labs/{name}" for name in lab_files()),
    }


def test_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    folder = f"{NAME}.dist-info"
    metadata = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
    assert (metadata["Name"], metadata["Version"]) == ("kns", __version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert any(url.startswith("Source, https://") for url in metadata.get_all("Project-URL", []))
    assert f"{folder}/licenses/LICENSE" in archive.namelist()
    assert "kns = kns.cli.main:main" in archive.read(f"{folder}/entry_points.txt").decode()


def test_source_distribution_has_all_that_the_tests_need(built: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        names = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
    expected = {
        *modules(),
        *(f"labs/{name}" for name in lab_files()),
        *("Makefile", "README.md", "LICENSE", "docs/json.md", "scripts/in-throwaway"),
        *("tests/test_packages.py", "tests/vectors/dns.json", "tests/golden/cli/help.txt"),
        "tests/golden/kube-proxy/small-cluster/nftables/1.30/ruleset.nft",
    }
    assert expected - names == set()


def test_installed_wheel_finds_its_labs_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    """In a venv that sees this one's libraries but not this checkout."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv/bin/python"
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    libraries = Path(pytest.__file__).parents[1]
    done = subprocess.run(
        [python, "-m", "kns.cli.main", "labs", "-o", "json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(libraries)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    listed = [(item["name"], Path(item["file"])) for item in json.loads(done.stdout)]
    assert listed == [(lab.name, site / "kns/labs" / lab.path.name) for lab in shipped_labs()]
