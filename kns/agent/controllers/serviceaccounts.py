"""Each namespace has a service account `default`, where pods can use one.

Source: pkg/controller/serviceaccount/serviceaccounts_controller.go.
"""

from __future__ import annotations

from kns.agent.controllers import meta
from kns.agent.controllers.view import View
from kns.agent.controllers.writes import CreateObject, Write
from kns.kinds import objects
from kns.kinds.apiserver import DEFAULT_ACCOUNT


def reconcile(view: View, now: float) -> tuple[Write, ...]:  # noqa: ARG001 - a controller's form
    """Those that are missing."""
    if not any(item.get("apiServer") is not None for item in view.of_kind("Lab")):
        return ()
    there = {
        meta.namespace(item)
        for item in view.of_kind("ServiceAccount")
        if objects.name_of(item) == DEFAULT_ACCOUNT
    }
    wanted = (
        objects.name_of(item) for item in view.of_kind("Namespace") if not meta.is_deleted(item)
    )
    return tuple(
        CreateObject({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": DEFAULT_ACCOUNT, "namespace": namespace},
        })
        for namespace in wanted
        if namespace not in there
    )  # fmt: skip
