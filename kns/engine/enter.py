"""Programs of this machine inside a lab: where they run, and what they find there."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from kns.cluster.api_server import account_of
from kns.cluster.podfiles import pod_hostname
from kns.compile.names import (
    fabric_netns,
    netns_of_internet,
    netns_of_node,
    netns_of_pod,
    netns_with,
)
from kns.engine import accounts, etc
from kns.engine.environment import of_container, read_service_variables
from kns.engine.labs import RunningLab
from kns.engine.process_records import EXEC_MARKER
from kns.errors import UsageError
from kns.kernel import processes
from kns.kernel.processes import Context
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Container, Pod

#: the netns between the nodes has no object in the cluster
FABRIC = "fabric"
#: where a program can run; None: in the fabric
Place = Pod | Node | InternetHost | None


def become(
    argv: Sequence[str], lab: RunningLab, place: Place, container: str | None = None
) -> NoReturn:
    """Become the program (execve) at that place: its exit code, terminal and signals are its own.

    PlatformError if this machine has no such program.
    """
    context = context_of(lab, place, container)
    sys.stdout.flush()
    processes.replace(argv, context=context)
    raise AssertionError  # execve does not return


def require_program(program: str) -> None:
    """PlatformError with the package that it is in, if this machine lacks the program."""
    processes.which(program)


def context_of(lab: RunningLab, place: Place, container: str | None = None) -> Context:
    """Netns, files, hostname and environment; in a pod that of one of its containers.

    With the marker by which `down` finds what a program leaves behind, wherever that has gone.
    UsageError if the place has no such container.
    """
    if isinstance(place, Pod):
        return _pod_context(lab, place, find_container(place, container))
    name = FABRIC if place is None else place.name
    if container is not None:
        raise UsageError(f"{name} is no pod and has no containers", hint="leave out -c")
    env = {**os.environ, EXEC_MARKER: lab.name}
    if place is None:
        return Context(netns=fabric_netns(lab.name), hostname=name, env=env)
    of = netns_of_node if isinstance(place, Node) else netns_of_internet
    netns = of(lab.name, name)
    return Context(netns=netns, etc=etc.folder(lab.paths, netns), hostname=name, env=env)


def _pod_context(lab: RunningLab, pod: Pod, container: Container | None) -> Context:
    netns = netns_with(lab.name, pod)
    folder = etc.folder(lab.paths, netns_of_pod(lab.name, pod.namespace, pod.name))
    hostname = pod_hostname(pod)
    own = [(variable.name, variable.value) for variable in container.env] if container else []
    given = of_container(read_service_variables(folder), own, hostname=hostname)
    env = {**dict(given), EXEC_MARKER: lab.name}
    run = accounts.files(lab.paths, account_of(lab.cluster, pod))
    return Context(netns=netns, etc=folder, hostname=hostname, env=env, run=run)


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
