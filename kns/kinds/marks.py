"""Annotations by which an object says what a lab file has a field for, and Kubernetes none."""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "kns.dev/"
#: "false": the pod is not ready, whatever its probes say
READY = f"{PREFIX}ready"
#: "false" or "true": whether it serves while it is terminating
SERVING = f"{PREFIX}serving"
#: "true": it is as a pod on its way out, and stays so
TERMINATING = f"{PREFIX}terminating"
#: the real program of kns' own that runs in its first container (`nginx`)
COMPONENT = f"{PREFIX}component"
#: a label: the pods of a Deployment whose short form has no labels to select them by
WORKLOAD = f"{PREFIX}workload"
#: "true": the status of a Service is its file's, not the lab's load balancer's
WRITTEN_STATUS = f"{PREFIX}written-status"
#: the number of the last pod that a controller made, so that no later one has its name
LAST_NUMBER = f"{PREFIX}last-pod-number"

_OF_PODS = frozenset({READY, SERVING, TERMINATING, COMPONENT})


def without_marks(annotations: Mapping[str, str]) -> Mapping[str, str]:
    """A pod's annotations without those that are kns' own."""
    if _OF_PODS.isdisjoint(annotations):
        return annotations
    return {key: value for key, value in annotations.items() if key not in _OF_PODS}
