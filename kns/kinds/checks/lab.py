"""All checks of a lab that look at more than one field. Kubernetes' rules, and the kernel's."""

from __future__ import annotations

from collections.abc import Iterable

from kns.errors import Problem
from kns.kinds.checks.balancer import check_balancer, warn_balancer
from kns.kinds.checks.egress import check_egress, warn_egress
from kns.kinds.checks.endpoints import check_slices, warn_services, warn_slices
from kns.kinds.checks.faults import check_faults
from kns.kinds.checks.ingress import check_ingresses
from kns.kinds.checks.ingress_warnings import warn_ingresses
from kns.kinds.checks.mirrored import check_endpoints, warn_endpoints
from kns.kinds.checks.network import check_network
from kns.kinds.checks.networkpolicies import check_policies, warn_policies
from kns.kinds.checks.pod_warnings import warn_pods
from kns.kinds.checks.pods import check_pod, check_pods
from kns.kinds.checks.service_warnings import warn_service_fields
from kns.kinds.checks.services import check_services
from kns.kinds.checks.workloads import check_workloads
from kns.kinds.sources import Sources
from kns.kinds.workload import Workload
from kns.labfile.place import Located
from kns.labfile.wording import shown


def validate(sources: Sources) -> tuple[Problem, ...]:
    """Every error of the lab, unsorted."""
    return (*check_each(sources.workloads), *check_together(sources))


def check_each(workloads: Iterable[Located[Workload]]) -> tuple[Problem, ...]:
    """The errors of workloads for which no other object needs to be known."""
    return tuple(problem for part in workloads for problem in check_pod(part))


def check_together(sources: Sources) -> tuple[Problem, ...]:
    """The errors for which other objects of the lab have to be looked at."""
    return (
        *(check_network(sources) if sources.networks_known else ()),
        *(check_balancer(sources) if sources.networks_known else ()),
        *check_egress(sources),
        *_namespaces(sources),
        *check_workloads(sources),
        *check_pods(sources),
        *check_services(sources),
        *check_slices(sources),
        *check_endpoints(sources),
        *check_ingresses(sources),
        *check_policies(sources),
        *check_faults(sources),
    )


def warnings_of(sources: Sources) -> tuple[Problem, ...]:
    """What is legal and probably not meant."""
    return (
        *warn_pods(sources),
        *warn_services(sources),
        *warn_slices(sources),
        *warn_endpoints(sources),
        *warn_service_fields(sources),
        *warn_ingresses(sources),
        *warn_balancer(sources),
        *warn_egress(sources),
        *warn_policies(sources),
    )


def _namespaces(sources: Sources) -> tuple[Problem, ...]:
    seen: set[str] = set()
    problems: list[Problem] = []
    for part in sources.namespaces:
        if part.value.name in seen:
            problems.append(part.place.problem((), f"Duplicate value: {shown(part.value.name)}"))
        seen.add(part.value.name)
    return tuple(problems)
