"""Topology hints: which zones, or node, should use an endpoint.

    trafficDistribution                       the endpoint's own zone (and node)
    service.kubernetes.io/topology-mode: Auto  zones get endpoints in proportion to their nodes

Source of the rules: staging/src/k8s.io/endpointslice, trafficdist and topologycache. Where that
iterates over a Go map, ties go to the zone whose name sorts first; every node counts as one CPU.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from kns.kinds.endpointslice import Endpoint, EndpointSlice
from kns.kinds.node import Node
from kns.kinds.service import TOPOLOGY_ANNOTATIONS, Service

#: how much more than its share an endpoint may be exposed to
OVERLOAD_THRESHOLD = 0.2
_CLOSE = ("PreferClose", "PreferSameZone", "PreferSameNode")
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


def with_hints(
    service: Service, slices: Sequence[EndpointSlice], nodes: Sequence[Node]
) -> tuple[EndpointSlice, ...]:
    """A Service's slices of one family with the hints that the controller would add."""
    if _wants_auto(service):
        return _auto(slices, nodes)
    if service.traffic_distribution in _CLOSE:
        same_node = service.traffic_distribution == "PreferSameNode"
        return tuple(
            replace(item, endpoints=tuple(_close(e, same_node=same_node) for e in item.endpoints))
            for item in slices
        )
    return tuple(slices)


def _wants_auto(service: Service) -> bool:
    for name in TOPOLOGY_ANNOTATIONS:
        if name in service.annotations:
            return service.annotations[name] in {"Auto", "auto"}
    return False


def _close(endpoint: Endpoint, *, same_node: bool) -> Endpoint:
    if not endpoint.ready:
        return endpoint
    nodes = (endpoint.node_name,) if same_node and endpoint.node_name else ()
    zones = (endpoint.zone,) if endpoint.zone else ()
    return replace(endpoint, hint_zones=zones, hint_nodes=nodes)


# -- topology-mode: Auto ---------------------------------------------------------------------------


def _auto(slices: Sequence[EndpointSlice], nodes: Sequence[Node]) -> tuple[EndpointSlice, ...]:
    ready = [endpoint for item in slices for endpoint in item.endpoints if endpoint.ready]
    desired = _desired(len(ready), nodes)
    if not desired or not all(endpoint.zone for endpoint in ready):
        return tuple(slices)
    giving, receiving = _moves(desired, Counter(endpoint.zone for endpoint in ready))
    return tuple(
        replace(item, endpoints=tuple(_allotted(e, giving, receiving) for e in item.endpoints))
        for item in slices
    )


def _desired(count: int, nodes: Sequence[Node]) -> dict[str, float]:
    """How many of `count` endpoints each zone should have; empty where hints can't be given."""
    counted = [node for node in nodes if not any(role in node.labels for role in _CONTROL_PLANE)]
    zones = Counter(node.zone for node in counted)
    if len(zones) < 2 or "" in zones or len(zones) > count:
        return {}
    desired: dict[str, float] = {}
    spare = count
    for zone in sorted(zones):
        share = zones[zone] / len(counted) * count
        minimum = math.ceil(share * (1 / (1 + OVERLOAD_THRESHOLD)))
        desired[zone] = max(share, float(minimum))
        spare -= minimum
    return {} if spare < 0 else desired


def _moves(
    desired: dict[str, float], present: Counter[str]
) -> tuple[Counter[str], Counter[str]]:  # fmt: skip
    """How many endpoints each zone gives away, and how many each receives."""
    surplus = {zone: present[zone] - want for zone, want in desired.items() if present[zone] > want}
    deficit = {zone: want - present[zone] for zone, want in desired.items() if present[zone] < want}
    giving: Counter[str] = Counter()
    receiving: Counter[str] = Counter()
    while surplus and deficit:
        giver = max(sorted(surplus), key=surplus.__getitem__)
        taker = max(sorted(deficit), key=deficit.__getitem__)
        give, take = surplus[giver], deficit[taker]
        if (give < 1 and take < 1) or give < 0.5 or take < 0.5:
            break
        giving[giver] += 1
        receiving[taker] += 1
        surplus[giver] -= 1
        deficit[taker] -= 1
    return giving, receiving


def _allotted(endpoint: Endpoint, giving: Counter[str], receiving: Counter[str]) -> Endpoint:
    """The endpoint with its zone as hint, or with another that has too few."""
    if not endpoint.ready:
        return endpoint
    zone = endpoint.zone
    taker = next((name for name in sorted(receiving) if receiving[name] > 0), "")
    if giving[zone] > 0 and taker:
        giving[zone] -= 1
        receiving[taker] -= 1
        zone = taker
    return replace(endpoint, hint_zones=(zone,))
