"""What the cluster has become, as the objects' own accounts of it: addresses, conditions, slices.

Computed from the resolved cluster alone; the store passes over what is so already.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from kns.agent.controllers import meta
from kns.agent.kubelet.kubelet import Kubelet
from kns.agent.kubelet.reports import PodReport, with_report
from kns.agent.store import Store, timestamp
from kns.cluster.api_server import is_api_slice
from kns.cluster.ingress import ingress_address
from kns.cluster.model import Cluster
from kns.kinds import endpointslice, node, service
from kns.kinds.apiserver import ROOT_CA
from kns.kinds.asked import MADE_SERVICES, OWN, OWN_OF_API
from kns.kinds.checks.pods import BRIDGE_PORTS
from kns.kinds.common import Object
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.marks import READY
from kns.kinds.networks import pod_capacity
from kns.kinds.node import Node
from kns.kinds.objects import (
    Ref,
    items,
    key_of,
    mapping,
    mappings,
    owner_reference,
    text,
    with_part,
)
from kns.kinds.owners import is_made
from kns.kinds.pod import Pod
from kns.kinds.resources import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    INGRESS,
    LAB,
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    Resource,
)
from kns.kinds.service import Service
from kns.labfile.reader import JSON

#: of the slices that controllers make of other objects
_MADE_BY = frozenset({endpointslice.CONTROLLER, endpointslice.MIRRORING_CONTROLLER})

#: every node is this machine
_CAPACITY: Object = {
    "cpu": str(os.sysconf("SC_NPROCESSORS_ONLN")),
    "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 1024}Ki",
}


@dataclass(frozen=True, slots=True)
class Account:
    """An object as it should be said of it. `obj` is None for one that should not be there."""

    resource: Resource
    namespace: str
    name: str
    obj: Object | None


@dataclass(frozen=True, slots=True)
class LastAccounts:
    """The cluster that the objects were told of last, and which of them were written since.

    `written` is None where it may be any.
    """

    cluster: Cluster
    written: Collection[Ref] | None = None


def accounts(
    cluster: Cluster,
    last: LastAccounts | None,
    found: Store,
    kubelet: Kubelet,
    now: float,
    authority: str = "",
) -> Iterator[Account]:
    """What is to be written where the cluster was another one at the `last` accounts.

    None: everything. `authority` is the certificate by which pods know the API server, if the
    cluster has one.
    """
    before = None if last is None else last.cluster
    yield from _nodes(cluster, before, found, now)
    yield from _services(cluster, before, found)
    yield from _made_services(cluster, found)
    yield from _pods(cluster, last, found, kubelet, now)
    yield from _slices(cluster, before, found)
    yield from _ingresses(cluster, found)
    if authority:
        yield from _root_certificates(found, authority)


# -- nodes -----------------------------------------------------------------------------------------


def _nodes(cluster: Cluster, before: Cluster | None, found: Store, now: float) -> Iterator[Account]:
    if before is not None and before.nodes == cluster.nodes:
        return
    for item in cluster.nodes:
        obj = found.get(NODE, "", item.name)
        if obj is not None:
            yield Account(NODE, "", item.name, _node(obj, item, cluster, now))


def _node(obj: Object, item: Node, cluster: Cluster, now: float) -> Object:
    own = node.write(item)
    labels: Object = {**mapping(obj, "metadata", "labels"), "kubernetes.io/hostname": item.name}
    made = with_part(obj, labels, "metadata", "labels")
    # of the rest the object has the last word: the cluster may be of a moment before
    given = {k: v for k, v in mapping(own, "spec").items() if k in {"podCIDR", "podCIDRs"}}
    made = {**made, "spec": {**mapping(obj, "spec"), **given}}
    conditions: list[JSON] = list(mappings(obj, "status", "conditions"))
    if not conditions:
        since = timestamp(now)
        conditions = [
            {
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "kubelet is posting ready status",
                "lastHeartbeatTime": since,
                "lastTransitionTime": since,
            }
        ]
    held = min((BRIDGE_PORTS, *map(pod_capacity, item.pod_cidrs)))
    capacity: Object = {**_CAPACITY, "pods": str(held)}
    status: Object = {
        **mapping(obj, "status"),
        "addresses": mapping(own, "status")["addresses"],
        "conditions": conditions,
        "capacity": capacity,
        "allocatable": capacity,
        "nodeInfo": {
            "kernelVersion": os.uname().release,
            "architecture": os.uname().machine,
            "kubeletVersion": f"v{cluster.network.kube_proxy.version}",
            "kubeProxyVersion": f"v{cluster.network.kube_proxy.version}",
            "operatingSystem": "linux",
            "osImage": "kns",
        },
    }
    return {**made, "status": status}


# -- services --------------------------------------------------------------------------------------


def _services(cluster: Cluster, before: Cluster | None, found: Store) -> Iterator[Account]:
    for item in cluster.services:
        is_same = before is not None and before.service(item.namespace, item.name) == item
        ref = ("Service", item.namespace, item.name)
        # the API server keeps its own Service, whoever deletes it
        if is_same and ref not in OWN_OF_API:
            continue
        obj = found.get(SERVICE, item.namespace, item.name)
        if obj is None and ref in OWN:
            yield Account(SERVICE, item.namespace, item.name, service.write(item))
        elif obj is not None and not is_same:
            yield Account(SERVICE, item.namespace, item.name, _service(obj, item))


def _made_services(cluster: Cluster, found: Store) -> Iterator[Account]:
    """The Lab, with the cluster's own Services that have been made: each is made once alone."""
    lab = found.get(LAB, "", cluster.name)
    own = (ref for ref in OWN - OWN_OF_API if ref[0] == SERVICE.kind)
    there = {f"{space}/{name}" for _, space, name in own if cluster.service(space, name)}
    if lab is not None and not there <= {*items(lab, *MADE_SERVICES)}:
        known = sorted({*map(str, items(lab, *MADE_SERVICES)), *there})
        yield Account(LAB, "", cluster.name, with_part(lab, [*known], *MADE_SERVICES))


