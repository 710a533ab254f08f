"""The ClusterRoles that every cluster has are there, where pods can use the API.

Source: pkg/registry/rbac/rest/storage_rbac.go, which ensures them as the API server starts.
"""

from __future__ import annotations

from kns.agent.controllers.view import View
from kns.agent.controllers.writes import CreateObject, Write
from kns.kinds import objects
from kns.kinds.clusterroles import built_in_roles


def reconcile(view: View, now: float) -> tuple[Write, ...]:  # noqa: ARG001 - a controller's form
    """Those that are missing. One that somebody has changed stays so."""
    if not any(item.get("apiServer") is not None for item in view.of_kind("Lab")):
        return ()
    return tuple(
        CreateObject(role)
        for role in _ROLES
        if view.get("ClusterRole", "", objects.name_of(role)) is None
    )


_ROLES = built_in_roles()
