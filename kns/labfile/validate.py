"""All checks of a lab that look at more than one field. Kubernetes' rules, and the kernel's."""

from __future__ import annotations

from kns.errors import Problem
from kns.labfile.check_balancer import check_balancer, warn_balancer
from kns.labfile.check_egress import check_egress, warn_egress
from kns.labfile.check_endpoints import check_slices, warn_services
from kns.labfile.check_ingress import check_ingresses
from kns.labfile.check_network import check_network
from kns.labfile.check_pods import check_pods
from kns.labfile.check_services import check_services
from kns.labfile.places import Sources
from kns.labfile.problems import shown
from kns.labfile.warn_ingress import warn_ingresses


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
