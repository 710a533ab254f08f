"""EndpointSlices of Endpoints objects, as the EndpointSlice mirroring controller makes them.

    Endpoints of a Service without selector ─▶ addresses grouped by ports and family ─▶ slices

Source of the rules: pkg/controller/endpointslicemirroring reconciler.go and utils.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kns.addresses import IPFamily
from kns.cluster.slices import SERVICE_NAME, Ports, slice_name
from kns.kinds.endpoints import MAX_MIRRORED, Endpoints
from kns.kinds.endpointslice import MANAGED_BY, MIRRORING_CONTROLLER, Endpoint, EndpointSlice
from kns.kinds.service import Service


def mirrored_slices(
    endpoints: Sequence[Endpoints],
    services: Sequence[Service],
    explicit: Sequence[EndpointSlice] = (),
) -> Iterator[EndpointSlice]:
    """The slices of the Endpoints that belong to a Service without selector.

    Where the file has the controller's own slices of a Service, as a dump of a cluster does, they
    stand for it.
    """
    open_to_all = {service.full_name for service in services if not service.selector}
    done = {
        f"{item.namespace}/{item.service}"
        for item in explicit
        if item.labels.get(MANAGED_BY) == MIRRORING_CONTROLLER
    }
    for item in endpoints:
        if item.mirrored and f"{item.namespace}/{item.name}" in open_to_all - done:
            yield from _slices(item)


def _slices(item: Endpoints) -> Iterator[EndpointSlice]:
    groups: dict[tuple[IPFamily, Ports], dict[object, Endpoint]] = {}
    for subset in item.subsets:
        for endpoint in subset.endpoints[:MAX_MIRRORED]:
            group = groups.setdefault((IPFamily.of(endpoint.addresses[0]), subset.ports), {})
            # an address that comes again is one endpoint
            group[endpoint.addresses, endpoint.hostname, endpoint.pod] = endpoint
    labels = {**item.labels, SERVICE_NAME: item.name, MANAGED_BY: MIRRORING_CONTROLLER}
    for (family, ports), group in groups.items():
        yield EndpointSlice(
            namespace=item.namespace,
            name=slice_name(item.namespace, item.name, family, ports, 0),
            service=item.name,
            address_type=family,
            ports=ports,
            endpoints=tuple(group.values())[:MAX_MIRRORED],
            labels=labels,
        )
