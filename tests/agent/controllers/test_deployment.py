"""Deployments: rollouts, their revisions, what `kubectl rollout status` sees."""

from __future__ import annotations

import pytest

from kns.agent.controllers import meta
from kns.agent.controllers.deployment import HISTORY, REVISION
from kns.agent.controllers.deployment_status import is_complete
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.resources import POD, REPLICA_SET
from tests.agent.controllers.cluster import START, Cluster, workload

TEMPLATE = ("spec", "template")
IMAGE = (*TEMPLATE, "spec", "containers")


def set_image(cluster: Cluster, image: str) -> None:
    cluster.change("deploy", "web", [{"name": "c", "image": image}], *IMAGE)


def progressing(cluster: Cluster) -> str:
    return objects.text(meta.condition(cluster.get("deploy", "web"), "Progressing") or {}, "reason")


def revisions(cluster: Cluster) -> list[str]:
    found = cluster.store.list(REPLICA_SET)
    return sorted(meta.annotation(item, REVISION) for item in found)


def test_a_deployment_has_its_pods_by_a_replica_set_with_the_hash() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=2))
    cluster.settle()
    (found,) = cluster.store.list(REPLICA_SET)
    value = objects.labels_of(found)["pod-template-hash"]
    assert objects.name_of(found) == f"web-{value}"
    assert objects.strings(found, "spec", "selector", "matchLabels")["pod-template-hash"] == value
    assert cluster.names() == ["web-1", "web-2"]
    assert all(
        objects.labels_of(pod)["pod-template-hash"] == value for pod in cluster.store.list(POD)
    )
    assert is_complete(cluster.get("deploy", "web"))
    assert progressing(cluster) == "NewReplicaSetAvailable"
    assert meta.annotation(cluster.get("deploy", "web"), REVISION) == "1"


def test_a_rolling_update_never_has_too_few_or_too_many_pods() -> None:
    cluster = Cluster()
    cluster.add(
        workload(
            "Deployment",
            replicas=10,
            strategy={"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 3}},
        )
    )
    cluster.settle()
    set_image(cluster, "v2")
    seen: list[tuple[int, int]] = []
    while not (is_complete(cluster.get("deploy", "web")) and not cluster.pods_of("v1")):
        cluster.rest()
        staying = [pod for pod in cluster.store.list(POD) if not meta.is_deleted(pod)]
        seen.append((len(staying), sum(meta.is_true(pod, "Ready") for pod in staying)))
        cluster.kubelet()
    assert max(total for total, _ in seen) == 12
    assert min(ready for _, ready in seen) == 7
    assert len(cluster.pods_of("v2")) == 10


def test_a_rolling_update_stops_where_the_new_pods_never_get_ready() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=4, progressDeadlineSeconds=60))
    cluster.settle()
    cluster.is_ready = lambda pod: "v2" not in str(pod)
    set_image(cluster, "v2")
    cluster.settle()
    # maxUnavailable 25 % of 4 is one: three old ones stay, and the surge is one
    assert len(cluster.pods_of("v1")) == 3
    assert len(cluster.pods_of("v2")) == 2
    assert progressing(cluster) == "ReplicaSetUpdated"
    cluster.settle(seconds=62)
    assert progressing(cluster) == "ProgressDeadlineExceeded"
    cluster.is_ready = lambda _pod: True
    cluster.settle()
    assert progressing(cluster) == "NewReplicaSetAvailable"
    assert cluster.pods_of("v1") == []


def test_min_ready_seconds_hold_a_rollout_back() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=2, minReadySeconds=10))
    assert cluster.settle() == START + 10
    assert objects.number(cluster.get("deploy", "web"), "status", "readyReplicas") == 2
    assert objects.number(cluster.get("deploy", "web"), "status", "availableReplicas") == 0
    cluster.settle(seconds=10)
    assert is_complete(cluster.get("deploy", "web"))


def test_recreate_starts_no_new_pod_while_an_old_one_runs() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=3, strategy={"type": "Recreate"}))
    cluster.settle()
    set_image(cluster, "v2")
    cluster.rest()
    assert cluster.names() == []
    assert len(cluster.store.list(POD)) == 3
    cluster.settle()
    assert len(cluster.pods_of("v2")) == 3


