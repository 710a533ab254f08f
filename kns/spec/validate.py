"""All checks of a lab that look at more than one field. Kubernetes' rules, and the kernel's."""

from __future__ import annotations

from kns.errors import Problem
from kns.spec.check_balancer import check_balancer, warn_balancer
from kns.spec.check_egress import check_egress, warn_egress
from kns.spec.check_endpoints import check_slices, warn_services
from kns.spec.check_ingress import check_ingresses
from kns.spec.check_network import check_network
from kns.spec.check_pods import check_pods
from kns.spec.check_services import check_services
from kns.spec.places import Sources
from kns.spec.problems import shown
from kns.spec.warn_ingress import warn_ingresses


def validate(sources: Sources) -> tuple[Problem, ...]:
    """Every error of the lab, unsorted."""
    return (
        *(check_network(sources) if sources.networks_known else ()),
        *(check_balancer(sources) if sources.networks_known else ()),
        *check_egress(sources),
        *_namespaces(sources),
        *check_pods(sources),
        *check_services(sources),
        *check_slices(sources),
        *check_ingresses(sources),
    )


def warnings_of(sources: Sources) -> tuple[Problem, ...]:
    """What is legal and probably not meant."""
    return (
        *warn_services(sources),
        *warn_ingresses(sources),
        *warn_balancer(sources),
        *warn_egress(sources),
    )


def _namespaces(sources: Sources) -> tuple[Problem, ...]:
    seen: set[str] = set()
    problems: list[Problem] = []
    for index, name in enumerate(sources.lab.namespaces):
        if name in seen:
            path = ("namespaces", index)
            problems.append(sources.place.problem(path, f"Duplicate value: {shown(name)}"))
        seen.add(name)
    return tuple(problems)
