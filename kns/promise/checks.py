"""What verify checks: an enumeration of a cluster's flows and of what is promised of each. Pure."""

from __future__ import annotations

from kns.cluster.model import Cluster
from kns.kinds.pod import Pod
from kns.promise.check import Check, CheckSet, Skip
from kns.promise.discovery import discovery_checks
from kns.promise.ingress import ingress_checks
from kns.promise.lookup import Lookup
from kns.promise.pods import pod_checks
from kns.promise.policy_checks import policy_checks
from kns.promise.refusals import thin_out
from kns.promise.services import balancer_checks, external_checks, service_checks

#: the order of the report: from the inside out
PATHS = (
    "addressing",
    "container-to-container",
    "pod-to-pod",
    "network-policy",
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


def cluster_checks(cluster: Cluster) -> CheckSet:
    """Every check of the cluster, grouped by path, ids unique."""
    lookup = Lookup(cluster)
    checks: dict[str, Check] = {}
    skips: list[Skip] = []
    for part in (
        pod_checks(lookup),
        policy_checks(lookup),
        service_checks(lookup),
        external_checks(lookup),
        balancer_checks(lookup),
        ingress_checks(lookup),
        discovery_checks(lookup),
    ):
        for item in part:
            if isinstance(item, Skip):
                skips.append(item)
            else:
                checks[item.id] = item
    paths = {path: number for number, path in enumerate(PATHS)}
    groups: dict[tuple[str, str, str], int] = {}
    for check in checks.values():
        groups.setdefault(_group(check), len(groups))
    ordered = sorted(checks.values(), key=lambda check: (paths[check.path], groups[_group(check)]))
    return thin_out(CheckSet(tuple(ordered), tuple(skips)))


def _group(check: Check) -> tuple[str, str, str]:
    """Checks of one kind stand together, those from one namespace too."""
    item = check.source.item
    return check.path, check.kind, item.namespace if isinstance(item, Pod) else ""
