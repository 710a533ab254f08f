"""What objects say of the cluster that they have become."""

from __future__ import annotations

from typing import cast

import pytest

from kns.agent.kubelet.kubelet import Kubelet
from kns.agent.statuses import accounts
from kns.agent.store import Store
from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab_text
from kns.kinds.objects import text
from kns.kinds.resources import NODE

LAB = """apiVersion: kns/v1
kind: Lab
metadata: {name: lab}
networking: {nodeCIDRMaskSize: SIZE}
nodes: [{name: n1}]
"""


@pytest.mark.parametrize(("size", "pods"), [("29", "5"), ("24", "253"), ("20", "1024")])
def test_a_node_says_how_many_pods_it_holds(size: str, pods: str) -> None:
    cluster = resolve(load_lab_text(LAB.replace("SIZE", size)).spec).cluster
    store = Store()
    store.create(NODE, {"metadata": {"name": "n1"}})
    kubelet = cast("Kubelet", None)  # there is no pod to ask it of
    found = {item.name: item.obj for item in accounts(cluster, None, store, kubelet, 0)}
    assert text(found["n1"], "status", "allocatable", "pods") == pods
    assert text(found["n1"], "status", "capacity", "pods") == pods
