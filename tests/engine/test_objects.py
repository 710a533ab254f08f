"""The journal of a lab's objects: whole or not at all, and of the lab file that there is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kns.compile.paths import LabPaths
from kns.engine.files import LabFiles
from kns.engine.objects import Journal, digest_of, read_objects
from kns.kinds.common import Object
from kns.kinds.objects import ref_of


def thing(kind: str, name: str, **more: str) -> Object:
    return {"kind": kind, "metadata": {"name": name, "namespace": "default"}, **more}


LAB_OBJECT = thing("Lab", "x")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    monkeypatch.setattr("kns.compile.paths.RUN_DIR", tmp_path)
    paths = LabPaths("x")
    paths.folder.mkdir(mode=0o700)
    paths.spec.write_text("kind: Lab", encoding="utf-8")
    return paths


@pytest.fixture
def journal(paths: LabPaths) -> Journal:
    made = Journal(paths)
    made.prepare(digest_of(paths), [LAB_OBJECT])
    made.begin(1)
    return made


def names(paths: LabPaths) -> list[str]:
    kept = read_objects(paths)
    assert kept is not None
    return [ref_of(item)[2] for item in kept.objects]


def test_a_full_disk_refuses_a_write_and_harms_no_other(
    paths: LabPaths, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(2, thing("Pod", "a"))
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) > 20:
            return write(fd, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("kns.engine.objects.os.write", full)
        with pytest.raises(OSError, match="No space"):
            journal.append(3, thing("Pod", "b"))
    journal.append(4, thing("Pod", "c"))
    assert [ref_of(item)[2] for item in journal.objects] == ["x", "a", "c"]
    assert names(paths) == ["x", "a", "c"]


def test_it_is_written_anew_when_it_has_grown(paths: LabPaths, journal: Journal) -> None:
    for version in range(2, 2000):
        journal.append(version, thing("Pod", "a", spec=str(version)))
    assert len(paths.objects.read_text().splitlines()) < 1000
    kept = read_objects(paths)
    assert kept is not None
    assert (kept.version, names(paths)) == (1999, ["x", "a"])
    assert journal.is_current


def test_it_is_nobody_s_after_an_up_of_another_file(paths: LabPaths, journal: Journal) -> None:
    seen = [journal.is_current]
    paths.spec.write_text("kind: Lab # another", encoding="utf-8")
    assert [*seen, journal.is_current] == [True, False]
    assert read_objects(paths) is None


def test_what_is_put_back_is_another_file(paths: LabPaths, journal: Journal) -> None:
    kept = LabFiles.read(paths, objects=True)
    paths.objects.unlink()
    kept.restore()
    assert names(paths) == ["x"]
    assert not journal.is_current


def test_what_the_agent_goes_on_writing_is_not_put_back(paths: LabPaths, journal: Journal) -> None:
    kept = LabFiles.read(paths, objects=False)
    journal.append(2, thing("Pod", "a"))
    kept.restore()
    assert names(paths) == ["x", "a"]
    assert journal.is_current
