"""A namespace that is being deleted takes with it all that is in it.

The store removes it with the last of its objects. Source: pkg/controller/namespace.
"""

from __future__ import annotations

from kns.agent.controllers import meta
from kns.agent.controllers.view import View
from kns.agent.controllers.writes import DeleteObject, Write
from kns.kinds import objects


def reconcile(view: View, now: float) -> tuple[Write, ...]:  # noqa: ARG001 - a controller's form
    """The deletion of everything in each of them that is not on its way out already."""
    going = {objects.name_of(item) for item in view.of_kind("Namespace") if meta.is_deleted(item)}
    if not going:
        return ()
    return tuple(
        DeleteObject(item.object)
        for item in view.indexed
        if item.namespace in going and not item.is_deleted
    )
