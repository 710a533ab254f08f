"""The Endpoints of Services with a selector, as the endpoints controller makes them.

Also those of the Service `kubernetes`, which are the API server's own.

The lab's own are EndpointSlices; these are made of them when somebody asks. Those that somebody has
written by hand are objects like any other.

Source: k8s.io/kubernetes/pkg/controller/endpoint (endpoints_controller.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kns.agent.store import ChangeType, ObjectChange, Store
from kns.kinds.apiserver import API_NAMESPACE, API_SERVICE
from kns.kinds.common import Object
from kns.kinds.endpointslice import CONTROLLER, MANAGED_BY, SERVICE_NAME_LABEL
from kns.kinds.objects import (
    ObjectKey,
    items,
    key_of,
    mapping,
    mappings,
    name_of,
    part,
    text,
    with_part,
)
from kns.kinds.resources import ENDPOINT_SLICE, ENDPOINTS, SERVICE, Resource
from kns.labfile.reader import JSON

_API = (API_NAMESPACE, API_SERVICE)
_LABELS: Object = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
_API_LABELS: Object = {"endpointslice.kubernetes.io/skip-mirror": "true"}


def listed(store: Store, resource: Resource, namespace: str, name: str) -> tuple[Object, ...]:
    """The resource's objects, or the one of a name; of Endpoints also those made of slices."""
    if name:
        one = store.get(resource, namespace, name)
        found: tuple[Object, ...] = (one,) if one is not None else ()
    else:
        found = store.list(resource, namespace)
    if resource is not ENDPOINTS:
        return found
    made = (item for item in _made(store, namespace) if name in {"", name_of(item)})
    return (*found, *made)


def _made(store: Store, namespace: str) -> Iterator[Object]:
    by_service: dict[tuple[str, str], list[Object]] = {}
    for item in store.list(ENDPOINT_SLICE, namespace):
        if key := _service_of(item):
            by_service.setdefault(key, []).append(item)
    for (space, name), slices in sorted(by_service.items()):
        service = store.get(SERVICE, space, name)
        if service is not None:
            yield _endpoints(space, name, _of_first_family(service, slices))


def _of_first_family(service: Object, slices: list[Object]) -> list[Object]:
    """The slices of the Service's first family: Endpoints know one alone.

    Those of another one are left where there is none: their `metadata` is asked for all the same.
    """
    by_address = "IPv6" if ":" in text(service, "spec", "clusterIP") else "IPv4"
    first = next(iter(items(service, "spec", "ipFamilies")), by_address)
    found = [item for item in slices if item.get("addressType") == first]
    return found or [{**item, "endpoints": []} for item in slices]


def _service_of(item: Object) -> tuple[str, str] | None:
    """Namespace and name of the Service whose slice it is, if a controller of Services made it."""
    labels = mapping(item, "metadata", "labels")
    if labels.get(MANAGED_BY) != CONTROLLER and not _is_of_api_server(item):
        return None
    return text(item, "metadata", "namespace"), text(labels, SERVICE_NAME_LABEL)


def _is_of_api_server(item: Object) -> bool:
    return tuple(key_of(item)) == _API and MANAGED_BY not in mapping(item, "metadata", "labels")


class MadeEndpoints:
    """Changes of the Endpoints that are made of slices, by the changes of these."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = {key_of(item): item for item in _made(store, "")}

    def forget(self, changes: Iterable[ObjectChange]) -> None:
        """Whoever asks has not heard of these changes yet."""
        for change in changes:
            if change.resource is ENDPOINT_SLICE and (service := _service_of(change.object)):
                self._known.pop(ObjectKey(*service), None)

    def change(self, change: ObjectChange) -> ObjectChange | None:
        """What the change of a slice is for its Service's Endpoints; None: nothing."""
        service = _service_of(change.object) if change.resource is ENDPOINT_SLICE else None
        if service is None:
            return None
        key = ObjectKey(*service)
        found = (item for item in _made(self._store, key.namespace) if name_of(item) == key.name)
        old, new = self._known.pop(key, None), next(found, None)
        if new is not None:
            self._known[key] = new
            if old is not None and old.get("subsets") == new.get("subsets"):
                return None
        made = new or old
        if made is None:
            return None
        made = with_part(made, str(change.version), "metadata", "resourceVersion")
        kind = ChangeType.DELETED if new is None else ChangeType.MODIFIED
        kind = ChangeType.ADDED if old is None else kind
        return ObjectChange(kind, ENDPOINTS, made, old, change.version)


def _endpoints(namespace: str, name: str, slices: list[Object]) -> Object:
    own = mapping(slices[0], "metadata")
    subsets: list[JSON] = [subset for item in slices if (subset := _subset(item)) is not None]
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "creationTimestamp": own.get("creationTimestamp"),
        "resourceVersion": own.get("resourceVersion"),
        "labels": _API_LABELS if _is_of_api_server(slices[0]) else _LABELS,
    }
    made: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
    return {**made, "subsets": subsets} if subsets else made


def _subset(item: Object) -> Object | None:
    """The addresses of a slice, ready or not; those that end are neither."""
    ready: list[JSON] = []
    others: list[JSON] = []
    for endpoint in mappings(item, "endpoints"):
        known: Object = {key: endpoint[key] for key in ("nodeName", "targetRef") if key in endpoint}
        listed_in = ready if part(endpoint, "conditions", "ready") is True else others
        if not part(endpoint, "conditions", "terminating"):
            listed_in += [{"ip": address, **known} for address in items(endpoint, "addresses")]
    if not ready and not others:
        return None
    parts = {"addresses": ready, "notReadyAddresses": others, "ports": _ports(item)}
    return {key: value for key, value in parts.items() if value}


def _ports(item: Object) -> list[JSON]:
    return [
        {key: value for key, value in port.items() if value != ""}
        for port in mappings(item, "ports")
    ]