def test_a_paused_deployment_scales_and_does_not_roll() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=2))
    cluster.settle()
    cluster.change("deploy", "web", True, "spec", "paused")
    set_image(cluster, "v2")
    cluster.change("deploy", "web", 4, "spec", "replicas")
    cluster.settle()
    assert len(cluster.pods_of("v1")) == 4
    assert cluster.pods_of("v2") == []
    assert progressing(cluster) == "DeploymentPaused"
    cluster.change("deploy", "web", False, "spec", "paused")
    cluster.settle()
    assert len(cluster.pods_of("v2")) == 4


def test_a_rollback_makes_the_old_replica_set_the_newest_again() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=2))
    cluster.settle()
    set_image(cluster, "v2")
    cluster.settle()
    assert revisions(cluster) == ["1", "2"]
    set_image(cluster, "v1")
    cluster.settle()
    assert revisions(cluster) == ["2", "3"]
    newest = next(
        item for item in cluster.store.list(REPLICA_SET) if meta.annotation(item, REVISION) == "3"
    )
    assert meta.annotation(newest, HISTORY) == "1"
    assert meta.annotation(cluster.get("deploy", "web"), REVISION) == "3"
    assert len(cluster.pods_of("v1")) == 2


def test_rollout_restart_replaces_every_pod() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=2))
    cluster.settle()
    path = (*TEMPLATE, "metadata", "annotations", "kubectl.kubernetes.io/restartedAt")
    cluster.change("deploy", "web", "2026-11-27T13:00:00Z", *path)
    cluster.settle()
    assert cluster.names() == ["web-3", "web-4"]


def test_no_pod_gets_a_name_that_another_had() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=3))
    cluster.settle()
    cluster.change("deploy", "web", 0, "spec", "replicas")
    cluster.settle()
    cluster.change("deploy", "web", 1, "spec", "replicas")
    cluster.settle()
    assert cluster.names() == ["web-4"]


def test_the_history_keeps_as_many_revisions_as_it_may() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=1, revisionHistoryLimit=2))
    for image in ("v1", "v2", "v3", "v4", "v5"):
        set_image(cluster, image)
        cluster.settle()
    assert revisions(cluster) == ["3", "4", "5"]


def test_scaling_in_the_middle_of_a_rollout_keeps_the_proportion() -> None:
    cluster = Cluster()
    strategy: Object = {"rollingUpdate": {"maxSurge": 5, "maxUnavailable": 0}}
    cluster.add(workload("Deployment", replicas=10, strategy=strategy))
    cluster.settle()
    cluster.is_ready = lambda pod: "v2" not in str(pod)
    set_image(cluster, "v2")
    cluster.settle()
    assert (len(cluster.pods_of("v1")), len(cluster.pods_of("v2"))) == (10, 5)
    cluster.change("deploy", "web", 20, "spec", "replicas")
    cluster.settle()
    # 25 pods in the proportion of 10 to 5, as 15 were
    assert (len(cluster.pods_of("v1")), len(cluster.pods_of("v2"))) == (17, 8)


def test_a_killed_pod_is_made_anew() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=2))
    cluster.settle()
    cluster.delete("pod", "web-1")
    cluster.settle()
    assert cluster.names() == ["web-2", "web-3"]


def test_events_tell_of_the_scaling() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=2))
    cluster.settle()
    name = objects.name_of(cluster.store.list(REPLICA_SET)[0])
    assert cluster.events("ScalingReplicaSet") == [f"Scaled up replica set {name} from 0 to 2"]
    assert sorted(cluster.events("SuccessfulCreate")) == [
        "Created pod: web-1",
        "Created pod: web-2",
    ]


@pytest.mark.parametrize("orphan", ["ReplicaSet", "Pod"])
def test_what_nobody_manages_is_adopted(orphan: str) -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=2))
    cluster.settle()
    found = cluster.store.list(REPLICA_SET if orphan == "ReplicaSet" else POD)[0]
    name = objects.name_of(found)
    cluster.change(orphan, name, None, "metadata", "ownerReferences")
    cluster.settle()
    assert meta.controller_of(cluster.get(orphan, name)) is not None
    assert cluster.names() == ["web-1", "web-2"]


def test_a_pod_whose_labels_no_longer_match_is_released_and_replaced() -> None:
    cluster = Cluster()
    cluster.add(workload("Deployment", replicas=2))
    cluster.settle()
    cluster.change("pod", "web-1", "debug", "metadata", "labels", "app")
    cluster.settle()
    assert meta.controller_of(cluster.get("pod", "web-1")) is None
    assert cluster.names() == ["web-1", "web-2", "web-3"]
