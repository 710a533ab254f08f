"""The downward API: what of its own pod a container is told by its variables.

Source: kubelet's podFieldSelectorRuntimeValue (pkg/kubelet/kubelet_pods.go) and
ExtractFieldPathAsString (pkg/fieldpath): a label or annotation that isn't there is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kns.addresses import IPAddress
from kns.kinds.common import uid_of
from kns.kinds.env import SUBSCRIPT, EnvVar, literal
from kns.kinds.node import Node
from kns.kinds.pod import Container, Pod


def with_fields(lab: str, pod: Pod, node: Node) -> Pod:
    """The pod with the values of those variables of its containers that are fields of it."""
    if not any(variable.field_path for item in pod.containers for variable in item.env):
        return pod
    return replace(
        pod, containers=tuple(_container(lab, pod, node, item) for item in pod.containers)
    )


def _container(lab: str, pod: Pod, node: Node, container: Container) -> Container:
    return replace(container, env=tuple(_variable(lab, pod, node, item) for item in container.env))


def _variable(lab: str, pod: Pod, node: Node, variable: EnvVar) -> EnvVar:
    if not variable.field_path:
        return variable
    return replace(variable, value=literal(_field(lab, pod, node, variable.field_path)))


def _field(lab: str, pod: Pod, node: Node, path: str) -> str:
    subscript = SUBSCRIPT.fullmatch(path)
    if subscript is not None:
        which = pod.labels if subscript[1] == "labels" else pod.annotations
        return which.get(subscript[2], "")
    return {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": uid_of(lab, "Pod", pod.namespace, pod.name),
        "spec.nodeName": pod.node,
        "spec.serviceAccountName": pod.service_account,
        "status.hostIP": _joined(node.addresses[:1]),
        "status.hostIPs": _joined(node.addresses),
        "status.podIP": _joined(pod.addresses[:1]),
        "status.podIPs": _joined(pod.addresses),
    }[path]


def _joined(addresses: Sequence[IPAddress]) -> str:
    return ",".join(map(str, addresses))
