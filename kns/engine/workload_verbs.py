"""`scale` and `rollout` on a running lab, over its API.

Source of the rules and of many sentences: k8s.io/kubectl/pkg/polymorphichelpers
(rollout_status.go, history.go, rollback.go).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kns.engine.api_client import JSON_PATCH, STRATEGIC_PATCH, APIClient
from kns.engine.object_verbs import ObjectResult, get_named, instead, named, resource_named
from kns.errors import UsageError
from kns.kinds.common import Object
from kns.kinds.objects import (
    controller_kind,
    flag,
    labels_of,
    mapping,
    mappings,
    name_of,
    number,
    strings,
    text,
    with_part,
)
from kns.kinds.resources import (
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
    Resource,
)
from kns.labfile.reader import JSON

#: what a bare name of `scale` and `rollout` may be, in this order
SCALED = (DEPLOYMENT, STATEFUL_SET, REPLICA_SET, REPLICATION_CONTROLLER)
ROLLED = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET)
_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_CHANGE_CAUSE = "kubernetes.io/change-cause"
_REVISION = "deployment.kubernetes.io/revision"
_HASH_LABEL = "pod-template-hash"
#: seconds between two looks at a rollout
_PAUSE = 0.1


def workload(
    client: APIClient, name: str, namespace: str, kinds: Sequence[Resource]
) -> tuple[Resource, Object]:
    """The workload of these kinds that is meant: `web`, or `deployment/web`. UsageError."""
    kind, slash, rest = name.partition("/")
    if slash:
        resource = resource_named(kind)
        if resource not in kinds:
            raise _not_of(resource, kinds)
        return resource, get_named(client, resource, namespace, rest)
    for resource in kinds:
        if (found := client.find(resource, namespace, name)) is not None:
            return resource, found
    for resource in WORKLOADS:
        if resource not in kinds and client.find(resource, namespace, name) is not None:
            raise _not_of(resource, kinds)
    all_ = (item for each in kinds for item in client.list(each, namespace))
    there = [name_of(item) for item in all_ if not controller_kind(item)]
    raise UsageError(
        f"there is no workload {name!r} in namespace {namespace}",
        hint=instead(name, there, "workloads"),
    )


def _not_of(resource: Resource, kinds: Sequence[Resource]) -> UsageError:
    what = "scaled" if kinds is SCALED else "rolled"
    hint = f"{', '.join(item.plural for item in kinds)} can"
    return UsageError(f"{resource.plural} can't be {what}", hint=hint)


def scale(client: APIClient, name: str, replicas: int, namespace: str) -> ObjectResult:
    """Have a workload of so many pods."""
    resource, item = workload(client, name, namespace, SCALED)
    before = number(item, "spec", "replicas", default=1)
    patch: Object = {"spec": {"replicas": replicas}}
    client.patch(resource, namespace, name_of(item), patch, part="scale")
    return ObjectResult(resource, namespace, name_of(item), f"scaled: {before} → {replicas}")


def restart(client: APIClient, name: str, namespace: str) -> ObjectResult:
    """Have new pods in the place of a workload's, by its own strategy."""
    resource, item = workload(client, name, namespace, ROLLED)
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    template: Object = {"metadata": {"annotations": {_RESTARTED_AT: now}}}
    client.patch(resource, namespace, name_of(item), {"spec": {"template": template}})
    return ObjectResult(resource, namespace, name_of(item), "restarted")


# -- what a rollout waits for ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RolloutProgress:
    """What a rollout waits for; nothing when it is complete, and `text` says so."""

    text: str
    is_complete: bool = False


