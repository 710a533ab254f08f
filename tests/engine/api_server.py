"""The API over a store, on a unix socket, in a thread of this process: no lab, no root."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from kns.agent.api.access import Authenticator
from kns.agent.api.server import APIServer
from kns.agent.store import Store
from kns.compile import paths
from kns.compile.paths import LabPaths
from kns.engine.api_client import APIClient
from tests.agent.api.seeded import SEED


@contextlib.contextmanager
def served(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[APIClient]:
    """The API of a lab whose files are in `folder`."""
    monkeypatch.setattr(paths, "RUN_DIR", folder)
    lab = LabPaths("seeded")
    lab.folder.mkdir()
    store.replace_all(SEED)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = APIServer(store, "1.37.1", Authenticator("", lambda *_: ""))
    runner = server.runner(trusted=True)

    async def begin() -> None:
        await runner.setup()
        await web.UnixSite(runner, str(lab.api_socket)).start()

    try:
        asyncio.run_coroutine_threadsafe(begin(), loop).result(60)
        yield APIClient(lab)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
