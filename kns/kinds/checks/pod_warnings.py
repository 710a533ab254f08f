"""What Kubernetes takes of a pod with a warning, and what has no effect here."""

from __future__ import annotations

from collections.abc import Iterator

from kns.errors import Problem
from kns.kinds.common import Protocol
from kns.kinds.pod import ALWAYS, Container, ContainerPort
from kns.kinds.sources import Sources
from kns.kinds.workload import Workload, written_containers
from kns.labfile.document import Path
from kns.labfile.place import Located, Place


def warn_pods(sources: Sources) -> Iterator[Problem]:
    """Every warning about pods."""
    for part in sources.workloads:
        yield from _ports(part)
        yield from _init_containers(part.place)


def _ports(part: Located[Workload]) -> Iterator[Problem]:
    """Ports that several containers of a pod list, or one of them twice.

    The API server warns alike (pkg/api/pod/warnings.go): a second name for a port is of use, but
    of two containers only the first to bind it serves it.
    """
    used: dict[tuple[int, Protocol], tuple[str, Path]] = {}
    for container, base in written_containers(part):
        for port, path in _written_ports(container, part.place, base):
            holder, first = used.setdefault((port.port, port.protocol), (container.name, path))
            if first == path:
                continue
            hint = ""
            if holder != container.name:
                hint = f"the containers of a pod share one network: {holder} alone can bind it"
            where = part.place.problem(first, "").path
            message = f"duplicate port definition with {where}"
            yield part.place.problem(path, message, hint, warning=True)


def _written_ports(
    container: Container, place: Place, base: Path
) -> Iterator[tuple[ContainerPort, Path]]:
    """A container's ports, each with its path: `port` or `ports[0]`."""
    single = place.has(*base, "port")
    for number, port in enumerate(container.ports):
        path: Path = (*base, "ports", number - single)
        if single and number == 0:
            yield port, (*base, "port")
        elif port.port:
            yield port, path


def _init_containers(place: Place) -> Iterator[Problem]:
    """kns runs what serves; what prepares a volume or sets a sysctl before it doesn't."""
    written = place.get("initContainers")
    for index, item in enumerate(written if isinstance(written, list) else ()):
        if isinstance(item, dict) and item.get("restartPolicy") != ALWAYS:
            message = "not run: kns runs no init containers but sidecars"
            hint = "a sidecar has `restartPolicy: Always`"
            yield place.problem(("initContainers", index), message, hint, warning=True)
