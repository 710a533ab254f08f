"""Serves the API of a lab that is up, over the objects of its file: for tests of streams.

python -m tests.agent.api.exposed LAB FILE      prints the port, and ends with its input
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kns.agent.api.exposure import Exposure
from kns.agent.serve.server_logs import ServerLogs
from kns.agent.store import Store, UpdatePart
from kns.compile.paths import LabPaths
from kns.engine import api_access, labs
from kns.kinds.load import load_lab
from kns.kinds.resources import POD
from kns.kinds.seed import objects_of


async def serve(lab: str, file: str) -> None:
    """Until the input ends."""
    paths = LabPaths(lab)
    sock = api_access.listen(paths)
    store = Store()
    store.replace_all(objects_of(load_lab(Path(file))))
    for pod in store.list(POD):
        store.update(POD, {**pod, "status": {"phase": "Running"}}, UpdatePart.STATUS)
    cluster = labs.applied_cluster(paths)

    async def settled() -> None:
        """Nothing follows from a write here."""

    logs = ServerLogs()
    logs.note("default/pod2/web", "10.244.0.2:1234 GET / 200")
    with ThreadPoolExecutor(1) as worker:
        exposure = Exposure(paths, store, lambda: cluster, settled, logs, worker)
        await exposure.start(sock, "1.37.1")
        print(sock.getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await exposure.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
