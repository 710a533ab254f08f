"""Two clusters of one lab share what is equal in both, so that comparing them costs what differs.

A cluster is resolved as a whole each time; Python finds two tuples equal at once where their items
are the very same objects.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TypeVar

from kns.cluster.model import Cluster

Item = TypeVar("Item")


def sharing(cluster: Cluster, before: Cluster) -> Cluster:
    """The cluster; `before` itself, or its objects, where they are equal."""
    if cluster == before:
        return before
    return replace(
        cluster,
        network=before.network if before.network == cluster.network else cluster.network,
        nodes=_shared(cluster.nodes, before.nodes, lambda item: item.name),
        pods=_shared(cluster.pods, before.pods, lambda item: item.full_name),
        services=_shared(cluster.services, before.services, lambda item: item.full_name),
        endpoint_slices=_shared(
            cluster.endpoint_slices,
            before.endpoint_slices,
            lambda item: (item.namespace, item.name),
        ),
    )


def _shared(
    items: tuple[Item, ...], before: tuple[Item, ...], key: Callable[[Item], Hashable]
) -> tuple[Item, ...]:
    old = {key(item): item for item in before}
    found = tuple(
        same if (same := old.get(key(item))) is not None and same == item else item
        for item in items
    )
    return before if found == before else found
