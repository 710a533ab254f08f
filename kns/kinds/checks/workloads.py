"""Checks of what makes pods, in manifests: what the API server demands of it.

Source: pkg/apis/apps/validation, and ValidateReplicationControllerSpec and ValidatePodSpec of
pkg/apis/core/validation. The Lab document's short form leaves out what can be told from the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from kns.errors import Problem
from kns.kinds.checks.networkpolicies import check_selector
from kns.kinds.selector import LabelSelector
from kns.kinds.sources import Sources
from kns.kinds.workload import Workload, WorkloadKind
from kns.labfile.document import Path
from kns.labfile.place import Located
from kns.labfile.reader import REQUIRED
from kns.labfile.wording import shown, unsupported

#: what the messages of pkg/apis/apps/validation call each kind
_EMPTY_FOR = {
    WorkloadKind.DEPLOYMENT: "deployment",
    WorkloadKind.REPLICA_SET: "deployment",
    WorkloadKind.STATEFUL_SET: "statefulset",
    WorkloadKind.DAEMON_SET: "daemonset",
}
_TEMPLATE: Path = ("spec", "template")


def check_workloads(sources: Sources) -> Iterator[Problem]:
    """Selectors that don't match their template, pods without containers, unnamed containers."""
    for part in sources.workloads:
        if not part.place.paths:
            continue
        if part.value.kind is not WorkloadKind.POD:
            yield from _selector(part)
            yield from _restart_policy(part)
        yield from _containers(part)


def _selector(part: Located[Workload]) -> Iterator[Problem]:
    spec, place = part.value, part.place
    labels = spec.template.labels
    selector = spec.selector
    if spec.kind is WorkloadKind.REPLICATION_CONTROLLER and not _written(selector):
        # SetDefaults_ReplicationController takes the template's labels
        selector = LabelSelector(labels)
    if selector is None or (spec.kind not in _EMPTY_FOR and not _written(selector)):
        wanted = ", ".join(f"{key}: {value}" for key, value in labels.items())
        hint = f"add `selector: {{matchLabels: {{{wanted}}}}}`" if wanted else ""
        yield place.problem(("selector",), REQUIRED, hint)
        return
    yield from check_selector(selector, place, ("selector",))
    if not _written(selector):
        message = f"Invalid value: {{}}: empty selector is invalid for {_EMPTY_FOR[spec.kind]}"
        yield place.problem(("selector",), message)
    elif not selector.matches(labels):
        message = "`selector` does not match template `labels`"
        path = (*_TEMPLATE, "metadata", "labels")
        hint = f"the selector is {selector}"
        yield place.problem(path, f"Invalid value: {shown(dict(labels))}: {message}", hint)


def _written(selector: LabelSelector | None) -> bool:
    return selector is not None and bool(selector.match_labels or selector.match_expressions)


def _restart_policy(part: Located[Workload]) -> Iterator[Problem]:
    path: Path = (*_TEMPLATE, "spec", "restartPolicy")
    policy = part.place.get(*path)
    if policy not in {None, "", "Always"}:
        yield part.place.problem(path, unsupported(policy, ("Always",)).message)


def _containers(part: Located[Workload]) -> Iterator[Problem]:
    written = part.place.get("containers")
    if not written:
        yield part.place.problem(("containers",), REQUIRED, "every pod has a container")
    for index, container in enumerate(written if isinstance(written, list) else ()):
        # null is a container without fields
        if container is None or (isinstance(container, dict) and not container.get("name")):
            yield part.place.problem(("containers", index, "name"), REQUIRED)
