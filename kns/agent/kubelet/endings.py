"""The ends of deleted pods: their containers within the grace period, then their objects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable

from kns.agent.kubelet.kubelet import Kubelet
from kns.agent.store import Store, StoreError
from kns.kinds.common import Object
from kns.kinds.objects import key_of, number, text
from kns.kinds.resources import POD


class PodEndings:
    """Has the kubelet end what is deleted.

    A pod is known by its uid: one that was deleted by force may have a namesake already, which
    the end of its grace period must not concern.
    """

    def __init__(self, store: Store, kubelet: Kubelet) -> None:
        self._store, self._kubelet = store, kubelet
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, deleted: Iterable[Object], silent: Collection[str]) -> None:
        """End pods that are deleted, but for those of `silent` nodes, which don't hear of it.

        A pod that runs nowhere is let go of at once.
        """
        for item in deleted:
            uid = text(item, "metadata", "uid")
            if text(item, "spec", "nodeName") not in silent and uid not in self._tasks:
                self._tasks[uid] = asyncio.get_running_loop().create_task(self._end(item, uid))

    async def _end(self, item: Object, uid: str) -> None:
        key = key_of(item)
        try:
            grace = number(item, "metadata", "deletionGracePeriodSeconds")
            await self._kubelet.terminate(key.namespace, key.name, grace)
            with contextlib.suppress(StoreError):
                self._store.delete(POD, key.namespace, key.name, grace=0, uid=uid)
        finally:
            self._tasks.pop(uid, None)

    def close(self) -> None:
        """Let the pods be as they are."""
        for task in self._tasks.values():
            task.cancel()
