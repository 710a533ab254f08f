"""Checks of what stands behind Services: explicit EndpointSlices, and what selectors find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kns.errors import Problem
from kns.labfile.check_network import duplicate
from kns.labfile.check_services import special_address
from kns.labfile.expand import containers_of, ports_of
from kns.labfile.model import EndpointSliceSpec, PodSpec, ServicePortSpec, ServiceSpec
from kns.labfile.places import Located, Place, Sources
from kns.labfile.problems import did_you_mean, shown

#: pkg/apis/discovery/validation: maxEndpoints, maxPorts, maxAddresses, maxZoneHints
MAX_ENDPOINTS, MAX_PORTS, MAX_ADDRESSES, MAX_HINTS = 1000, 20_000, 100, 8
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


def service_of(spec: EndpointSliceSpec) -> str:
    """The name of the Service that a slice belongs to."""
    return spec.service or spec.labels.get(SERVICE_NAME_LABEL, "")


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
        if not service_of(spec):
            message = f"Required value: or the label {SERVICE_NAME_LABEL}"
            yield place.problem(("service",), message)
        elif spec.service and label not in {None, spec.service}:
            message = f"Invalid value: {shown(spec.service)}: the label says {shown(label)}"
            yield place.problem(("service",), message)
        yield from _slice_ports(spec, place)
        yield from _slice_endpoints(spec, place)


def _slice_ports(spec: EndpointSliceSpec, place: Place) -> Iterator[Problem]:
    if len(spec.ports) > MAX_PORTS:
        yield place.problem(("ports",), f"Too many: must have at most {MAX_PORTS} items")
    seen: set[str] = set()
    for index, port in enumerate(spec.ports):
        if port.name in seen:
            message = f"Duplicate value: {shown(port.name)}"
            yield place.problem(("ports", index, "name"), message)
        seen.add(port.name)


def _slice_endpoints(spec: EndpointSliceSpec, place: Place) -> Iterator[Problem]:
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
            if f"IPv{address.version}" != spec.address_type:
                objection = f"must be an {spec.address_type} address, as addressType says"
            if objection:
                message = f"Invalid value: {shown(address)}: {objection}"
                yield place.problem((*path, "addresses", number), message)
        for field, hints in (
            ("forZones", endpoint.hints.for_zones),
            ("forNodes", endpoint.hints.for_nodes),
        ):
            if len(hints) > MAX_HINTS:
                message = f"Too many: must have at most {MAX_HINTS} items"
                yield place.problem((*path, "hints", field), message)


# -- selectors (warnings) --------------------------------------------------------------------------


def warn_services(sources: Sources) -> Iterator[Problem]:
    """What Kubernetes takes silently, and what then works for nobody."""
    index = LabelIndex(sources)
    explicit = {(part.value.namespace, service_of(part.value)) for part in sources.slices}
    for part in sources.services:
        spec = part.value
        if spec.type == "ExternalName":
            continue
        if (spec.namespace, spec.name) in explicit:
            continue
        if spec.selector:
            yield from _selected(part, index)
        else:
            hint = "add a selector, or an EndpointSlice"
            message = "the Service has no selector and no EndpointSlice: nothing is behind it"
            yield part.place.problem(("name",), message, hint, warning=True)
    known = {(part.value.namespace, part.value.name) for part in sources.services}
    for slice_ in sources.slices:
        name = service_of(slice_.value)
        if (slice_.value.namespace, name) not in known:
            hint = did_you_mean(name, (service for _, service in known))
            message = f"there is no Service {slice_.value.namespace}/{name}"
            yield slice_.place.problem(("service",), message, hint, warning=True)


class LabelIndex:
    """The pods of each namespace and label, so that a selector costs what it finds."""

    def __init__(self, sources: Sources) -> None:
        self._by_label: dict[tuple[str, str, str], list[PodSpec]] = {}
        self.labels: set[tuple[str, str]] = set()
        for part in sources.pods:
            pod = part.value
            if pod.replicas == 0:
                continue
            for key, value in pod.labels.items():
                self._by_label.setdefault((pod.namespace, key, value), []).append(pod)
                self.labels.add((key, value))

    def select(self, namespace: str, selector: Mapping[str, str]) -> list[PodSpec]:
        """The pods of the namespace that have all of the labels."""
        lists = [self._by_label.get((namespace, *item), []) for item in selector.items()]
        fewest = min(lists, key=len, default=[])
        return [pod for pod in fewest if selector.items() <= pod.labels.items()]


def _selected(part: Located[ServiceSpec], index: LabelIndex) -> Iterator[Problem]:
    spec, selector = part.value, part.value.selector or {}
    pods = index.select(spec.namespace, selector)
    if not pods:
        text = ",".join(f"{key}={value}" for key, value in selector.items())
        message = f"no pod of the namespace {spec.namespace} has the labels {text}"
        known = [f"{key}={value}" for key, value in sorted(index.labels)]
        hint = did_you_mean(text, known) or "requests to the Service will be refused"
        yield part.place.problem(("selector",), message, hint, warning=True)
        return
    for number, port in enumerate(spec.ports):
        if not any(_serves(pod, port) for pod in pods):
            target = port.target_port if port.target_port is not None else port.port
            wanted = shown(target) if isinstance(target, str) else f"{target}/{port.protocol}"
            field = "port" if port.target_port is None else "targetPort"
            message = f"no selected pod has the port {wanted}"
            hint = "requests to the Service will be refused"
            yield part.place.problem(("ports", number, field), message, hint, warning=True)


def _serves(pod: PodSpec, port: ServicePortSpec) -> bool:
    """Whether a container has the target port, or may have: a process opens what it likes."""
    target = port.target_port if port.target_port is not None else port.port
    for container in containers_of(pod):
        if container.command and isinstance(target, int):
            return True
        for name, number, protocol in ports_of(container):
            if protocol == port.protocol and target in {name, number}:
                return True
    return False
