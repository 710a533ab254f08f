"""What was changed since `up`: what somebody asked for, not what controllers make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kns.compile import paths
from kns.compile.paths import LabPaths
from kns.engine.objects import Journal, digest_of, live_changes, write_base
from kns.kinds.common import Object
from kns.kinds.objects import with_part
from kns.labfile.reader import JSON

LAB: Object = {"apiVersion": "kns.dev/v1", "kind": "Lab", "metadata": {"name": "lab"}}
OWNER: Object = {"kind": "Deployment", "name": "web", "controller": True}
TAINT: Object = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


@pytest.fixture(name="lab")
def _lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    made = LabPaths("lab")
    made.folder.mkdir()
    made.spec.write_text("kind: Lab")
    return made


def object_(kind: str, name: str, namespace: str = "default") -> Object:
    where: Object = {"namespace": namespace} if namespace else {}
    return {"kind": kind, "metadata": {"name": name, **where}, "spec": {}}


def changes(lab: LabPaths, before: list[Object], after: list[Object]) -> list[str]:
    write_base(lab, [LAB, *before])
    journal = Journal(lab)
    journal.prepare(digest_of(lab), [LAB, *after])
    journal.begin(1)
    journal.close()
    return list(live_changes(lab))


@pytest.mark.parametrize("kind", ["ReplicaSet", "Endpoints", "EndpointSlice", "ControllerRevision"])
def test_what_nobody_owns_somebody_has_made(lab: LabPaths, kind: str) -> None:
    made = object_(kind, "mine")
    assert changes(lab, [], [made]) == [f"{kind.lower()}/mine: created"]
    assert changes(lab, [made], []) == [f"{kind.lower()}/mine: deleted"]
    assert changes(lab, [], [with_part(made, [OWNER], "metadata", "ownerReferences")]) == []


def test_endpoints_of_the_controller_are_nobodys(lab: LabPaths) -> None:
    label = "endpoints.kubernetes.io/managed-by"
    made = with_part(object_("Endpoints", "web"), "x", "metadata", "labels", label)
    assert changes(lab, [], [made]) == []


def test_taints_of_a_lost_node_are_no_change(lab: LabPaths) -> None:
    node = object_("Node", "n2", "")
    own: Object = {"key": "own", "effect": "NoSchedule"}
    assert changes(lab, [node], [with_part(node, [TAINT], "spec", "taints")]) == []
    tainted = with_part(node, [TAINT, own], "spec", "taints")
    assert changes(lab, [node], [tainted]) == ["node/n2: spec.taints set"]


def test_what_the_cluster_brings_of_its_own_is_no_change(lab: LabPaths) -> None:
    brought = [
        object_("Namespace", "ingress-nginx", ""),
        object_("Service", "ingress-nginx-controller", "ingress-nginx"),
        object_("Deployment", "ingress-nginx-controller", "ingress-nginx"),
    ]
    assert changes(lab, [], brought) == []
    dns = with_part(object_("Deployment", "coredns", "kube-system"), 2, "spec", "replicas")
    more = with_part(dns, 3, "spec", "replicas")
    assert changes(lab, [dns], [more]) == ["deployment/coredns in kube-system: spec.replicas 2 → 3"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (None, {}, "spec.part set"),
        ({}, None, "spec.part removed"),
        ({"a": "b"}, None, "spec.part removed"),
        ([], ["a"], "spec.part set"),
        (["a"], [], "spec.part removed"),
        (["a"], ["b"], "spec.part changed"),
    ],
)
def test_an_empty_mapping_is_there(lab: LabPaths, old: JSON, new: JSON, told: str) -> None:
    bare = object_("Service", "web")
    before, after = (
        bare if value is None else with_part(bare, value, "spec", "part") for value in (old, new)
    )
    assert changes(lab, [before], [after]) == [f"service/web: {told}"]
