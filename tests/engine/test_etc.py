"""The files of a lab's netns: one file for all, unpacked for whom a program needs them."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
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


def test_what_was_written_last_need_not_be_read(lab: LabPaths) -> None:
    """The same files come of it as without, for a changed pod, a new one and one that goes."""
    last = etc.write(CLUSTER, lab, ())
    unpacked(lab)
    first, second = CLUSTER.pods[:2]
    host = replace(second, name="host", host_network=True)
    later = replace(
        CLUSTER,
        pods=(replace(first, hostname="renamed"), host, replace(second, name="other")),
        services=(*CLUSTER.services, SERVICE),
    )
    new = (f"kns.{CLUSTER.name}.other",)
    text = lab.etc_file.read_text()
    etc.write(later, lab, new)
    expected = lab.etc_file.read_text()
    lab.etc_file.write_text(text)
    shutil.rmtree(lab.etc)
    etc.folder(lab, POD)
    made = etc.write(later, lab, new, last)
    assert lab.etc_file.read_text() == expected
    assert "renamed" in unpacked(lab)["hosts"]
    assert made == etc.Written(later, etc.desired(later, {POD: last.files[POD][etc.ENV]}))
    assert etc.write(replace(later, pods=()), lab, (), made).files.keys() < made.files.keys()
    assert list(lab.etc.iterdir()) == []


def test_files_of_a_pod_that_is_as_it_was_are_taken_over(lab: LabPaths) -> None:
    last = etc.write(CLUSTER, lab, ())
    first, *others = CLUSTER.pods
    later = replace(CLUSTER, pods=(replace(first, hostname="renamed"), *others))
    made = etc.write(later, lab, (), last)
    taken = {name for name, files in made.files.items() if files is last.files.get(name)}
    names = {f"kns.{CLUSTER.name}.{pod.name}" for pod in others}
    assert taken == names
    assert etc.write(CLUSTER, lab, (), made).files == last.files


def test_damaged_file_is_written_anew(lab: LabPaths) -> None:
    lab.etc_file.write_text("{")
    assert etc.folder(lab, POD) is None
    etc.write(CLUSTER, lab, ())
    assert "pod1" in unpacked(lab)["hosts"]


def test_threads_that_unpack_at_once_all_find_the_files(lab: LabPaths) -> None:
    """As verify does: many threads ask in one netns for the first time."""
    etc.write(CLUSTER, lab, ())
    together = threading.Barrier(8)

    def unpack(_number: int) -> Path | None:
        together.wait()
        return etc.folder(lab, POD)

    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(unpack, range(8)))
    assert folders == {lab.pod_etc(POD)}
    assert (lab.pod_etc(POD) / "hosts").read_text(encoding="utf-8")
    assert [path.name for path in lab.etc.iterdir()] == [POD]