def _service(obj: Object, item: Service) -> Object:
    """The object with what was allocated to it, unless it has become of another type since."""
    own = service.write(item)
    if (text(obj, "spec", "type") or "ClusterIP") != item.type:
        return obj
    names = ("clusterIP", "clusterIPs", "ipFamilies", "healthCheckNodePort")
    given: Object = {name: value for name, value in mapping(own, "spec").items() if name in names}
    allocated: dict[JSON, Object] = {
        f"{port.protocol} {port.port}": {"nodePort": port.node_port}
        for port in item.ports
        if port.node_port
    }
    given["ports"] = [
        {**allocated.get(_port_key(written), {}), **written}
        for written in mappings(obj, "spec", "ports")
    ]
    status: Object = {**mapping(obj, "status"), **mapping(own, "status")}
    return {**obj, "spec": {**mapping(obj, "spec"), **given}, "status": status}


def _port_key(written: Object) -> str:
    """What a Service has each of its ports by."""
    return f"{text(written, 'protocol') or 'TCP'} {written.get('port')}"


# -- pods ------------------------------------------------------------------------------------------


def _pods(
    cluster: Cluster, last: LastAccounts | None, found: Store, kubelet: Kubelet, now: float
) -> Iterator[Account]:
    nodes = {item.name: item for item in cluster.nodes}
    unchanged = frozenset() if last is None else _unchanged(cluster, last.cluster)
    for item in cluster.pods:
        same = item.full_name in unchanged
        ref = (POD.kind, item.namespace, item.name)
        if same and last is not None and last.written is not None and ref not in last.written:
            continue
        obj = found.get(POD, item.namespace, item.name)
        if obj is None or text(obj, "metadata", "deletionTimestamp"):
            continue
        if same and text(obj, "status", "podIP") and meta.is_true(obj, "Ready") == item.ready:
            continue
        made = _pod(obj, item, nodes[item.node], now)
        report = kubelet.report(item.namespace, item.name)
        if report is not None:
            host = found.get(NODE, "", item.node)
            made = with_kubelet(made, report, host, cluster, now)
        yield Account(POD, item.namespace, item.name, made)


def _unchanged(cluster: Cluster, before: Cluster) -> frozenset[str]:
    """The full names of the pods of which nobody has to be told anything new."""
    nodes = {item.name: item for item in before.nodes}
    # pods of a node that is back are ready by their kubelet's word, which has not changed
    same = {item.name for item in cluster.nodes if nodes.get(item.name) == item}
    held = before.faults.unready ^ cluster.faults.unready
    pods = {item.full_name: item for item in before.pods}
    return frozenset(
        item.full_name
        for item in cluster.pods
        if item.node in same and item.full_name not in held and pods.get(item.full_name) == item
    )


def _pod(obj: Object, item: Pod, host: Node, now: float) -> Object:
    """The pod once its netns is there: its addresses, and since when."""
    conditions: list[JSON] = [
        _condition(obj, kind, "True", now) for kind in ("PodReadyToStartContainers", "PodScheduled")
    ]
    known = {"PodReadyToStartContainers", "PodScheduled"}
    conditions += [c for c in mappings(obj, "status", "conditions") if c.get("type") not in known]
    status: Object = {
        "phase": "Pending",
        **mapping(obj, "status"),
        "conditions": conditions,
        "hostIP": str(host.addresses[0]),
        "hostIPs": [{"ip": str(address)} for address in host.addresses],
        "podIP": str(item.addresses[0]),
        "podIPs": [{"ip": str(address)} for address in item.addresses],
        "startTime": text(obj, "status", "startTime") or timestamp(now),
    }
    return {**obj, "status": status}


