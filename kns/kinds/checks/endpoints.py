"""Checks of what stands behind Services: explicit EndpointSlices, and what selectors find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kns.addresses import IPFamily
from kns.errors import Problem
from kns.kinds.checks.network import duplicate
from kns.kinds.checks.services import special_address
from kns.kinds.endpointslice import (
    SERVICE_NAME_LABEL,
    EndpointPort,
    EndpointSlice,
    unjoined,
)
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort, ServiceType
from kns.kinds.sources import Sources
from kns.kinds.workload import WorkloadKind
from kns.labfile.document import Path
from kns.labfile.place import Located, Place
from kns.labfile.reader import REQUIRED
from kns.labfile.wording import did_you_mean, shown

#: pkg/apis/discovery/validation: maxEndpoints, maxPorts, maxAddresses, maxZoneHints
MAX_ENDPOINTS, MAX_PORTS, MAX_ADDRESSES, MAX_HINTS = 1000, 20_000, 100, 8


# -- EndpointSlices --------------------------------------------------------------------------------


def check_slices(sources: Sources) -> Iterator[Problem]:
    """Everything about explicit EndpointSlices."""
    taken: dict[str, Located[object]] = {}
    for part in sources.slices:
        spec, place = part.value, part.place
        name = f"{spec.namespace}/{spec.name}"
        if name in taken:
            yield duplicate(part, ("name",), spec.name, taken[name])
        taken.setdefault(name, part)
        label = spec.labels.get(SERVICE_NAME_LABEL)
        if place.paths and not place.has("addressType"):
            yield place.problem(("addressType",), REQUIRED, "IPv4 or IPv6")
        if not spec.service and not place.paths:
            message = f"Required value: or the label {SERVICE_NAME_LABEL}"
            yield place.problem(("service",), message)
        elif spec.service and label != spec.service:
            message = f"Invalid value: {shown(spec.service)}: the label says {shown(label)}"
            yield place.problem(("service",), message)
        yield from _slice_ports(spec, place)
        yield from _slice_endpoints(spec, place)


def _slice_ports(spec: EndpointSlice, place: Place) -> Iterator[Problem]:
    if len(spec.ports) > MAX_PORTS:
        yield place.problem(("ports",), f"Too many: must have at most {MAX_PORTS} items")
    seen: set[str] = set()
    for index, port in enumerate(spec.ports):
        if port.name in seen:
            message = f"Duplicate value: {shown(port.name)}"
            yield place.problem(("ports", index, "name"), message)
        seen.add(port.name)


def _slice_endpoints(spec: EndpointSlice, place: Place) -> Iterator[Problem]:
    if len(spec.endpoints) > MAX_ENDPOINTS:
        message = f"Too many: {len(spec.endpoints)}: must have at most {MAX_ENDPOINTS} items"
        yield place.problem(("endpoints",), message, "use several slices")
    for index, endpoint in enumerate(spec.endpoints):
        path = ("endpoints", index)
        if len(endpoint.addresses) > MAX_ADDRESSES:
            message = f"Too many: must have at most {MAX_ADDRESSES} items"
            yield place.problem((*path, "addresses"), message)
        for number, address in enumerate(endpoint.addresses):
            objection = special_address(address)
            if IPFamily.of(address) is not spec.address_type:
                objection = f"must be an {spec.address_type} address, as addressType says"
            if objection:
                message = f"Invalid value: {shown(address)}: {objection}"
                yield place.problem((*path, "addresses", number), message)
        for field, hints in (
            ("forZones", endpoint.hint_zones),
            ("forNodes", endpoint.hint_nodes),
        ):
            if len(hints) > MAX_HINTS:
                message = f"Too many: must have at most {MAX_HINTS} items"
                yield place.problem((*path, "hints", field), message)


# -- selectors (warnings) --------------------------------------------------------------------------


def warn_services(sources: Sources) -> Iterator[Problem]:
    """What Kubernetes takes silently, and what then works for nobody."""
    index = LabelIndex(sources)
    explicit = {(part.value.namespace, part.value.service) for part in sources.slices}
    explicit |= {
        (part.value.namespace, part.value.name)
        for part in sources.endpoints
        if part.value.mirrored and not part.value.by_controller
    }
    for part in sources.services:
        spec = part.value
        if spec.type is ServiceType.EXTERNAL_NAME:
            continue
        if (spec.namespace, spec.name) in explicit:
            continue
        if spec.selector:
            yield from _selected(part, index)
        else:
            hint = "add a selector, or an EndpointSlice"
            message = "the Service has no selector and no EndpointSlice: nothing is behind it"
            yield part.place.problem(("name",), message, hint, warning=True)


def warn_slices(sources: Sources) -> Iterator[Problem]:
    """Slices and Endpoints of Services that are not there, and ports that are never joined."""
    known = {(part.value.namespace, part.value.name): part.value for part in sources.services}
    for slice_ in sources.slices:
        spec, place = slice_.value, slice_.place
        service = known.get((spec.namespace, spec.service))
        if not spec.service:
            message = f"no Service uses it: it lacks the label {SERVICE_NAME_LABEL}"
            yield place.problem(("labels",), message, warning=True)
        elif service is None:
            hint = did_you_mean(spec.service, (name for _, name in known))
            message = f"there is no Service {spec.namespace}/{spec.service}"
            yield place.problem(("service",), message, hint, warning=True)
        else:
            what = f"EndpointSlice {spec.name}"
            yield from _joined(service, what, spec.ports, place, ())
    for part in sources.endpoints:
        service = known.get((part.value.namespace, part.value.name))
        if service is None or service.selector or part.value.by_controller:
            continue
        for index, subset in enumerate(part.value.subsets):
            what = f"Endpoints {part.value.name}"
            yield from _joined(service, what, subset.ports, part.place, ("subsets", index))


def _joined(
    service: Service, what: str, ports: Sequence[EndpointPort], place: Place, base: Path
) -> Iterator[Problem]:
    """The ports that lead nowhere."""
    for index, port in unjoined(service, ports).items():
        known = ", ".join(f"{shown(each.name)} ({each.protocol})" for each in service.ports)
        message = (
            f"{what} has the port name {shown(port.name)} ({port.protocol}), "
            f"Service {service.name} has {known}: they must be equal"
        )
        hint = "kube-proxy joins the two by name and protocol: this port leads nowhere"
        yield place.problem((*base, "ports", index, "name"), message, hint, warning=True)


class LabelIndex:
    """The pods of each namespace and label, so that a selector costs what it finds."""

    def __init__(self, sources: Sources) -> None:
        self._by_label: dict[tuple[str, str, str], list[Pod]] = {}
        self.labels: set[tuple[str, str]] = set()
        self._scaled_to_zero: list[Pod] = []
        for part in sources.workloads:
            if part.value.replicas == 0:
                self._scaled_to_zero.append(part.value.template)
                continue
            stateful = part.value.kind is WorkloadKind.STATEFUL_SET
            for pod in part.value.pods(()) if stateful else (part.value.template,):
                self._add(pod)

    def _add(self, pod: Pod) -> None:
        for key, value in pod.labels.items():
            self._by_label.setdefault((pod.namespace, key, value), []).append(pod)
            self.labels.add((key, value))

    def select(self, namespace: str, selector: Mapping[str, str]) -> list[Pod]:
        """The pods of the namespace that have all of the labels."""
        lists = [self._by_label.get((namespace, *item), []) for item in selector.items()]
        fewest = min(lists, key=len, default=[])
        return [pod for pod in fewest if selector.items() <= pod.labels.items()]

    def has_none_on_purpose(self, namespace: str, selector: Mapping[str, str]) -> bool:
        """True if the labels are those of a workload that is scaled to zero."""
        return any(
            pod.namespace == namespace and selector.items() <= pod.labels.items()
            for pod in self._scaled_to_zero
        )


def _selected(part: Located[Service], index: LabelIndex) -> Iterator[Problem]:
    spec, selector = part.value, part.value.selector or {}
    pods = index.select(spec.namespace, selector)
    if not pods and index.has_none_on_purpose(spec.namespace, selector):
        return
    if not pods:
        text = ",".join(f"{key}={value}" for key, value in selector.items())
        message = f"no pod of the namespace {spec.namespace} has the labels {text}"
        known = [f"{key}={value}" for key, value in sorted(index.labels)]
        hint = did_you_mean(text, known) or "requests to the Service will be refused"
        yield part.place.problem(("selector",), message, hint, warning=True)
        return
    for number, port in enumerate(spec.ports):
        if not any(_serves(pod, port) for pod in pods):
            target = port.target_port
            wanted = shown(target) if isinstance(target, str) else f"{target}/{port.protocol}"
            written = part.place.has("ports", number, "targetPort")
            field = "targetPort" if written else "port"
            message = f"no selected pod has the port {wanted}"
            yield part.place.problem(
                ("ports", number, field), message, _port_hint(pods, port), warning=True
            )


def _port_hint(pods: Sequence[Pod], port: ServicePort) -> str:
    """What may have been meant by a target port that no pod has."""
    names = {own.name for pod in pods for container in pod.containers for own in container.ports}
    known = sorted(names - {""})
    if isinstance(port.target_port, str):
        if hint := did_you_mean(port.target_port, known):
            return hint
        if known:
            return f"the pods' ports are named {', '.join(known[:10])}"
        return "no port of these pods has a name: requests to the Service will be refused"
    return "requests to the Service will be refused"


def _serves(pod: Pod, port: ServicePort) -> bool:
    """Whether a container has the target port, or may have.

    A process opens what it likes; one that lists no port serves what is asked of it.
    """
    for container in pod.containers:
        if isinstance(port.target_port, int) and (container.command or not container.ports):
            return True
        for own in container.ports:
            if own.protocol is port.protocol and port.target_port in {own.name, own.port}:
                return True
    return False
