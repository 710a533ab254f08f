"""StatefulSets: the order of their pods, and of their updates."""

from __future__ import annotations

from kns.agent.controllers import meta
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.resources import POD, by_word
from tests.agent.controllers.cluster import Cluster, bare_pod, workload

IMAGE = ("spec", "template", "spec", "containers")


def stateful(cluster: Cluster, **spec: object) -> None:
    cluster.add(workload("StatefulSet", **{"replicas": 3, **spec}))  # type: ignore[arg-type]


def set_image(cluster: Cluster, image: str) -> None:
    cluster.change("sts", "web", [{"name": "c", "image": image}], *IMAGE)


def test_pods_come_one_after_the_other() -> None:
    cluster = Cluster()
    stateful(cluster)
    counts: list[int] = []
    for _ in range(8):
        cluster.rest()
        counts.append(len(cluster.names()))
        cluster.kubelet()
    assert counts == sorted(counts)
    assert counts[:3] == [1, 2, 3]
    pod = cluster.get("pod", "web-1")
    assert objects.text(pod, "spec", "hostname") == "web-1"
    assert objects.labels_of(pod)["apps.kubernetes.io/pod-index"] == "1"


def test_the_next_waits_until_the_one_before_is_ready() -> None:
    cluster = Cluster()
    cluster.is_ready = lambda pod: objects.name_of(pod) != "web-0"
    stateful(cluster)
    cluster.settle()
    assert cluster.names() == ["web-0"]


def test_parallel_waits_for_nothing() -> None:
    cluster = Cluster()
    cluster.is_ready = lambda _pod: False
    stateful(cluster, podManagementPolicy="Parallel")
    cluster.rest()
    assert cluster.names() == ["web-0", "web-1", "web-2"]


def test_ordinals_begin_where_the_set_says() -> None:
    cluster = Cluster()
    stateful(cluster, ordinals={"start": 5}, replicas=2, serviceName="db")
    cluster.settle()
    assert cluster.names() == ["web-5", "web-6"]
    assert objects.text(cluster.get("pod", "web-5"), "spec", "subdomain") == "db"


def test_the_last_goes_first_and_one_at_a_time() -> None:
    cluster = Cluster()
    stateful(cluster)
    cluster.settle()
    cluster.change("sts", "web", 0, "spec", "replicas")
    cluster.rest()
    assert [objects.name_of(p) for p in cluster.store.list(POD) if meta.is_deleted(p)] == ["web-2"]
    cluster.settle()
    assert cluster.names() == []


def test_a_rolling_update_goes_from_the_last_to_the_first() -> None:
    cluster = Cluster()
    stateful(cluster)
    cluster.settle()
    set_image(cluster, "v2")
    order: list[list[str]] = []
    while len(cluster.pods_of("v2")) < 3:
        cluster.rest()
        cluster.kubelet()
        if cluster.pods_of("v2") not in order:
            order.append(cluster.pods_of("v2"))
    assert [found for found in order if found] == [
        ["web-2"],
        ["web-1", "web-2"],
        ["web-0", "web-1", "web-2"],
    ]
    cluster.settle()
    status = cluster.status("sts")
    assert status["currentRevision"] == status["updateRevision"]
    assert status["updatedReplicas"] == 3


def test_the_partition_keeps_the_first_ones_as_they_are() -> None:
    cluster = Cluster()
    strategy: Object = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    stateful(cluster, updateStrategy=strategy)
    cluster.settle()
    set_image(cluster, "v2")
    cluster.settle()
    assert cluster.pods_of("v2") == ["web-2"]
    # one that is made anew below the partition is of the old revision
    cluster.delete("pod", "web-0")
    cluster.settle()
    assert cluster.pods_of("v1") == ["web-0", "web-1"]
    assert cluster.status("sts")["currentRevision"] != cluster.status("sts")["updateRevision"]


def test_on_delete_leaves_it_to_whoever_deletes() -> None:
    cluster = Cluster()
    stateful(cluster, updateStrategy={"type": "OnDelete"})
    cluster.settle()
    set_image(cluster, "v2")
    cluster.settle()
    assert cluster.pods_of("v2") == []
    cluster.delete("pod", "web-1")
    cluster.settle()
    assert cluster.pods_of("v2") == ["web-1"]


def test_a_template_that_was_before_gets_its_revision_again() -> None:
    cluster = Cluster()
    stateful(cluster)
    cluster.settle()
    for image in ("v2", "v1"):
        set_image(cluster, image)
        cluster.settle()
    found = by_word("controllerrevisions")
    assert found is not None
    kept = cluster.store.list(found)
    assert sorted(objects.number(item, "revision") for item in kept) == [2, 3]
    assert cluster.pods_of("v1") == ["web-0", "web-1", "web-2"]


def test_a_pod_that_has_ended_is_made_anew_under_its_name() -> None:
    cluster = Cluster()
    stateful(cluster)
    cluster.settle()
    before = meta.uid(cluster.get("pod", "web-1"))
    cluster.change("pod", "web-1", "Failed", "status", "phase")
    cluster.settle()
    assert cluster.names() == ["web-0", "web-1", "web-2"]
    assert meta.uid(cluster.get("pod", "web-1")) != before


def test_a_name_that_another_pod_has_is_waited_for() -> None:
    cluster = Cluster()
    cluster.add(bare_pod("web-0"))
    stateful(cluster, replicas=1)
    cluster.settle()
    assert meta.controller_of(cluster.get("pod", "web-0")) is None
    message = 'create Pod web-0 in StatefulSet web failed error: pods "web-0" already exists'
    assert cluster.events("FailedCreate") == [message]
    cluster.delete("pod", "web-0")
    cluster.settle()
    assert meta.controller_of(cluster.get("pod", "web-0")) is not None
