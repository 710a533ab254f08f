"""Where a container listens that lists no port: where the Services that select its pod say.

`containerPort` is information only: what an image without one listens on, nobody but its Services
tells, by a `targetPort` that is a number. A name is found nowhere but in the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kns.cluster.selectors import PodIndex
from kns.cluster.slices import target_port
from kns.kinds.common import Protocol
from kns.kinds.pod import Container, ContainerPort, Pod
from kns.kinds.service import Service


def with_implied_ports(pods: Sequence[Pod], services: Sequence[Service]) -> tuple[Pod, ...]:
    """The pods whose first container without a port or program has those that Services name."""
    silent = [pod for pod in pods if any(map(_is_silent, pod.containers))]
    wanted: dict[str, dict[tuple[int, Protocol], None]] = {pod.full_name: {} for pod in silent}
    index = PodIndex(silent)
    for service in services if silent else ():
        for pod in index.select(service.namespace, service.selector or {}):
            for port in service.ports:
                number = target_port(port, pod)
                if number:
                    wanted[pod.full_name][number, port.protocol] = None
    return tuple(_with(pod, wanted.get(pod.full_name, {})) for pod in pods)


def _is_silent(container: Container) -> bool:
    return not (container.ports or container.command or container.component)


def _with(pod: Pod, wanted: dict[tuple[int, Protocol], None]) -> Pod:
    listed = {(port.port, port.protocol) for item in pod.containers for port in item.ports}
    missing = tuple(
        ContainerPort(number, protocol=protocol)
        for number, protocol in wanted
        if (number, protocol) not in listed
    )
    if not missing:
        return pod
    first = next(container for container in pod.containers if _is_silent(container))
    return replace(
        pod,
        containers=tuple(
            replace(item, ports=missing) if item is first else item for item in pod.containers
        ),
    )
