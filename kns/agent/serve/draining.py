"""Looks every minute for IPVS real servers whose last connection has ended."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor

from kns.cluster.model import Cluster
from kns.compile.proxy.by_mode import proxy

#: seconds between two looks, as kube-proxy's graceful_termination.go rsCheckDeleteInterval
INTERVAL = 60.0


class Draining:
    """A timer on the running event loop; the looking happens in `worker`."""

    def __init__(self, worker: Executor, *, interval: float = INTERVAL) -> None:
        self._worker = worker
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def update(self, cluster: Cluster) -> None:
        """Look after this cluster from now on; most proxy modes have nothing to drain."""
        self.close()
        if proxy(cluster.network.kube_proxy.mode).DRAINS:
            self._task = asyncio.get_running_loop().create_task(self._run(cluster))

    def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self, cluster: Cluster) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._interval)
            try:
                await loop.run_in_executor(self._worker, _finish, cluster)
            except Exception:
                logging.getLogger(__name__).exception("draining real servers")


def _finish(cluster: Cluster) -> None:
    # the compiler is not imported before it is needed: `up` waits for the agent's start
    from kns.engine import draining

    draining.finish(cluster)
