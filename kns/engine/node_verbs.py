"""`cordon`, `uncordon` and `drain` on a running lab, over its API.

Source of the rules and the sentences: k8s.io/kubectl/pkg/drain/filters.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.engine.api_client import APIClient, path_of
from kns.engine.object_verbs import ObjectResult, get_named
from kns.errors import UsageError
from kns.kinds.common import Object
from kns.kinds.objects import controller_kind, flag, key_of, name_of, text
from kns.kinds.resources import NODE, POD


def cordon(client: APIClient, name: str, *, unschedulable: bool) -> ObjectResult:
    """Have no new pods on a node, or have them again."""
    before = flag(get_named(client, NODE, "", name), "spec", "unschedulable")
    word = "cordoned" if unschedulable else "uncordoned"
    if before == unschedulable:
        return ObjectResult(NODE, "", name, f"already {word}")
    client.patch(NODE, "", name, {"spec": {"unschedulable": unschedulable or None}})
    return ObjectResult(NODE, "", name, word)


def drain(
    client: APIClient, name: str, *, ignore_daemon_sets: bool, force: bool
) -> Iterator[ObjectResult]:
    """Cordon the node and evict its pods; those of DaemonSets stay.

    UsageError, and nothing is done, where pods would go that nobody makes again.
    """
    get_named(client, NODE, "", name)
    pods = [item for item in client.list(POD) if text(item, "spec", "nodeName") == name]
    daemons = [item for item in pods if controller_kind(item) == "DaemonSet"]
    if daemons and not ignore_daemon_sets:
        raise UsageError(
            f"{name} has pods of DaemonSets, which come back at once: {_names(daemons)}",
            hint="--ignore-daemonsets leaves them there",
        )
    if not force and (bare := [item for item in pods if not controller_kind(item)]):
        raise UsageError(
            f"{name} has pods that nobody makes again: {_names(bare)}",
            hint="--force evicts them all the same",
        )
    yield cordon(client, name, unschedulable=True)
    for item in pods:
        if controller_kind(item) != "DaemonSet":
            yield _evicted(client, item)


def _evicted(client: APIClient, pod: Object) -> ObjectResult:
    namespace, name = key_of(pod)
    eviction: Object = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    }
    client.post(f"{path_of(POD, namespace, name)}/eviction", eviction)
    return ObjectResult(POD, namespace, name, "evicted")


def _names(pods: Sequence[Object]) -> str:
    return ", ".join(
        name_of(item) if key_of(item).namespace == "default" else str(key_of(item)) for item in pods
    )
