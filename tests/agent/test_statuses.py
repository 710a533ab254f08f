"""What objects say of the cluster that they have become."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from kns.agent.kubelet.kubelet import Kubelet
from kns.agent.kubelet.reports import ContainerReport, PodReport
from kns.agent.statuses import LastAccounts, accounts, with_kubelet
from kns.agent.store import Store
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.assemble import lab_of
from kns.kinds.common import Object
from kns.kinds.load import load_lab_text
from kns.kinds.objects import mappings, part, text, with_part
from kns.kinds.resources import ENDPOINT_SLICE, NODE, POD, SERVICE
from kns.kinds.resources import LAB as LAB_RESOURCE
from kns.kinds.seed import objects_of

LAB = """apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
networking: {nodeCIDRMaskSize: SIZE}
nodes: [{name: n1}]
"""


@pytest.mark.parametrize(("size", "pods"), [("29", "5"), ("24", "253"), ("20", "1024")])
def test_a_node_says_how_many_pods_it_holds(size: str, pods: str) -> None:
    cluster = resolve(load_lab_text(LAB.replace("SIZE", size)).spec).cluster
    store = Store()
    store.create(NODE, {"metadata": {"name": "n1"}})
    kubelet = cast("Kubelet", None)  # there is no pod to ask it of
    found = {item.name: item.obj for item in accounts(cluster, None, store, kubelet, 0)}
    assert text(found["n1"], "status", "allocatable", "pods") == pods
    assert text(found["n1"], "status", "capacity", "pods") == pods


WEB = """apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
nodes: [{name: n1, taints: [{key: own, effect: NoSchedule}]}]
pods: [{name: web, node: n1, labels: {app: web}}]
services:
  - {name: web, type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]}
"""


def web() -> Cluster:
    return resolve(load_lab_text(WEB).spec).cluster


def said(cluster: Cluster, store: Store, kind: str, name: str) -> Object | None:
    """What is said of an object; None if nothing is."""
    found = accounts(cluster, None, store, cast("Kubelet", None), 0)
    return next(
        (item.obj for item in found if (item.resource.kind, item.name) == (kind, name)), None
    )


def service(**spec: object) -> Object:
    return cast("Object", {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})


def test_a_taint_that_is_gone_by_now_stays_gone() -> None:
    store = Store()
    store.create(NODE, {"metadata": {"name": "n1"}})
    assert part(said(web(), store, "Node", "n1"), "spec", "taints") is None


def test_a_service_that_is_gone_by_now_stays_gone() -> None:
    assert said(web(), Store(), "Service", "web") is None
    assert said(web(), Store(), "Service", "kube-dns") is not None


def test_node_ports_are_those_of_their_ports() -> None:
    store = Store()
    ports = [{"port": 443, "nodePort": 30443}, {"port": 80}, {"port": 81}]
    store.create(SERVICE, service(type="NodePort", ports=ports))
    found = mappings(said(web(), store, "Service", "web"), "spec", "ports")
    assert [(item["port"], item.get("nodePort")) for item in found] == [
        (443, 30443), (80, 30080), (81, None),
    ]  # fmt: skip


def test_a_service_of_another_type_by_now_is_given_no_node_port() -> None:
    store = Store()
    store.create(SERVICE, service(type="ClusterIP", ports=[{"port": 80}]))
    (port,) = mappings(said(web(), store, "Service", "web"), "spec", "ports")
    assert "nodePort" not in port


def test_a_pod_held_not_ready_is_so_until_it_is_let_go() -> None:
    store, free = Store(), web()
    unready = replace(free.faults, unready=frozenset({"default/web"}))
    held = replace(free, faults=unready)
    report = PodReport("default", "web", (ContainerReport("web", ready=True, running=1.0),))

    class Reporting:
        def report(self, _namespace: str, _name: str) -> PodReport:
            return report

    kubelet = cast("Kubelet", Reporting())
    pod: Object = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"nodeName": "n1"}}
    status = with_part(pod, "10.244.0.2", "status", "podIP")
    store.create(POD, pod)
    store.update(POD, with_kubelet(status, report, None, held, 0))

    def ready(cluster: Cluster, before: Cluster) -> list[object]:
        """The pod's conditions and container, as they are said to be; empty if nothing is said."""
        found = accounts(cluster, LastAccounts(before), store, kubelet, 0)
        obj = next((item.obj for item in found if item.resource is POD), None)
        known = {c["type"]: c["status"] for c in mappings(obj, "status", "conditions")}
        states = [c["ready"] for c in mappings(obj, "status", "containerStatuses")]
        return [known["Ready"], known["ContainersReady"], *states] if known else []

    assert ready(held, free) == ["False", "False", False]
    # what the objects say by now is that it is not ready
    one = free.pod("default", "web")
    assert one is not None
    still = replace(free, pods=(replace(one, ready=False, serving=False),))
    was = replace(still, faults=unready)
    assert ready(still, was) == ["True", "True", True]


@pytest.mark.parametrize("written", [True, False])
def test_a_pod_that_is_the_same_is_told_anew_where_somebody_has_written(*, written: bool) -> None:
    store, cluster = Store(), web()
    pod: Object = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"nodeName": "n1"}}
    store.create(POD, pod)  # its status, which somebody took away, has no address any more

    class Silent:
        def report(self, _namespace: str, _name: str) -> None:
            return None

    last = LastAccounts(cluster, {("Pod", "default", "web")} if written else ())
    found = accounts(cluster, last, store, cast("Kubelet", Silent()), 0)
    told = [item.name for item in found if item.resource is POD]
    assert told == (["web"] if written else [])


@pytest.mark.parametrize(
    ("managed_by", "is_deleted"),
    [("endpointslice-controller.k8s.io", True), ("mine.example", False)],
)
def test_a_slice_is_deleted_by_who_manages_it(managed_by: str, *, is_deleted: bool) -> None:
    store = Store()
    labels: Object = {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": managed_by,
    }
    owner: Object = {"kind": "Service", "name": "web", "uid": "1", "controller": True}
    meta: Object = {"name": "web-x", "labels": labels, "ownerReferences": [owner]}
    store.create(ENDPOINT_SLICE, {"metadata": meta, "addressType": "IPv4", "endpoints": []})
    found = accounts(web(), None, store, cast("Kubelet", None), 0)
    gone = {item.name for item in found if item.resource is ENDPOINT_SLICE and item.obj is None}
    assert gone == ({"web-x"} if is_deleted else set())


OWN = """apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
nodes: [{name: n1}]
ingressController: {}
"""


@pytest.mark.parametrize("name", ["kube-system/kube-dns", "ingress-nginx/ingress-nginx-controller"])
def test_a_service_of_the_clusters_own_is_made_once(name: str) -> None:
    """Nobody makes it again who has made it: kubeadm, or who has applied a manifest."""
    loaded = load_lab_text(OWN)
    store = Store()
    store.replace_all(item for item in objects_of(loaded) if item["kind"] != "Pod")

    def cluster() -> Cluster:
        return resolve(lab_of(store.all()).lab).cluster

    def account() -> None:
        for item in tuple(accounts(cluster(), None, store, cast("Kubelet", None), 0)):
            there = store.get(item.resource, item.namespace, item.name) is not None
            if item.resource in {SERVICE, LAB_RESOURCE} and item.obj is not None:
                (store.update if there else store.create)(item.resource, item.obj)

    namespace, _, short = name.partition("/")
    account()
    assert store.get(SERVICE, namespace, short) is not None
    store.delete(SERVICE, namespace, short)
    assert cluster().service(namespace, short) is None
    account()
    assert store.get(SERVICE, namespace, short) is None