def rollout_progress(
    client: APIClient, name: str, namespace: str, timeout: float
) -> Iterator[RolloutProgress]:
    """What a rollout waits for, each time it is another thing, until it is complete.

    It ends sooner where the time is up, or the rollout has given up.
    """
    resource, item = workload(client, name, namespace, ROLLED)
    _refuse_on_delete(resource, item)
    deadline = time.monotonic() + timeout
    said = ""
    while waits := waits_for(resource, item):
        if waits != said:
            yield RolloutProgress(waits)
        said = waits
        if time.monotonic() > deadline or _has_given_up(item):
            return
        time.sleep(_PAUSE)
        item = get_named(client, resource, namespace, name_of(item))
    yield RolloutProgress(f"{named(resource, name_of(item))} is rolled out", is_complete=True)


def _refuse_on_delete(resource: Resource, item: Object) -> None:
    field = "strategy" if resource is DEPLOYMENT else "updateStrategy"
    if text(item, "spec", field, "type") == "OnDelete":
        raise UsageError(
            f"{named(resource, name_of(item))} has no rollout: its updateStrategy is OnDelete",
            hint="a pod is replaced when somebody deletes it: kns delete pod NAME",
        )


def _has_given_up(item: Object) -> bool:
    reasons = (text(each, "reason") for each in mappings(item, "status", "conditions"))
    return "ProgressDeadlineExceeded" in reasons


def waits_for(resource: Resource, item: Object) -> str:
    """What a workload is not yet that it should be; empty when nothing is."""
    if resource in _STATUS:
        status = mapping(item, "status")
        seen = number(status, "observedGeneration")
        if seen < number(item, "metadata", "generation"):
            return "its controller has not seen it yet"
        return _STATUS[resource](item, status)
    return ""


def _deployment_waits(item: Object, status: Object) -> str:
    wanted = number(item, "spec", "replicas", default=1)
    total, updated = number(status, "replicas"), number(status, "updatedReplicas")
    available = number(status, "availableReplicas")
    if _has_given_up(item):
        return "it has exceeded its progress deadline"
    if updated < wanted:
        return f"{updated} of {wanted} new pods have been made"
    if total > updated:
        return f"{_pods(total - updated, 'old')} still to go"
    if available < updated:
        return f"{available} of {updated} new pods are available"
    return ""


def _set_waits(item: Object, status: Object) -> str:
    """A StatefulSet's pods are updated from the highest ordinal down to `partition`."""
    wanted = number(item, "spec", "replicas", default=1)
    ready, updated = number(status, "readyReplicas"), number(status, "updatedReplicas")
    partition = number(item, "spec", "updateStrategy", "rollingUpdate", "partition")
    total = number(status, "replicas")
    if ready < wanted:
        return f"{ready} of {wanted} pods are ready"
    if total > wanted:
        return f"{_pods(total - wanted, 'surplus')} still to go"
    is_rolling = text(item, "spec", "updateStrategy", "type") != "OnDelete"
    if is_rolling and updated < wanted - partition:
        return f"{updated} of {wanted - partition} pods have been updated"
    return ""


def _daemon_waits(item: Object, status: Object) -> str:
    wanted = number(status, "desiredNumberScheduled")
    updated, available = number(status, "updatedNumberScheduled"), number(status, "numberAvailable")
    is_rolling = text(item, "spec", "updateStrategy", "type") != "OnDelete"
    if is_rolling and updated < wanted:
        return f"{updated} of {wanted} pods have been updated"
    if available < wanted:
        return f"{available} of {wanted} pods are available"
    return ""


def _replica_waits(item: Object, status: Object) -> str:
    wanted, total = number(item, "spec", "replicas", default=1), number(status, "replicas")
    ready = number(status, "readyReplicas")
    if total > wanted:
        return f"{_pods(total - wanted, 'surplus')} still to go"
    return f"{ready} of {wanted} pods are ready" if ready < wanted else ""


def _pods(count: int, which: str) -> str:
    return f"{count} {which} pod{'s' if count > 1 else ''}"


