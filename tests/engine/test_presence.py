"""What is there of a lab while it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kns.cluster.resolve import resolve
from kns.compile.paths import LabPaths
from kns.engine import presence
from kns.engine.labs import RunningLab
from kns.kinds.load import load_lab_text

LAB = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: passing}
networking: {dns: {enabled: false}}
nodes: [{name: node1}]
pods: [{name: stays, node: node1}, {name: ends, node: node1}]
"""


def test_a_pod_that_ends_meanwhile_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its netns goes between the listing and the look at it."""
    there = ("kns.passing.node1", "kns.passing.stays")
    for name in there:
        (tmp_path / name).touch()
    monkeypatch.setattr(presence, "lab_netns", lambda _lab: (*there, "kns.passing.ends"))
    monkeypatch.setattr(presence, "path_of", tmp_path.joinpath)
    monkeypatch.setattr(presence, "agent_pid", lambda _lab: None)
    cluster = resolve(load_lab_text(LAB, "lab.yaml").spec).cluster
    found = presence.presence_of(
        RunningLab("passing", cluster, LabPaths("passing")), containers=True
    )
    assert (sorted(found.nodes), sorted(found.pods)) == (["node1"], ["default/stays"])
    assert found.ages.keys() == {"default/stays"}
