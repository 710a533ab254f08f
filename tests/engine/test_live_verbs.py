"""kns' own verbs over the API: what they ask for, what they say, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.agent.store import Store
from kns.engine import node_verbs, object_verbs, workload_verbs
from kns.engine.api_client import APIClient, NoSuchObjectError, RequestRefusedError
from kns.errors import ApplyError, SpecError, UsageError
from kns.kinds.common import Object
from kns.kinds.objects import flag, mappings, number, part, text, with_part
from kns.kinds.resources import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    EVENT,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    Resource,
)
from kns.labfile.dump import dump_yaml
from kns.report.events import events_table
from kns.report.rollout import history_table
from tests.engine.api_server import served

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: server, ports: [{containerPort: 8080}]}]}
"""
CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: colours, namespace: default}
data: {sky: blue}
"""


@pytest.fixture(name="store")
def _store() -> Store:
    return Store()


@pytest.fixture(name="client")
def _client(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[APIClient]:
    with served(store, tmp_path, monkeypatch) as client:
        yield client


def apply(client: APIClient, *texts: str, namespace: str = "default") -> list[str]:
    files = [(f"{number_}.yaml", text_.encode()) for number_, text_ in enumerate(texts, start=1)]
    return [item.text for item in object_verbs.apply(client, files, namespace)]


def refused(client: APIClient, text_: str) -> list[tuple[int, str, str]]:
    """Line, path and message of each problem; nothing may have been written."""
    before = client.listed(POD)[0]
    with pytest.raises(SpecError) as caught:
        apply(client, text_)
    assert client.listed(POD)[0] == before
    return [(item.line, item.path, item.message) for item in caught.value.problems]


# -- apply -----------------------------------------------------------------------------------------


def test_apply_makes_changes_and_leaves(client: APIClient) -> None:
    assert apply(client, WEB, CONFIG) == [
        "deployment.apps/web created",
        "configmap/colours created",
    ]
    assert apply(client, WEB, CONFIG) == [
        "deployment.apps/web unchanged",
        "configmap/colours unchanged",
    ]
    more = WEB.replace("replicas: 2", "replicas: 3")
    assert apply(client, f"{more}---\n{CONFIG}") == [
        "deployment.apps/web configured",
        "configmap/colours unchanged",
    ]
    assert number(client.get(DEPLOYMENT, "default", "web"), "spec", "replicas") == 3


def test_what_apply_no_longer_says_goes(client: APIClient) -> None:
    apply(client, CONFIG)
    apply(client, CONFIG.replace("sky: blue", "grass: green"))
    assert part(client.get(CONFIG_MAP, "default", "colours"), "data") == {"grass": "green"}


def test_what_a_server_has_printed_is_applied_again(client: APIClient) -> None:
    apply(client, CONFIG)
    printed = dump_yaml(client.get(CONFIG_MAP, "default", "colours"))
    assert "managedFields" in printed
    assert apply(client, printed) == ["configmap/colours unchanged"]


def test_an_object_goes_to_the_namespace_that_is_meant(client: APIClient) -> None:
    space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
    without = CONFIG.replace(", namespace: default", "")
    apply(client, f"{space}---\n{without}", namespace="shop")
    assert client.find(CONFIG_MAP, "shop", "colours") is not None
    assert client.find(CONFIG_MAP, "default", "colours") is None


def test_every_error_of_a_file_is_told_with_its_line(client: APIClient) -> None:
    bad = WEB.replace("8080", "80800") + "---\n" + CONFIG.replace("ConfigMap", "ConfigMpa")
    assert refused(client, bad) == [
        (
            9,
            "spec.template.spec.containers[0].ports[0].containerPort",
            "Invalid value: 80800: must be between 1 and 65535, inclusive",
        ),
        (12, "kind", 'no matches for kind "ConfigMpa" in version "v1"'),
    ]


def test_a_field_that_the_kind_has_not_is_told_with_its_line(client: APIClient) -> None:
    bad = f"{CONFIG}---\n{WEB.replace('replicas', 'replcas')}"
    assert refused(client, bad) == [(10, "spec.replcas", 'unknown field "replcas"')]


def test_what_the_lab_refuses_is_told_at_its_place_and_nothing_is_applied(
    client: APIClient,
) -> None:
    apply(client, WEB)
    other = WEB.replace("app: web", "app: other")
    assert refused(client, f"{CONFIG}---\n{other}") == [
        (
            11,
            "spec.selector",
            'Invalid value: {"matchLabels": {"app": "other"}}: field is immutable',
        )
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("apiVersion: kns/v1\nkind: Lab\nmetadata: {name: x}\n", "a Lab document is not applied"),
        ("apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: x}\n", "no matches for kind"),
        ("[1, 2]\n", "must be a Kubernetes object"),
        ("a: [\n", "while parsing"),
        ("", "the file holds no object"),
    ],
)
def test_what_is_no_object_of_a_lab_is_refused(
    client: APIClient, content: str, message: str
) -> None:
    ((_, _, told),) = refused(client, content)
    assert message in told or told


def test_what_has_no_effect_is_kept_and_warned_of(client: APIClient) -> None:
    claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n"
    (made,) = object_verbs.apply(client, [("x.yaml", claim.encode())], "default")
    assert made.warnings == ("objects of kind PersistentVolumeClaim have no effect here",)


# -- delete ----------------------------------------------------------------------------------------


def test_delete_names_what_is_gone(client: APIClient) -> None:
    targets = [(SERVICE, "web"), (POD, "web-1")]
    done = object_verbs.delete(client, targets, "default", None)
    assert [item.text for item in done] == ["service/web deleted", "pod/web-1 deleted"]
    assert client.find(SERVICE, "default", "web") is None
    # a pod on a node has its grace period
    assert text(client.get(POD, "default", "web-1"), "metadata", "deletionTimestamp")


def test_delete_at_once(client: APIClient) -> None:
    list(object_verbs.delete(client, [(POD, "web-1")], "default", 0))
    assert client.find(POD, "default", "web-1") is None


def test_delete_does_nothing_if_one_is_not_there(client: APIClient) -> None:
    with pytest.raises(UsageError, match="no pod 'wbe-2' in namespace default") as caught:
        list(object_verbs.delete(client, [(SERVICE, "web"), (POD, "wbe-2")], "default", None))
    assert caught.value.hint == "did you mean web-2?"
    assert client.find(SERVICE, "default", "web") is not None


def test_delete_of_a_file_passes_over_what_is_gone(client: APIClient) -> None:
    apply(client, CONFIG)
    files = [("1.yaml", f"{CONFIG}---\n{WEB}".encode())]
    done = object_verbs.delete_files(client, files, "default", None)
    assert [item.text for item in done] == ["configmap/colours deleted"]
    assert list(object_verbs.delete_files(client, files, "default", None)) == []


@pytest.mark.parametrize(
    ("word", "resource"),
    [("po", POD), ("Pods", POD), ("deploy", DEPLOYMENT), ("deployments.apps", DEPLOYMENT)],
)
def test_a_kind_has_kubectls_names(word: str, resource: Resource) -> None:
    assert object_verbs.resource_named(word) is resource


def test_an_unknown_kind_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no kind 'deploymnet'") as caught:
        object_verbs.resource_named("deploymnet")
    assert caught.value.hint == "did you mean deployment?"


# -- workloads -------------------------------------------------------------------------------------


def test_scale(client: APIClient) -> None:
    apply(client, WEB)
    for name in ("web", "deploy/web"):
        assert workload_verbs.scale(client, name, 5, "default").name == "web"
    assert (
        workload_verbs.scale(client, "web", 0, "default").text
        == "deployment.apps/web scaled: 5 → 0"
    )
    assert number(client.get(DEPLOYMENT, "default", "web"), "spec", "replicas") == 0


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("wbe", "there is no workload 'wbe' in namespace default", "did you mean web?"),
        ("deploy/x", "there is no deployment 'x' in namespace default", "deployments there: web"),
        ("ds/x", "daemonsets can't be scaled", "deployments, statefulsets, "),
        ("thing/x", "there is no kind 'thing'", "pods, deploy"),
    ],
)
def test_a_workload_that_is_none(client: APIClient, name: str, message: str, hint: str) -> None:
    apply(client, WEB)
    with pytest.raises(UsageError) as caught:
        workload_verbs.scale(client, name, 1, "default")
    assert caught.value.message == message
    assert caught.value.hint.startswith(hint)


def test_a_daemonset_is_scaled_by_nodes_alone(client: APIClient) -> None:
    apply(client, WEB.replace("Deployment", "DaemonSet").replace("  replicas: 2\n", ""))
    with pytest.raises(UsageError, match="daemonsets can't be scaled"):
        workload_verbs.scale(client, "web", 1, "default")


def test_restart_changes_the_template(client: APIClient) -> None:
    apply(client, WEB)
    workload_verbs.restart(client, "web", "default")
    template = part(client.get(DEPLOYMENT, "default", "web"), "spec", "template", "metadata")
    assert "kubectl.kubernetes.io/restartedAt" in str(template)


def owned(kind: str, name: str, owner: Object, **more: object) -> Object:
    reference = {
        "apiVersion": "apps/v1",
        "kind": str(owner["kind"]),
        "name": text(owner, "metadata", "name"),
        "uid": text(owner, "metadata", "uid"),
        "controller": True,
    }
    meta = {"name": name, "namespace": "default", "ownerReferences": [reference]}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, **more}  # type: ignore[dict-item]


def replica_set(owner: Object, revision: int, colour: str) -> Object:
    template: Object = {
        "metadata": {"labels": {"app": "web", "colour": colour, "pod-template-hash": colour}},
        "spec": {"containers": [{"name": "server"}]},
    }
    made = owned("ReplicaSet", f"web-{colour}", owner, spec={"replicas": 0, "template": template})
    notes: Object = {
        "deployment.kubernetes.io/revision": str(revision),
        "kubernetes.io/change-cause": colour,
    }
    return with_part(made, notes, "metadata", "annotations")


def test_a_deployment_is_rolled_back_to_a_template_of_its_replica_sets(
    client: APIClient, store: Store
) -> None:
    apply(client, WEB)
    web = client.get(DEPLOYMENT, "default", "web")
    for revision, colour in ((2, "green"), (10, "blue"), (9, "red")):
        store.create(REPLICA_SET, replica_set(web, revision, colour))
    rows = history_table(workload_verbs.history(client, "web", "default")).rows
    assert rows == (("2", "green"), ("9", "red"), ("10", "blue"))
    back = workload_verbs.undo(client, "web", "default", 0)
    assert back.text == "deployment.apps/web rolled back to revision 9"
    path = ("spec", "template", "metadata", "labels")
    labels = {"app": "web", "colour": "red"}
    assert part(client.get(DEPLOYMENT, "default", "web"), *path) == labels
    workload_verbs.undo(client, "web", "default", 2)
    assert part(client.get(DEPLOYMENT, "default", "web"), *path) == {
        "app": "web",
        "colour": "green",
    }
    with pytest.raises(UsageError, match="has no revision 3") as caught:
        workload_verbs.undo(client, "web", "default", 3)
    assert caught.value.hint == "its revisions: 2, 9, 10"


def test_a_stateful_set_is_rolled_back_by_the_patch_of_a_revision(
    client: APIClient, store: Store
) -> None:
    apply(
        client,
        WEB.replace("Deployment", "StatefulSet").replace(
            "spec:\n  rep", "spec:\n  serviceName: web\n  rep", 1
        ),
    )
    web = client.get(STATEFUL_SET, "default", "web")
    template: Object = {
        "$patch": "replace",
        "metadata": {"labels": {"app": "web", "colour": "red"}},
        "spec": {"containers": [{"name": "other"}]},
    }
    data: Object = {"spec": {"template": template}}
    store.create(
        CONTROLLER_REVISION, owned("ControllerRevision", "web-1", web, data=data, revision=1)
    )
    store.create(
        CONTROLLER_REVISION, owned("ControllerRevision", "web-2", web, data={}, revision=2)
    )
    workload_verbs.undo(client, "web", "default", 0)
    made = client.get(STATEFUL_SET, "default", "web")
    assert text(made, "spec", "template", "metadata", "labels", "colour") == "red"
    containers = mappings(made, "spec", "template", "spec", "containers")
    assert [text(item, "name") for item in containers] == ["other"]


@pytest.mark.parametrize(
    ("resource", "spec", "status", "waits"),
    [
        (DEPLOYMENT, {"replicas": 3}, {"updatedReplicas": 1, "replicas": 3}, "1 of 3 new pods"),
        (DEPLOYMENT, {"replicas": 2}, {"updatedReplicas": 2, "replicas": 3}, "1 old pod still"),
        (
            DEPLOYMENT,
            {"replicas": 2},
            {"updatedReplicas": 2, "replicas": 2, "availableReplicas": 1},
            "1 of 2 new pods are available",
        ),
        (
            DEPLOYMENT,
            {"replicas": 2},
            {"updatedReplicas": 2, "replicas": 2, "availableReplicas": 2},
            "",
        ),
        (STATEFUL_SET, {"replicas": 2}, {"readyReplicas": 1}, "1 of 2 pods are ready"),
        (
            STATEFUL_SET,
            {"replicas": 2},
            {"readyReplicas": 2, "replicas": 2, "updatedReplicas": 1},
            "1 of 2 pods have been updated",
        ),
        (
            STATEFUL_SET,
            {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
            {"readyReplicas": 2, "replicas": 2, "updatedReplicas": 1},
            "",
        ),
        (
            DAEMON_SET,
            {},
            {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1},
            "1 of 2 pods are available",
        ),
        (REPLICA_SET, {"replicas": 1}, {"replicas": 3}, "2 surplus pods still to go"),
        (POD, {}, {}, ""),
    ],
)
def test_what_a_workload_waits_for(
    resource: Resource, spec: Object, status: Object, waits: str
) -> None:
    found = workload_verbs.waits_for(resource, {"spec": spec, "status": status})
    assert found.startswith(waits)
    assert bool(found) == bool(waits)


def test_a_change_that_nobody_has_seen_is_waited_for() -> None:
    item: Object = {"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}
    assert workload_verbs.waits_for(DEPLOYMENT, item) == "its controller has not seen it yet"


def test_a_rollout_that_has_given_up_is_not_waited_for(client: APIClient, store: Store) -> None:
    apply(client, WEB)
    web = client.get(DEPLOYMENT, "default", "web")
    condition: Object = {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}
    status: Object = {"observedGeneration": 9, "conditions": [condition]}
    store.update(DEPLOYMENT, {**web, "status": status})
    progress = list(workload_verbs.rollout_progress(client, "web", "default", 600.0))
    assert [item.text for item in progress] == ["it has exceeded its progress deadline"]


# -- nodes -----------------------------------------------------------------------------------------


def test_cordon_and_uncordon(client: APIClient) -> None:
    for unschedulable, words in (
        (True, ("cordoned", "already cordoned")),
        (False, ("uncordoned", "already uncordoned")),
    ):
        for word in words:
            made = node_verbs.cordon(client, "node1", unschedulable=unschedulable)
            assert made.text == f"node/node1 {word}"
        assert flag(client.get(NODE, "", "node1"), "spec", "unschedulable") == unschedulable


def drained(client: APIClient, **options: bool) -> list[str]:
    options = {"ignore_daemon_sets": False, "force": False, **options}
    return [item.text for item in node_verbs.drain(client, "node1", **options)]


def test_drain_does_nothing_where_pods_would_be_lost(client: APIClient, store: Store) -> None:
    with pytest.raises(UsageError, match="pods that nobody makes again: web-1"):
        drained(client)
    pod = client.get(POD, "default", "web-1")
    owner: Object = {"kind": "DaemonSet", "name": "x", "uid": "y", "controller": True}
    store.update(POD, with_part(pod, [owner], "metadata", "ownerReferences"))
    with pytest.raises(UsageError, match="pods of DaemonSets, which come back at once: web-1"):
        drained(client, force=True)
    assert not flag(client.get(NODE, "", "node1"), "spec", "unschedulable")
    assert drained(client, ignore_daemon_sets=True) == ["node/node1 cordoned"]


def test_drain_evicts(client: APIClient) -> None:
    assert drained(client, force=True) == ["node/node1 cordoned", "pod/web-1 evicted"]
    assert text(client.get(POD, "default", "web-1"), "metadata", "deletionTimestamp")
    assert "deletionTimestamp" not in str(client.get(POD, "default", "web-2"))


# -- what is on its way ----------------------------------------------------------------------------


def test_what_is_on_its_way(client: APIClient) -> None:
    assert client.pending() == {}
    apply(client, WEB)
    list(object_verbs.delete(client, [(POD, "web-1")], "default", None))
    bare = "apiVersion: v1\nkind: Pod\nmetadata: {name: bare}\nspec: {containers: [{name: c}]}\n"
    apply(client, bare)
    assert sorted(client.pending().values()) == [
        "deployment.apps/web: its controller has not seen it yet",
        "pod/bare: it is not ready",
        "pod/web-1: it has not ended yet",
    ]


# -- events, and the client itself -----------------------------------------------------------------


def test_events_are_told_the_oldest_first_and_counted(client: APIClient, store: Store) -> None:
    for name, stamp, count in (("b", "2026-01-02T03:04:05Z", 1), ("a", "2026-01-02T03:04:35Z", 3)):
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"kind": "Pod", "name": name},
            "reason": "Killing",
            "type": "Normal",
            "message": "x",
            "count": count,
            "firstTimestamp": "2026-01-02T03:04:05Z",
            "lastTimestamp": stamp,
        }
        store.create(EVENT, event)
    table = events_table(client.list(EVENT), 1767323085.0, namespaces=True)
    assert [row[:2] for row in table.rows] == [
        ("default", "40s"),
        ("default", "10s (x3 over 40s)"),
    ]
    assert [row[4] for row in table.rows] == ["Pod/b", "Pod/a"]


def test_a_watch_gives_what_comes_after(client: APIClient) -> None:
    version, _ = client.listed(POD)
    apply(
        client, "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c}]}\n"
    )
    watch = client.watch(POD, "default", version)
    assert text(next(watch), "metadata", "name") == "x"
    watch.close()  # type: ignore[attr-defined]


def test_refusals_are_usage_errors_of_the_api(client: APIClient) -> None:
    with pytest.raises(NoSuchObjectError, match='pods "x" not found'):
        client.get(POD, "default", "x")
    apply(client, WEB)
    with pytest.raises(RequestRefusedError, match="must be greater than or equal to 0") as caught:
        client.patch(DEPLOYMENT, "default", "web", {"spec": {"replicas": -1}}, part="scale")
    assert caught.value.causes[0][0] == "spec.replicas"
    client.settle()


def test_an_api_that_is_not_there_is_told(client: APIClient, tmp_path: Path) -> None:
    (tmp_path / "seeded" / "api.sock").unlink()
    with pytest.raises(ApplyError, match="the lab's API does not answer"):
        client.list(POD)
