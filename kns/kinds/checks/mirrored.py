"""Checks of Endpoints objects: the API server's, and whether anything comes of them.

Source: ValidateEndpoints of pkg/apis/core/validation, and the EndpointSlice mirroring controller.
"""

from __future__ import annotations

from collections.abc import Iterator

from kns.errors import Problem
from kns.kinds.checks.network import duplicate
from kns.kinds.checks.services import special_address
from kns.kinds.endpoints import MAX_MIRRORED, SKIP_MIRROR_LABEL, Endpoints
from kns.kinds.sources import Sources
from kns.labfile.document import Path
from kns.labfile.place import Located, Place
from kns.labfile.reader import REQUIRED
from kns.labfile.wording import did_you_mean, shown


def check_endpoints(sources: Sources) -> Iterator[Problem]:
    """Every error in Endpoints objects."""
    taken: dict[tuple[str, str], Located[object]] = {}
    for part in sources.endpoints:
        key = (part.value.namespace, part.value.name)
        if key in taken:
            yield duplicate(part, ("name",), part.value.name, taken[key])
        taken.setdefault(key, part)
        for index in range(len(part.value.subsets)):
            yield from _subset(part, index)


def _subset(part: Located[Endpoints], index: int) -> Iterator[Problem]:
    subset, place = part.value.subsets[index], part.place
    path: Path = ("subsets", index)
    if not subset.endpoints:
        message = f"{REQUIRED}: must specify `addresses` or `notReadyAddresses`"
        yield place.problem(path, message)
    ready = sum(endpoint.ready is True for endpoint in subset.endpoints)
    for number, endpoint in enumerate(subset.endpoints):
        if objection := special_address(endpoint.addresses[0]):
            where = (
                ("addresses", number) if number < ready else ("notReadyAddresses", number - ready)
            )
            message = f"Invalid value: {shown(endpoint.addresses[0])}: {objection}"
            yield place.problem((*path, *where, "ip"), message)
    for number, port in enumerate(subset.ports):
        if not port.name and len(subset.ports) > 1:
            hint = "several ports need a name each, the Service's"
            yield place.problem((*path, "ports", number, "name"), REQUIRED, hint)


def warn_endpoints(sources: Sources) -> Iterator[Problem]:
    """Endpoints that nobody reads, and addresses that are left out."""
    services = {(part.value.namespace, part.value.name): part.value for part in sources.services}
    for part in sources.endpoints:
        spec, place = part.value, part.place
        if spec.by_controller or not spec.mirrored:
            if spec.labels.get(SKIP_MIRROR_LABEL) == "true":
                message = "has no effect: its label says that it is not mirrored to EndpointSlices"
                yield place.problem(("name",), message, warning=True)
            continue
        service = services.get((spec.namespace, spec.name))
        if service is None:
            message = f"there is no Service {spec.namespace}/{spec.name}"
            hint = did_you_mean(spec.name, (name for _, name in services))
            hint = hint or "Endpoints belong to the Service of their name"
            yield place.problem(("name",), message, hint, warning=True)
        elif service.selector:
            message = "has no effect: the Service has a selector, so that its endpoints are pods"
            hint = "leave out the Service's selector, or these Endpoints"
            yield place.problem(("name",), message, hint, warning=True)
        yield from _left_out(spec, place)


def _left_out(spec: Endpoints, place: Place) -> Iterator[Problem]:
    for index, subset in enumerate(spec.subsets):
        count = len(subset.endpoints)
        if count > MAX_MIRRORED:
            message = f"{count} addresses: {MAX_MIRRORED} of a subset are mirrored, no more"
            yield place.problem(("subsets", index), message, "use EndpointSlices", warning=True)
