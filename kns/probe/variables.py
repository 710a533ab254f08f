"""Environment variables are those of a pod's start: what a check promises of an older pod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kns.cluster.environment import service_environment
from kns.cluster.model import Cluster
from kns.engine.environment import read_service_variables
from kns.kinds.pod import Pod
from kns.probe.ask.places import Places
from kns.promise.check import Expectation, Variables
from kns.promise.location import Location


def as_at_start(
    expectation: Expectation, cluster: Cluster, places: Places, source: Location
) -> Expectation:
    """The expectation, with the values that the pod's Services had when it was made.

    A running container keeps them when a Service's port, address or family changes (kubelet makes
    them once). The pod's `env` file tells them; it counts only where a pod made now would get
    others, so that one in which kns wrote wrong values keeps no promise.
    """
    pod = source.item
    if not expectation.variables or not isinstance(pod, Pod):
        return expectation
    folder = places.etc_of(source)
    noted = read_service_variables(folder)
    if folder is None or noted == service_environment(cluster, pod):
        return expectation
    return replace(expectation, variables=tuple(_noted(expectation.variables, dict(noted))))


def _noted(groups: Sequence[Variables], noted: Mapping[str, str]) -> Iterator[Variables]:
    for group in groups:
        if not group.optional:
            yield group
            continue
        entries = tuple((name, noted[name]) for name, _ in group.entries if name in noted)
        if entries:
            yield Variables(entries, optional=False)
