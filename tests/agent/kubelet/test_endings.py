"""The ends of deleted pods, with a kubelet whose containers take their time."""

from __future__ import annotations

import asyncio
from typing import cast

from kns.agent.kubelet.endings import PodEndings
from kns.agent.kubelet.kubelet import Kubelet
from kns.agent.store import Store
from kns.kinds.common import Object
from kns.kinds.objects import text
from kns.kinds.resources import POD


class SlowKubelet:
    """Ends a pod when `ended` is set."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.asked: list[tuple[str, str, float]] = []

    async def terminate(self, namespace: str, name: str, grace: float) -> None:
        self.asked.append((namespace, name, grace))
        await self.ended.wait()


def pod() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "st-0", "namespace": "default"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
    }


async def deleted() -> tuple[Store, SlowKubelet, PodEndings]:
    store, kubelet = Store(), SlowKubelet()
    endings = PodEndings(store, cast("Kubelet", kubelet))
    store.create(POD, pod())
    store.delete(POD, "default", "st-0", grace=30)
    return store, kubelet, endings


async def rest() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_deleted_pod_goes_once_its_containers_have() -> None:
    async def scenario() -> None:
        store, kubelet, endings = await deleted()
        for _ in range(2):
            endings.begin(store.list(POD), ())
            await rest()
        assert kubelet.asked == [("default", "st-0", 30)]
        assert store.get(POD, "default", "st-0") is not None
        kubelet.ended.set()
        await rest()
        assert store.get(POD, "default", "st-0") is None

    asyncio.run(scenario())


def test_a_node_that_is_cut_off_hears_of_no_deletion() -> None:
    async def scenario() -> None:
        store, kubelet, endings = await deleted()
        endings.begin(store.list(POD), {"n1"})
        await rest()
        assert kubelet.asked == []

    asyncio.run(scenario())


def test_the_namesake_of_a_pod_deleted_by_force_stays() -> None:
    async def scenario() -> None:
        store, kubelet, endings = await deleted()
        endings.begin(store.list(POD), ())
        await rest()
        store.delete(POD, "default", "st-0", grace=0)
        new = text(store.create(POD, pod()), "metadata", "uid")
        kubelet.ended.set()
        await rest()
        found = store.get(POD, "default", "st-0")
        assert found is not None
        assert text(found, "metadata", "uid") == new

    asyncio.run(scenario())


def test_a_deleted_namesake_has_an_end_of_its_own() -> None:
    async def scenario() -> None:
        store, kubelet, endings = await deleted()
        endings.begin(store.list(POD), ())
        await rest()
        store.delete(POD, "default", "st-0", grace=0)
        store.create(POD, pod())
        store.delete(POD, "default", "st-0", grace=7)
        endings.begin(store.list(POD), ())
        await rest()
        assert kubelet.asked == [("default", "st-0", 30), ("default", "st-0", 7)]

    asyncio.run(scenario())
