"""What the name after `exec`, `shell` or `capture` means, and what a program has there."""

from __future__ import annotations

from typing import assert_never

from kns.agent.serve.environment import of_container, read_service_variables
from kns.cluster.model import InternetHost
from kns.cluster.podfiles import pod_hostname
from kns.compile.names import fabric_netns, netns_of_internet, netns_of_node, netns_of_pod
from kns.engine.labs import RunningLab
from kns.errors import UsageError
from kns.kernel.processes import Context
from kns.kinds.node import Node
from kns.kinds.pod import Container, Pod
from kns.kinds.service import Service
from kns.probe.names import find
from kns.promise.location import LocationKind

#: the netns between the nodes has no object in the cluster
FABRIC = "fabric"


def context_of(lab: RunningLab, target: str, container: str | None = None) -> Context:
    """Netns, files, hostname and environment of a program that runs at `target`.

    A pod, a node, a host outside, or `fabric`; a pod's program has the environment of one of its
    containers. UsageError if the lab has no such place.
    """
    if target == FABRIC:
        _refuse_container(container, target)
        return Context(netns=fabric_netns(lab.name), hostname=FABRIC)
    found = find(
        lab.cluster, target, (LocationKind.POD, LocationKind.NODE, LocationKind.INTERNET)
    ).item
    match found:
        case Pod():
            return _pod_context(lab, found, find_container(found, container))
        case Node():
            _refuse_container(container, target)
            return _host_context(lab, netns_of_node(lab.name, found.name), found.name)
        case InternetHost():
            _refuse_container(container, target)
            return _host_context(lab, netns_of_internet(lab.name, found.name), found.name)
        case Service():
            raise UsageError(f"{target} is a service", hint="name a pod, a node or internet")
        case _:
            assert_never(found)


def _refuse_container(container: str | None, target: str) -> None:
    if container is not None:
        raise UsageError(f"{target} is no pod and has no containers", hint="leave out -c")


def _host_context(lab: RunningLab, netns: str, name: str) -> Context:
    etc = lab.paths.pod_etc(netns)
    return Context(netns=netns, etc=etc if etc.is_dir() else None, hostname=name)


def _pod_context(lab: RunningLab, pod: Pod, container: Container | None) -> Context:
    netns = netns_of_pod(lab.name, pod.namespace, pod.name)
    etc = lab.paths.pod_etc(netns)
    hostname = pod_hostname(pod)
    own = [(variable.name, variable.value) for variable in container.env] if container else []
    env = of_container(read_service_variables(etc), own, hostname=hostname)
    folder = etc if etc.is_dir() else None
    return Context(netns=netns, etc=folder, hostname=hostname, env=dict(env))


def find_container(pod: Pod, name: str | None) -> Container | None:
    """The container of that name, or the first; None for a pod that has none."""
    if name is None:
        return pod.containers[0] if pod.containers else None
    for container in pod.containers:
        if container.name == name:
            return container
    names = ", ".join(container.name for container in pod.containers) or "none"
    raise UsageError(
        f"pod {pod.full_name} has no container {name!r}", hint=f"its containers: {names}"
    )
