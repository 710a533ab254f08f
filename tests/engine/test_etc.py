"""The files of a lab's netns: one file for all, unpacked for whom a program needs them."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from kns.compile import paths
from kns.compile.paths import LabPaths
from kns.engine import etc
from kns.kinds.service import Service, ServicePort
from tests.clusters import make_cluster

CLUSTER = make_cluster()
POD = f"kns.{CLUSTER.name}.pod1"
SERVICE = Service(
    "default", "late", cluster_ips=(ip_address("10.96.0.7"),), ports=(ServicePort(80),)
)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    found = LabPaths(CLUSTER.name)
    found.folder.mkdir()
    return found


def unpacked(lab: LabPaths, netns: str = POD) -> dict[str, str]:
    folder = etc.folder(lab, netns)
    assert folder is not None
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_pods_have_no_file_of_their_own_before_one_is_asked_for(lab: LabPaths) -> None:
    etc.write(CLUSTER, lab, ())
    assert [path.name for path in lab.folder.iterdir()] == ["etc.json"]
    files = unpacked(lab)
    assert set(files) == {"resolv.conf", "hosts", "nsswitch.conf", "env"}
    assert "pod1" in files["hosts"]
    assert [path.name for path in lab.etc.iterdir()] == [POD]
    assert lab.pod_etc(POD).stat().st_mode & 0o777 == 0o700


def test_netns_that_the_lab_does_not_have_has_none(lab: LabPaths) -> None:
    assert etc.folder(lab, POD) is None
    etc.write(CLUSTER, lab, ())
    assert etc.folder(lab, "kns.other.pod1") is None


@pytest.mark.parametrize("is_unpacked", [False, True])
def test_pod_keeps_the_variables_that_it_was_made_with(lab: LabPaths, is_unpacked: bool) -> None:  # noqa: FBT001
    etc.write(CLUSTER, lab, ())
    if is_unpacked:
        unpacked(lab)
    later = replace(CLUSTER, services=(*CLUSTER.services, SERVICE))
    etc.write(later, lab, ())
    assert "LATE_SERVICE_HOST" not in dict(json.loads(unpacked(lab)["env"]))
    etc.write(later, lab, (POD,))
    assert dict(json.loads(unpacked(lab)["env"]))["LATE_SERVICE_HOST"] == "10.96.0.7"


def test_what_is_unpacked_follows_the_cluster_and_goes_with_its_pod(lab: LabPaths) -> None:
    etc.write(CLUSTER, lab, ())
    unpacked(lab)
    first = CLUSTER.pods[0]
    etc.write(replace(CLUSTER, pods=(replace(first, hostname="renamed"),)), lab, ())
    assert "renamed" in unpacked(lab)["hosts"]
    etc.write(replace(CLUSTER, pods=()), lab, ())
    assert list(lab.etc.iterdir()) == []


def test_damaged_file_is_written_anew(lab: LabPaths) -> None:
    lab.etc_file.write_text("{")
    assert etc.folder(lab, POD) is None
    etc.write(CLUSTER, lab, ())
    assert "pod1" in unpacked(lab)["hosts"]
