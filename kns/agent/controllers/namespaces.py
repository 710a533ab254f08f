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
    return tuple(
        DeleteObject(item)
        for space in view.of_kind("Namespace")
        if meta.is_deleted(space)
        for item in view.inside(objects.name_of(space))
        if not meta.is_deleted(item)
    )
