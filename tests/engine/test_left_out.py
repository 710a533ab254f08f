"""A lab of whose objects not all can be had together: what commands make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kns.compile import paths
from kns.compile.paths import LabPaths
from kns.engine.labs import applied_spec, load_objects
from kns.engine.objects import Journal, digest_of
from kns.engine.presence import _is_known, _pod_objects
from kns.kinds.common import Object
from kns.kinds.load import load_lab
from kns.kinds.objects import name_of, with_part
from kns.kinds.pod_columns import pod_status
from kns.kinds.seed import objects_of

TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
nodes: [{name: node1}]
pods: [{name: web, node: node1, labels: {app: web}, containers: [{name: c, port: 80}]}]
services: [{name: web, selector: {app: web}, ports: [{port: 80}], clusterIP: 10.96.0.50}]
"""


@pytest.fixture(name="lab")
def _lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    made = LabPaths("lab")
    made.folder.mkdir()
    made.spec.write_text(TEXT)
    return made


def keep(lab: LabPaths, *more: Object) -> tuple[Object, ...]:
    """Have the agent's objects on file: the lab's, and more."""
    objects = (*objects_of(load_lab(lab.spec)), *more)
    journal = Journal(lab)
    journal.prepare(digest_of(lab), objects)
    journal.begin(1)
    journal.close()
    return objects


def test_commands_know_the_lab_without_what_can_not_be_had(lab: LabPaths) -> None:
    (service,) = (item for item in keep(lab) if name_of(item) == "web" and _is_service(item))
    # the cluster IP is the other one's
    keep(lab, with_part(service, "twin", "metadata", "name"))
    found = load_objects(lab)
    assert found is not None
    assert "web" in {item.name for item in found.cluster.services}
    assert "twin" not in {item.name for item in found.cluster.services}
    assert "twin" not in {item.name for item in applied_spec(lab, ()).services}


def _is_service(item: Object) -> bool:
    return item.get("kind") == "Service"


def test_what_is_known_of_a_pods_containers_is_its_status(lab: LabPaths) -> None:
    (pod,) = (item for item in keep(lab) if item.get("kind") == "Pod" and name_of(item) == "web")
    assert not _is_known(with_part(pod, "Pending", "status", "phase"))
    waits: Object = {"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    keep(lab, with_part(pod, [waits], "status", "containerStatuses"))
    (found,) = (item for item in _pod_objects(lab).values() if name_of(item) == "web")
    assert (_is_known(found), pod_status(found)) == (True, "CrashLoopBackOff")
    ending = with_part(pod, "2026-01-01T00:00:00Z", "metadata", "deletionTimestamp")
    assert (_is_known(ending), pod_status(ending)) == (True, "Terminating")
