"""The service account `default` of each namespace."""

from __future__ import annotations

from kns.agent.controllers.run import Controllers
from kns.agent.store import Store
from kns.kinds.common import Object
from kns.kinds.resources import LAB, NAMESPACE, SERVICE_ACCOUNT


def accounts(**of_lab: object) -> list[tuple[str, str]]:
    store = Store()
    lab: Object = {"metadata": {"name": "lab"}, **of_lab}  # type: ignore[dict-item]
    store.create(LAB, lab)
    for name in ("default", "ops"):
        if store.get(NAMESPACE, "", name) is None:
            store.create(NAMESPACE, {"metadata": {"name": name}})
    Controllers(store).run(0)
    return [
        (str(item["metadata"]["namespace"]), str(item["metadata"]["name"]))  # type: ignore[index, call-overload]
        for item in store.list(SERVICE_ACCOUNT)
    ]


def test_each_namespace_has_one_where_pods_can_use_it() -> None:
    assert sorted(accounts(apiServer={})) == [("default", "default"), ("ops", "default")]


def test_in_other_labs_there_is_none() -> None:
    assert accounts() == []
