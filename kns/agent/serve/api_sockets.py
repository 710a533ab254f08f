"""The listening sockets of a lab's API: open at once, served when somebody has connected.

    listen ─▶ …somebody connects─▶ serve_by ─▶ each socket, and each that comes later

What carries the API takes longer to import than all the rest, and half of the agent's memory. The
kernel keeps the first connection meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kns.errors import PlatformError

#: begins to serve a socket; True: whoever can connect there may do anything
Serve = Callable[[socket.socket, bool], Awaitable[asyncio.Server]]


@dataclass(slots=True, eq=False)
class APISocket:
    """One of them."""

    sock: socket.socket
    trusted: bool
    acceptor: asyncio.Server | None = None
    is_closed: bool = False

    def serve_by(self, acceptor: asyncio.Server) -> None:
        """Let the acceptor have the socket, unless it was closed meanwhile."""
        self.acceptor = acceptor
        if self.is_closed:
            acceptor.close()

    def close(self) -> None:
        """Accept nobody any more; who is connected stays so."""
        if self.is_closed:
            return
        self.is_closed = True
        if self.acceptor is not None:
            self.acceptor.close()
        else:
            asyncio.get_running_loop().remove_reader(self.sock)
            self.sock.close()


class APISockets:
    """The sockets of one lab's API; all in one event loop."""

    def __init__(self) -> None:
        self._open: list[APISocket] = []
        self._came = asyncio.Event()
        self._serve: Serve | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def listen(self, sock: socket.socket, *, trusted: bool = False) -> APISocket:
        """Take the listening socket over, until it is closed."""
        made = APISocket(sock, trusted)
        self._open = [*(item for item in self._open if not item.is_closed), made]
        if self._serve is not None:
            self._tasks.add(task := asyncio.create_task(self._begin(made, self._serve)))
            task.add_done_callback(self._tasks.discard)
        elif not self._came.is_set():
            asyncio.get_running_loop().add_reader(sock, self._somebody)
        return made

    def _somebody(self) -> None:
        self._came.set()
        # whoever waits to be accepted would call again at once
        for item in self._open:
            if not item.is_closed:
                asyncio.get_running_loop().remove_reader(item.sock)

    async def connection(self) -> None:
        """Wait until somebody connects to one of them."""
        await self._came.wait()

    async def serve_by(self, serve: Serve) -> None:
        """Serve them, and those that come later."""
        self._serve = serve
        for item in tuple(self._open):
            await self._begin(item, serve)

    async def _begin(self, item: APISocket, serve: Serve) -> None:
        # one after the other: what they share, as their certificate, is made once
        async with self._turn:
            if item.is_closed:
                return
            try:
                acceptor = await serve(item.sock, item.trusted)
            except (OSError, PlatformError) as error:
                if not item.is_closed:
                    hint = f" ({error.hint})" if isinstance(error, PlatformError) else ""
                    logging.getLogger(__name__).warning("no port of the API: %s%s", error, hint)
                    item.close()
                return
            item.serve_by(acceptor)

    def close(self) -> None:
        """Close all of them."""
        for item in self._open:
            item.close()
