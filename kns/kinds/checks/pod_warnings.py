"""What Kubernetes takes of a pod with a warning, and what has no effect here."""

from __future__ import annotations

from collections.abc import Iterator

from kns.errors import Problem
from kns.kinds.checks.pod_ignored import warn_ignored
from kns.kinds.common import Protocol
from kns.kinds.lifecycle import GRPCAction, HTTPGetAction, TCPSocketAction
from kns.kinds.placement import PlacedPod, expand_pods
from kns.kinds.pod import ALWAYS
from kns.kinds.scheduling import NO_MATCH
from kns.kinds.sources import Sources
from kns.kinds.workload import Workload, WorkloadKind, written_containers, written_ports
from kns.labfile.document import Path
from kns.labfile.place import Located, Place
from kns.labfile.wording import did_you_mean, shown


def warn_pods(sources: Sources) -> Iterator[Problem]:
    """Every warning about pods."""
    for part in sources.workloads:
        yield from _ports(part)
        yield from _init_containers(part.place)
        yield from _probes(part)
        yield from _governing_service(sources, part)
        yield from warn_ignored(part)
        if part.value.kind is WorkloadKind.POD and part.value.replicas == 0:
            message = "the pod has ended: it is left out"
            yield part.place.problem(("phase",), message, warning=True)
    pending: dict[int, list[PlacedPod]] = {}
    for item in expand_pods(sources.lab):
        if item.pending:
            pending.setdefault(item.workload, []).append(item)
    for index, items in pending.items():
        yield _pending(sources.workloads[index], items)


def _pending(part: Located[Workload], items: list[PlacedPod]) -> Problem:
    """Pods for which kube-scheduler finds no node: nothing of them is made."""
    names = [item.pod.name for item in items]
    who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    verb = "stays" if len(names) == 1 else "stay"
    selector = part.value.template.node_selector
    path, hint = ("name",), ""
    if part.place.has("nodeSelector") or part.place.has("affinity"):
        path = ("nodeSelector" if part.place.has("nodeSelector") else "affinity",)
    if NO_MATCH in items[0].pending and selector:
        pairs = ", ".join(f"{key}: {value}" for key, value in selector.items())
        hint = f"label a node: nodes: [{{name: …, labels: {{{pairs}}}}}]"
    message = f"{who} {verb} Pending: {items[0].pending}"
    return part.place.problem(path, message, hint, warning=True)


def _ports(part: Located[Workload]) -> Iterator[Problem]:
    """Ports that several containers of a pod list, or one of them twice.

    The API server warns alike (pkg/api/pod/warnings.go): a second name for a port is of use, but
    of two containers only the first to bind it serves it.
    """
    used: dict[tuple[int, Protocol], tuple[str, Path]] = {}
    for container, base in written_containers(part):
        for port, path in written_ports(container, part.place, base):
            holder, first = used.setdefault((port.port, port.protocol), (container.name, path))
            if first == path:
                continue
            hint = ""
            if holder != container.name:
                hint = f"the containers of a pod share one network: {holder} alone can bind it"
            where = part.place.problem(first, "").path
            message = f"duplicate port definition with {where}"
            yield part.place.problem(path, message, hint, warning=True)


def _init_containers(place: Place) -> Iterator[Problem]:
    """kns runs what serves; what prepares a volume or sets a sysctl before it doesn't."""
    written = place.get("initContainers")
    for index, item in enumerate(written if isinstance(written, list) else ()):
        if isinstance(item, dict) and item.get("restartPolicy") != ALWAYS:
            message = "not run: kns runs no init containers but sidecars"
            hint = "a sidecar has `restartPolicy: Always`"
            yield place.problem(("initContainers", index), message, hint, warning=True)


def _probes(part: Located[Workload]) -> Iterator[Problem]:
    """Probes that nobody here would ask, and those that never pass."""
    for container, base in written_containers(part):
        probes = {
            "readinessProbe": container.readiness_probe,
            "livenessProbe": container.liveness_probe,
            "startupProbe": container.startup_probe,
        }
        names = [port.name for port in container.ports if port.name]
        for name, probe in probes.items():
            match None if probe is None else probe.action:
                case GRPCAction():
                    message = "no effect here: kns speaks no gRPC, the probe counts as passed"
                    hint = "httpGet, tcpSocket and exec are asked"
                    yield part.place.problem((*base, name, "grpc"), message, hint, warning=True)
                case HTTPGetAction(port=str(port)) if port not in names:
                    yield _portless(part.place, (*base, name, "httpGet"), port, names)
                case TCPSocketAction(port=str(port)) if port not in names:
                    yield _portless(part.place, (*base, name, "tcpSocket"), port, names)
                case _:
                    pass


def _portless(place: Place, action: Path, port: str, names: list[str]) -> Problem:
    """A probe of a port that its container does not name: kubelet can't ask, and counts that."""
    message = f"the container has no port of the name {shown(port)}: the probe fails"
    hint = did_you_mean(port, names) or (f"its ports: {', '.join(names)}" if names else "")
    return place.problem((*action, "port"), message, hint, warning=True)


def _governing_service(sources: Sources, part: Located[Workload]) -> Iterator[Problem]:
    """A StatefulSet's pods have names in DNS by its Service alone."""
    if part.value.kind is not WorkloadKind.STATEFUL_SET:
        return
    pod = part.value.template
    known = {item.value.name for item in sources.services if item.value.namespace == pod.namespace}
    if pod.subdomain in {"", *known}:
        return
    message = f"there is no Service {pod.namespace}/{pod.subdomain}: its pods have no names in DNS"
    hint = did_you_mean(pod.subdomain, known)
    yield part.place.problem(("serviceName",), message, hint, warning=True)
