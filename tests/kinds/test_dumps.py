"""What `kubectl get … -o yaml` prints of a cluster: made objects, and what was observed of pods."""

from __future__ import annotations

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.pod import Pod
from tests.kinds.labs import lab

OWNER = "ownerReferences: [{apiVersion: %s, kind: %s, name: %s, uid: u, controller: %s}]"
SPEC = "containers: [{name: c, image: x, ports: [{containerPort: 80}]}]"


def resolved(body: str) -> Cluster:
    return resolve(lab(f"networking: {{dns: {{enabled: false}}}}\n{body}").spec).cluster


def workload(kind: str, name: str, more: str = "") -> str:
    owner = f", {more}" if more else ""
    return (
        f"---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}{owner}}}\nspec:\n"
        "  selector: {matchLabels: {app: web}}\n"
        f"  template: {{metadata: {{labels: {{app: web}}}}, spec: {{{SPEC}}}}}\n"
    )


def pod(name: str, more: str = "", status: str = "") -> str:
    owner = f", {more}" if more else ""
    return (
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: web}}{owner}}}\n"
        f"spec: {{{SPEC}}}\nstatus: {{{status}}}\n"
    )


@pytest.mark.parametrize(
    ("objects", "names"),
    [
        (
            workload("Deployment", "web")
            + workload("ReplicaSet", "web-1a", OWNER % ("apps/v1", "Deployment", "web", "true"))
            + pod("web-1a-x", OWNER % ("apps/v1", "ReplicaSet", "web-1a", "true")),
            ["web-1"],
        ),
        # the owner is not in the file
        (pod("web-x", OWNER % ("apps/v1", "ReplicaSet", "web-1a", "true")), ["web-x"]),
        # it keeps the pod alive, and has not made it
        (
            workload("ReplicaSet", "web")
            + pod("x", OWNER % ("apps/v1", "ReplicaSet", "web", "false")),
            ["web-1", "x"],
        ),
        (
            workload("DaemonSet", "web")
            + pod("x", OWNER % ("apps/v1", "DaemonSet", "web", "true")),
            ["web-1", "web-2"],
        ),
        (
            workload("StatefulSet", "web")
            + pod("web-0", OWNER % ("apps/v1", "StatefulSet", "web", "true")),
            ["web-0"],
        ),
    ],
)  # fmt: skip
def test_what_a_controller_in_the_file_makes_is_not_made_twice(
    objects: str, names: list[str]
) -> None:
    assert [item.name for item in resolved(objects).pods] == names


def test_slices_of_a_service_in_the_file_are_made_anew() -> None:
    owner = OWNER % ("v1", "Service", "web", "true")
    found = resolved(
        pod("a")
        + "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
        + "spec: {selector: {app: web}, ports: [{port: 80}]}\n"
        + "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        + f"metadata: {{name: web-x, labels: {{kubernetes.io/service-name: web}}, {owner}}}\n"
        + "addressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.9.9.9]}]\n"
    )
    (item,) = found.endpoint_slices
    assert [str(endpoint.addresses[0]) for endpoint in item.endpoints] == ["10.244.0.2"]


def test_a_slice_that_somebody_else_manages_stays() -> None:
    owner = OWNER % ("v1", "Service", "web", "true")
    labels = "kubernetes.io/service-name: web, endpointslice.kubernetes.io/managed-by: mine"
    found = resolved(
        pod("a")
        + "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
        + "spec: {selector: {app: web}, ports: [{port: 80}]}\n"
        + "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        + f"metadata: {{name: web-x, labels: {{{labels}}}, {owner}}}\n"
        + "addressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.9.9.9]}]\n"
    )
    addresses = {str(e.addresses[0]) for item in found.endpoint_slices for e in item.endpoints}
    assert addresses == {"10.9.9.9", "10.244.0.2"}


SERVICE = (
    "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
    "spec: {selector: {app: web}, ports: [{port: 80}]}\n"
)


