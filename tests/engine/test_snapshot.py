"""The resolved cluster beside the lab's files: used only while it is true."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, Network
from kns.compile import paths
from kns.compile.paths import LabPaths
from kns.engine import snapshot
from kns.kinds.node import Node

CLUSTER = Cluster(
    "lab",
    Network((IPFamily.IPV4,), (), (), (), ()),
    (Node("node1", (ip_address("172.18.0.2"), ip_address("fc00::2")), labels={"zone": "a"}),),
)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    made = LabPaths("lab")
    made.folder.mkdir()
    made.spec.write_text("kind: Lab")
    made.leases.write_text("{}")
    snapshot.save(made, CLUSTER)
    return made


def file_of(lab: LabPaths) -> Path:
    return lab.folder / "cluster.snapshot"


def test_snapshot_gives_the_same_cluster_back(lab: LabPaths) -> None:
    assert snapshot.restore(lab) == CLUSTER
    assert file_of(lab).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "change",
    [
        lambda lab: lab.spec.write_text("kind: lab"),
        lambda lab: lab.leases.write_text("{ }"),
        lambda lab: lab.options.write_text("{}"),
        lambda lab: lab.spec.unlink(),
        lambda lab: file_of(lab).write_text("x"),
        lambda lab: file_of(lab).write_text(file_of(lab).read_text()[:-9]),
        lambda lab: file_of(lab).unlink(),
    ],
    ids=["spec", "leases", "options", "no-spec", "garbage", "cut", "absent"],
)
def test_snapshot_of_other_files_or_a_damaged_one_is_none(
    lab: LabPaths, change: Callable[[LabPaths], object]
) -> None:
    change(lab)
    assert snapshot.restore(lab) is None


def test_only_what_was_carried_out_is_told_to_be_so(lab: LabPaths) -> None:
    assert snapshot.restore(lab, carried_out=True) == CLUSTER
    snapshot.save(lab, CLUSTER, carried_out=False)
    assert snapshot.restore(lab) == CLUSTER
    assert snapshot.restore(lab, carried_out=True) is None
    assert snapshot.renew(lab)
    assert snapshot.restore(lab, carried_out=True) == CLUSTER


def test_what_was_carried_out_is_not_taken_for_what_was_written_meanwhile(lab: LabPaths) -> None:
    """An `up` that leaves the objects their agent, which goes on writing them."""
    snapshot.save(lab, CLUSTER, carried_out=False)
    lab.objects.write_text("more")
    snapshot.mark_carried_out(lab)
    assert snapshot.restore(lab) is None
    lab.objects.unlink()
    assert snapshot.restore(lab, carried_out=True) == CLUSTER


def test_a_snapshot_that_is_gone_can_not_be_renewed(lab: LabPaths) -> None:
    snapshot.forget(lab)
    assert not snapshot.renew(lab)
    snapshot.mark_carried_out(lab)
    assert snapshot.restore(lab) is None


def test_snapshot_of_another_release_is_none(
    lab: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kns.__version__", "0")
    assert snapshot.restore(lab) is None