_STATUS: Mapping[Resource, Callable[[Object, Object], str]] = {
    DEPLOYMENT: _deployment_waits,
    STATEFUL_SET: _set_waits,
    DAEMON_SET: _daemon_waits,
    REPLICA_SET: _replica_waits,
    REPLICATION_CONTROLLER: _replica_waits,
}
#: workloads that make pods, or that make what makes them
WORKLOADS = tuple(_STATUS)


# -- its history -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkloadRevision:
    """A template that a workload has, or had."""

    number: int
    #: the annotation `kubernetes.io/change-cause`
    cause: str
    template: Object
    #: a ControllerRevision's patch that brings it back
    patch: Object


def history(client: APIClient, name: str, namespace: str) -> tuple[WorkloadRevision, ...]:
    """The revisions of a workload, the oldest first; the last one is that of now."""
    resource, item = workload(client, name, namespace, ROLLED)
    return _revisions(client, resource, item, namespace)


def undo(client: APIClient, name: str, namespace: str, to_revision: int) -> ObjectResult:
    """Bring an earlier template back: that of a revision, or with 0 the one before.

    UsageError if there is none.
    """
    resource, item = workload(client, name, namespace, ROLLED)
    known = _revisions(client, resource, item, namespace)
    if to_revision:
        chosen = [each for each in known if each.number == to_revision]
    else:
        chosen = list(known[-2:-1])
    if not chosen:
        what = f"revision {to_revision}" if to_revision else "earlier revision"
        there = ", ".join(str(each.number) for each in known)
        hint = f"its revisions: {there or 'none'}"
        raise UsageError(f"{named(resource, name_of(item))} has no {what}", hint=hint)
    if resource is DEPLOYMENT and flag(item, "spec", "paused"):
        hint = "set spec.paused to false first"
        raise UsageError(f"{named(resource, name_of(item))} is paused", hint=hint)
    _bring_back(client, resource, namespace, name_of(item), chosen[0])
    return ObjectResult(
        resource, namespace, name_of(item), f"rolled back to revision {chosen[0].number}"
    )


def _bring_back(
    client: APIClient, resource: Resource, namespace: str, name: str, to: WorkloadRevision
) -> None:
    if resource is DEPLOYMENT:
        patch: JSON = [{"op": "replace", "path": "/spec/template", "value": to.template}]
        client.patch(resource, namespace, name, patch, form=JSON_PATCH)
    else:
        client.patch(resource, namespace, name, to.patch, form=STRATEGIC_PATCH)


def _revisions(
    client: APIClient, resource: Resource, item: Object, namespace: str
) -> tuple[WorkloadRevision, ...]:
    kind = REPLICA_SET if resource is DEPLOYMENT else CONTROLLER_REVISION
    uid = text(item, "metadata", "uid")
    own = [each for each in client.list(kind, namespace) if _is_owned(each, uid)]
    read = _of_replica_set if resource is DEPLOYMENT else _of_controller_revision
    return tuple(sorted(map(read, own), key=lambda each: each.number))


def _is_owned(item: Object, uid: str) -> bool:
    owners = mappings(item, "metadata", "ownerReferences")
    return any(text(owner, "uid") == uid for owner in owners)


def _of_replica_set(item: Object) -> WorkloadRevision:
    template = mapping(item, "spec", "template")
    labels: dict[str, JSON] = {
        key: value for key, value in labels_of(template).items() if key != _HASH_LABEL
    }
    notes = strings(item, "metadata", "annotations")
    written = notes.get(_REVISION, "")
    return WorkloadRevision(
        int(written) if written.isascii() and written.isdecimal() else 0,
        notes.get(_CHANGE_CAUSE, ""),
        with_part(template, labels, "metadata", "labels"),
        {},
    )


def _of_controller_revision(item: Object) -> WorkloadRevision:
    data = mapping(item, "data")
    template = {k: v for k, v in mapping(data, "spec", "template").items() if k != "$patch"}
    cause = strings(item, "metadata", "annotations").get(_CHANGE_CAUSE, "")
    return WorkloadRevision(number(item, "revision"), cause, template, data)
