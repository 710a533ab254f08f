"""What goes with its owner, and what stays."""

from __future__ import annotations

import pytest

from kns.agent.controllers import meta
from kns.kinds.common import Object
from kns.kinds.resources import DEPLOYMENT, NAMESPACE, POD, REPLICA_SET
from kns.labfile.reader import JSON
from tests.agent.controllers.cluster import Cluster, bare_pod, workload


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.add(workload("Deployment", replicas=2))
    made.settle()
    return made


def finalize(cluster: Cluster, finalizer: str) -> None:
    cluster.change("deploy", "web", [finalizer], "metadata", "finalizers")


def test_in_the_background_all_goes_after_the_owner(cluster: Cluster) -> None:
    cluster.delete("deploy", "web")
    cluster.settle()
    assert (cluster.names("rs"), cluster.names()) == ([], [])


def test_in_the_foreground_the_owner_goes_last(cluster: Cluster) -> None:
    finalize(cluster, "foregroundDeletion")
    cluster.delete("deploy", "web")
    cluster.rest()
    assert cluster.store.list(DEPLOYMENT)
    cluster.settle()
    assert not cluster.store.list(DEPLOYMENT)
    assert cluster.names() == []


def test_orphans_stay_and_nobody_manages_them(cluster: Cluster) -> None:
    finalize(cluster, "orphan")
    cluster.delete("deploy", "web")
    cluster.settle()
    assert not cluster.store.list(DEPLOYMENT)
    (found,) = cluster.store.list(REPLICA_SET)
    assert meta.controller_of(found) is None
    assert cluster.names() == ["web-1", "web-2"]


def test_what_has_another_owner_stays(cluster: Cluster) -> None:
    first, second = cluster.store.list(REPLICA_SET)[0], cluster.get("deploy", "web")
    references: JSON = [
        {**meta.owner_reference(first), "controller": False},
        {**meta.owner_reference(second), "controller": False},
    ]
    item = bare_pod("shared")
    cluster.add({**item, "metadata": {**_metadata(item), "ownerReferences": references}})
    cluster.settle()
    cluster.delete("rs", str(_metadata(first)["name"]))
    cluster.settle()
    (left,) = _references(cluster.get("pod", "shared"))
    assert left["kind"] == "Deployment"


def _metadata(item: Object) -> Object:
    found = item["metadata"]
    assert isinstance(found, dict)
    return found


def _references(item: Object) -> list[Object]:
    found = _metadata(item)["ownerReferences"]
    assert isinstance(found, list)
    return [each for each in found if isinstance(each, dict)]


def test_a_namespace_goes_with_all_that_is_in_it() -> None:
    cluster = Cluster()
    cluster.store.create(NAMESPACE, {"metadata": {"name": "team"}})
    item = workload("Deployment", replicas=2)
    cluster.add({**item, "metadata": {"name": "web", "namespace": "team"}})
    cluster.settle()
    assert cluster.names() == ["web-1", "web-2"]
    cluster.store.delete(NAMESPACE, "", "team")
    cluster.settle()
    assert cluster.names() == []
    assert cluster.store.get(NAMESPACE, "", "team") is None


def test_a_pod_on_a_node_that_is_no_more_is_removed() -> None:
    cluster = Cluster("node1")
    cluster.add(bare_pod("lost", nodeName="elsewhere"))
    cluster.settle()
    assert not cluster.store.list(POD)