@pytest.mark.parametrize(
    ("more", "status", "conditions"),
    [
        ("", "phase: Running, conditions: [{type: Ready, status: 'True'}]", (True, True, False)),
        ("", "phase: Running, conditions: [{type: Ready, status: 'False'}]", (False, False, False)),
        ("", "phase: Pending", (True, True, False)),
        ('deletionTimestamp: "2026-01-01T00:00:00Z"', "phase: Running", (False, True, True)),
        (
            'deletionTimestamp: "2026-01-01T00:00:00Z"',
            "conditions: [{type: Ready, status: 'False'}]",
            (False, False, True),
        ),
        (
            'annotations: {kns.dev/serving: "true", kns.dev/terminating: "true"}',
            "conditions: [{type: Ready, status: 'False'}]",
            (False, True, True),
        ),
    ],
)
def test_an_endpoint_is_what_its_pod_was_seen_to_be(
    more: str, status: str, conditions: tuple[bool, bool, bool]
) -> None:
    (item,) = resolved(pod("a", more, status) + SERVICE).endpoint_slices
    (endpoint,) = item.endpoints
    assert (endpoint.ready, endpoint.serving, endpoint.terminating) == conditions


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_none(phase: str) -> None:
    body = pod("a", status=f"phase: {phase}") + pod("b")
    assert [item.name for item in resolved(body).pods] == ["b"]
    (warning,) = lab(body).warnings
    assert (warning.path, warning.message) == ("status.phase", "the pod has ended: it is left out")


def test_an_address_of_the_nodes_is_kept() -> None:
    body = pod("a", status="podIPs: [{ip: 10.244.0.77}]") + pod(
        "b", status="podIPs: [{ip: 1.2.3.4}]"
    )
    found = resolved(body)
    assert [str(item.addresses[0]) for item in found.pods] == ["10.244.0.77", "10.244.1.2"]


def labels(kind: str, more: str = "") -> list[Pod]:
    body = workload(kind, "web").replace("spec:\n", f"spec:\n  {more}\n" if more else "spec:\n", 1)
    return list(resolved(body).pods)


def test_what_controllers_label_their_pods_with() -> None:
    (deployed,) = labels("Deployment")
    assert set(deployed.labels) == {"app", "pod-template-hash"}
    daemons = labels("DaemonSet")
    assert {frozenset(item.labels) for item in daemons} == {
        frozenset({"app", "controller-revision-hash"})
    }
    first, second = labels("StatefulSet", "replicas: 2")
    assert first.labels["controller-revision-hash"].startswith("web-")
    assert second.labels["statefulset.kubernetes.io/pod-name"] == "web-1"
    assert second.labels["apps.kubernetes.io/pod-index"] == "1"


def test_a_template_has_one_hash_and_another_template_another() -> None:
    one, other = labels("Deployment"), labels("Deployment")
    changed = resolved(workload("Deployment", "web").replace("80", "81")).pods
    hashes = [item.labels["pod-template-hash"] for item in (*one, *other, *changed)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_ordinals_may_start_elsewhere() -> None:
    found = labels("StatefulSet", "ordinals: {start: 5}\n  replicas: 2")
    assert [item.name for item in found] == ["web-5", "web-6"]
    assert found[0].labels["apps.kubernetes.io/pod-index"] == "5"


COREDNS = """\
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: coredns, namespace: kube-system}
  spec:
    replicas: 2
    selector: {matchLabels: {k8s-app: kube-dns}}
    template:
      metadata: {labels: {k8s-app: kube-dns}}
      spec: {containers: [{name: coredns, image: coredns, ports: [{containerPort: 53}]}]}
- apiVersion: v1
  kind: Service
  metadata: {name: kube-dns, namespace: kube-system}
  spec: {clusterIP: 10.96.0.10, selector: {k8s-app: kube-dns}, ports: [{port: 53}]}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata:
    name: kube-dns-x
    namespace: kube-system
    labels: {kubernetes.io/service-name: kube-dns}
  addressType: IPv4
  endpoints: [{addresses: [10.244.0.2]}]
"""


def test_cluster_dns_of_a_dump_is_passed_over_for_kns_own() -> None:
    found = lab(f"---\n{COREDNS}")
    assert [(p.line - found.warnings[0].line, p.message) for p in found.warnings] == [
        (0, "passed over: kns makes cluster DNS itself"),
        (9, "passed over: kns makes cluster DNS itself"),
        (14, "passed over: kns makes cluster DNS itself"),
    ]
    cluster = resolve(found.spec).cluster
    assert [pod.name for pod in cluster.pods] == ["coredns-1", "coredns-2"]
    assert [service.full_name for service in cluster.services] == ["kube-system/kube-dns"]
    own = resolved(f"---\n{COREDNS}")
    assert [str(piece.endpoints[0].addresses[0]) for piece in own.endpoint_slices][
        -1
    ] == "10.244.0.2"