def _is_held(obj: Object, cluster: Cluster) -> bool:
    """Whether somebody says that the pod is not ready, whatever its probes say."""
    says_so = text(obj, "metadata", "annotations", READY) == "false"
    return says_so or str(key_of(obj)) in cluster.faults.unready


def with_kubelet(
    obj: Object, report: PodReport, host: Object | None, cluster: Cluster, now: float
) -> Object:
    """The pod as its kubelet sees it; not ready where somebody says so, or its node is lost."""
    if _is_held(obj, cluster):
        containers = tuple(replace(item, ready=False) for item in report.containers)
        return with_report(obj, replace(report, containers=containers), now)
    made = with_report(obj, report, now)
    if host is None or not _is_lost(host):
        return made
    return meta.with_condition(made, {"type": "Ready", "status": "False"}, now)


def _is_lost(host: Object) -> bool:
    """Whether a node is known not to be ready; of a new one nothing is known yet."""
    return meta.condition(host, "Ready") is not None and not meta.is_true(host, "Ready")


def _condition(obj: Object, kind: str, value: str, now: float) -> JSON:
    """A condition; since when it is so stays as long as it is so."""
    old = meta.condition(obj, kind)
    if old is not None and old.get("status") == value:
        return old
    return {"type": kind, "status": value, "lastTransitionTime": timestamp(now)}


# -- slices ----------------------------------------------------------------------------------------


def _slices(cluster: Cluster, before: Cluster | None, found: Store) -> Iterator[Account]:
    own = cluster.api_server is not None
    made = [
        item
        for item in cluster.endpoint_slices
        if item.labels.get(endpointslice.MANAGED_BY) in _MADE_BY or (own and is_api_slice(item))
    ]
    old = {} if before is None else {_key(item): item for item in before.endpoint_slices}
    for item in made:
        is_lost = is_api_slice(item) and found.get(ENDPOINT_SLICE, *_key(item)) is None
        if old.get(_key(item)) != item or is_lost:
            owner = found.get(SERVICE, item.namespace, item.service)
            obj = endpointslice.write(item) if is_api_slice(item) else _slice(item, owner)
            yield Account(ENDPOINT_SLICE, item.namespace, item.name, obj)
    wanted = set(map(_key, cluster.endpoint_slices))
    for obj in found.list(ENDPOINT_SLICE):
        key = key_of(obj)
        if tuple(key) not in wanted and is_made(obj):
            yield Account(ENDPOINT_SLICE, key.namespace, key.name, None)


def _key(item: EndpointSlice) -> tuple[str, str]:
    return item.namespace, item.name


def _slice(item: EndpointSlice, owner: Object | None) -> Object:
    made = endpointslice.write(item)
    service: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": item.service}}
    reference = owner_reference(service, text(owner or {}, "metadata", "uid"))
    return with_part(made, [reference], "metadata", "ownerReferences")


# -- ingresses -------------------------------------------------------------------------------------


def _ingresses(cluster: Cluster, found: Store) -> Iterator[Account]:
    for item in cluster.ingresses:
        obj = found.get(INGRESS, item.namespace, item.name)
        if obj is None:
            continue
        address = ingress_address(item, cluster)
        points: list[JSON] = [{"ip": address}] if address else []
        balancer: Object = {"ingress": points} if points else {}
        status: Object = {**mapping(obj, "status"), "loadBalancer": balancer}
        yield Account(INGRESS, item.namespace, item.name, {**obj, "status": status})


# -- the API server's certificate ------------------------------------------------------------------

#: pkg/controller/certificates/rootcacertpublisher/publisher.go
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal"
    " endpoints such as the internal service IP or kubernetes.default.svc. No other usage is"
    " guaranteed across distributions of Kubernetes clusters."
)


def _root_certificates(found: Store, authority: str) -> Iterator[Account]:
    """Each namespace has it in a ConfigMap, which is set right whoever changes it."""
    data: Object = {"ca.crt": authority}
    for space in found.list(NAMESPACE):
        name = text(space, "metadata", "name")
        obj = found.get(CONFIG_MAP, name, ROOT_CA)
        if meta.is_deleted(space) or (obj is not None and mapping(obj, "data") == data):
            continue
        new: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": ROOT_CA,
                "namespace": name,
                "annotations": {"kubernetes.io/description": _DESCRIPTION},
            },
        }
        yield Account(CONFIG_MAP, name, ROOT_CA, {**(obj or new), "data": data})
