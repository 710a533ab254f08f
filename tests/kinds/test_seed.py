"""A lab's objects stand for the same lab: seeding and assembling are each other's inverse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.errors import SpecError
from kns.kinds.assemble import Assembler, lab_of
from kns.kinds.common import Object
from kns.kinds.export import documents
from kns.kinds.load import LoadedLab, load_lab, load_lab_text
from kns.kinds.objects import ref_of, with_part
from kns.kinds.pod import Pod
from kns.kinds.seed import objects_of
from kns.labfile.dump import dump_yaml
from tests import flows

ROOT = Path(__file__).parents[2]


def is_sound(path: Path) -> bool:
    """False for a report of what must be refused."""
    try:
        load_lab(path)
    except SpecError:
        return "reports" not in path.parts
    return True


FILES = sorted((ROOT / "labs").glob("*.yaml")) + sorted(
    path
    for path in (ROOT / "tests").rglob("*.yaml")
    if "errors" not in path.parts
    and "kind: Lab" in path.read_text(encoding="utf-8")
    and is_sound(path)
)


def comparable(cluster: Cluster) -> Cluster:
    """Without the order of namespaces, which says nothing."""
    return replace(cluster, namespaces=tuple(sorted(cluster.namespaces, key=lambda n: n.name)))


def assert_same(loaded: LoadedLab) -> None:
    before = resolve(loaded.spec)
    found = lab_of(objects_of(loaded))
    assert found.problems == {}
    after = resolve(found.lab, before.leases)
    for name in ("nodes", "pods", "pending", "services", "endpoint_slices", "ingresses"):
        assert getattr(after.cluster, name) == getattr(before.cluster, name)
    assert comparable(after.cluster) == comparable(before.cluster)
    assert after.leases == before.leases


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_objects_of_a_lab_file_resolve_as_the_file_does(path: Path) -> None:
    assert_same(load_lab(path))


HEAD = (
    "apiVersion: kns/v1\nkind: Lab\nmetadata: {name: lab}\nnodes: [{name: node1}, {name: node2}]\n"
)
STATES = (
    HEAD
    + """pods:
- {name: a, ready: false}
- {name: b, terminating: true}
- {name: c, terminating: true, serving: false, annotations: {x: y}}
- {name: d, replicas: 2, ready: false, labels: {app: d}}
- {name: e, containers: [{port: 80}, {name: side, ports: [{port: 81, name: http}]}]}
- {name: f, node: node2, hostNetwork: true, containers: [{port: 8081}]}
internet: []
"""
)
MANIFESTS = (
    HEAD
    + """---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOR: red}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {USER: root}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}, annotations: {a: b}}
    spec:
      containers:
      - name: db
        ports: [{containerPort: 5432}]
        envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: login}}]
        env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: kube-system}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, ports: [{containerPort: 9100}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: old, deletionTimestamp: "2026-01-01T00:00:00Z"}
spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
status: {conditions: [{type: Ready, status: "False"}]}
---
apiVersion: v1
kind: Service
metadata: {name: edge}
spec: {type: LoadBalancer, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.200}]}}
"""
)


@pytest.mark.parametrize("text", [STATES, MANIFESTS])
def test_states_and_manifests_are_kept(text: str) -> None:
    assert_same(load_lab_text(text))


def test_services_of_every_policy_are_kept() -> None:
    """External IPs of a ClusterIP with externalTrafficPolicy Local among them."""
    assert_same(load_lab_text(flows.TEXT))


def test_a_deployment_without_labels_gets_one_to_select_its_pods_by() -> None:
    loaded = load_lab_text(HEAD + "pods: [{name: web, replicas: 2}]\n")
    found = lab_of(objects_of(loaded))
    pod = found.lab.workloads[0].template
    assert pod.labels["kns.dev/workload"] == "web"
    assert "pod-template-hash" in pod.labels


def test_pods_have_their_owners() -> None:
    loaded = load_lab_text(MANIFESTS.replace("kind: StatefulSet", "kind: Deployment"))
    found: Any = {ref_of(item): item["metadata"] for item in objects_of(loaded)}
    owner = found["Pod", "default", "db-1"]["ownerReferences"][0]
    made = found["ReplicaSet", "default", owner["name"]]
    assert owner["uid"] == made["uid"]
    assert made["ownerReferences"][0]["uid"] == found["Deployment", "default", "db"]["uid"]


def test_a_wrong_object_is_told_and_left_out() -> None:
    objects = list(objects_of(load_lab_text(HEAD + "pods: [{name: web}]\n")))
    meta: Object = {"name": "bad", "namespace": "default"}
    objects.append(
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"type": "Odd"}}
    )
    clash: Object = {**meta, "name": "fabric"}
    objects.append(
        {"apiVersion": "v1", "kind": "Pod", "metadata": clash, "spec": {"containers": []}}
    )
    found = lab_of(objects)
    assert set(found.problems) == {("Service", "default", "bad"), ("Pod", "default", "fabric")}
    assert "spec.type: Unsupported value" in str(found.problems["Service", "default", "bad"][0])
    assert resolve(found.lab).cluster.services[0].name == "kube-dns"


FULL = """apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
networking: {nodeCIDRMaskSize: 29, dns: {enabled: false}}
nodes: [{name: n1}, {name: n2}]
pods: [{name: web, replicas: 5, node: n1}]
"""


def test_pods_that_find_no_room_are_left_out_and_the_node_stays() -> None:
    items = tuple(objects_of(load_lab_text(FULL)))
    pod = next(item for item in items if item["kind"] == "Pod")
    more = [with_part(pod, f"more-{number}", "metadata", "name") for number in (1, 2)]
    found = lab_of((*items, *more))
    assert {ref: [item.message for item in told] for ref, told in found.problems.items()} == {
        ("Pod", "default", f"more-{number}"): ["Too many pods on n1: its pod CIDR, a /29, holds 5"]
        for number in (1, 2)
    }
    assert [node.name for node in found.lab.nodes] == ["n1", "n2"]
    assert len(found.lab.workloads) == 5


def test_a_bridge_has_ports_for_1024_pods() -> None:
    text = FULL.replace("MaskSize: 29", "MaskSize: 21").replace("replicas: 5", "replicas: 1024")
    items = tuple(objects_of(load_lab_text(text)))
    pod = next(item for item in items if item["kind"] == "Pod")
    more = with_part(pod, "more", "metadata", "name")
    found = lab_of((*items, more))
    assert {ref: [item.message for item in told] for ref, told in found.problems.items()} == {
        ("Pod", "default", "more"): ["Too many pods on n1: a Linux bridge has 1024 ports"]
    }


def test_what_is_the_same_is_not_read_again() -> None:
    items = {ref_of(item): item for item in objects_of(load_lab_text(STATES))}
    assembler = Assembler()
    before, after = (assembler.assemble(items).lab.workloads for _ in range(2))
    assert all(one is two for one, two in zip(before, after, strict=True))


def test_without_a_lab_there_is_none() -> None:
    with pytest.raises(ValueError, match="no object of kind Lab"):
        lab_of([])


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_objects_are_written_as_a_file_of_the_same_lab(path: Path) -> None:
    loaded = load_lab(path)
    text = "---\n".join(map(dump_yaml, documents(objects_of(loaded))))
    again = load_lab_text(text)
    before = resolve(loaded.spec)
    after = resolve(again.spec, before.leases)
    for name in ("nodes", "services", "network_policies", "ingresses"):
        assert getattr(after.cluster, name) == getattr(before.cluster, name)
    assert by_name(after.cluster.pods) == by_name(before.cluster.pods)
    assert after.cluster.network == before.cluster.network


def by_name(pods: tuple[Pod, ...]) -> dict[str, Pod]:
    return {pod.full_name: pod for pod in pods}


def test_what_is_as_in_the_file_has_its_place_there() -> None:
    loaded = load_lab(ROOT / "labs" / "network-policy.yaml")
    objects = [
        with_part(item, "other", "metadata", "labels", "color")
        if ref_of(item) == ("NetworkPolicy", "shop", "db")
        else item
        for item in objects_of(loaded)
    ]
    found = lab_of(objects, policies=loaded.spec.network_policies).lab.network_policies
    places = {policy.full_name: policy.place.rpartition("/")[2] for policy in found}
    assert places["shop/default-deny"] == "network-policy.yaml:38"
    assert places["shop/db"] == ""
    rules = [rule.place for policy in found for rule in policy.ingress if policy.name == "db"]
    assert rules == [""]


def test_endpoints_written_by_hand_are_written_again() -> None:
    lab: Object = {"apiVersion": "kns.dev/v1", "kind": "Lab", "metadata": {"name": "lab"}}
    mine: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "mine"}}
    label = "endpoints.kubernetes.io/managed-by"
    made = with_part(mine, "endpoint-controller", "metadata", "labels", label)
    assert list(documents([lab, mine, made]))[1:] == [mine]
