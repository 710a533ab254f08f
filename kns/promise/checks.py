"""The independent oracle: what Kubernetes promises of a cluster, derived from the Cluster alone.

Never looks at host state, at a compiler or at the kernel: it would then prove only that kns does
what kns does.
"""

from __future__ import annotations

from kns.cluster.model import Cluster
from kns.promise.check import Check, Expectations

#: the order of the report: from the inside out
PATHS = (
    "addressing",
    "container-to-container",
    "pod-to-pod",
    "node-to-pod",
    "node-to-node",
    "pod-to-node",
    "pod-to-service",
    "node-to-service",
    "internet-to-service",
    "internet-to-ingress",
    "internet-to-node",
    "pod-to-internet",
    "internet-to-pod",
    "name-resolution",
    "environment",
)


def expectations(cluster: Cluster) -> Expectations:
    """Every check of the cluster, grouped by path, ids unique."""
    # `kns probe` needs a module of this package and not the others: start-up time is a feature
    from kns.promise.balancers import balancer_checks
    from kns.promise.discovery import discovery_checks
    from kns.promise.external import external_checks
    from kns.promise.ingress import ingress_checks
    from kns.promise.pods import pod_checks, pod_skips
    from kns.promise.refusals import thin_out
    from kns.promise.services import service_checks

    found = Expectations(list(pod_checks(cluster)), list(pod_skips(cluster)))
    for part in (
        service_checks(cluster),
        external_checks(cluster),
        balancer_checks(cluster),
        ingress_checks(cluster),
        discovery_checks(cluster),
    ):
        found.checks += part.checks
        found.skips += part.skips
    unique = {check.id: check for check in found.checks}
    paths = {path: number for number, path in enumerate(PATHS)}
    kinds: dict[str, int] = {}
    for check in unique.values():
        kinds.setdefault(_kind(check), len(kinds))
    found.checks = sorted(
        unique.values(), key=lambda check: (paths[check.path], kinds[_kind(check)])
    )
    thin_out(found)
    return found


def _kind(check: Check) -> str:
    """`pod-to-service/hairpin` of `pod-to-service/hairpin/pod1->svc-a`."""
    return check.id.rpartition("->")[0].rpartition("/")[0]
