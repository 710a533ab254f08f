"""A client's end of one HTTP connection, the other end of which is an HTTPConnection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kns.agent.serve.http_server import HTTPConnection
from kns.agent.serve.messages import Peer, Request, Response

Answer = Callable[[Request, Peer], Response]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Speaks raw bytes, reads whole replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, head: str, *, body: bytes = b"") -> Reply:
        self.send(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        return await self.reply(bodiless=head.startswith("HEAD "))

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def reply(self, *, bodiless: bool = False) -> Reply:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip("\r\n").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        length = 0 if bodiless else int(headers.get("content-length", "0"))
        return Reply(int(first.split(" ")[1]), headers, await self.reader.readexactly(length))

    async def ended(self) -> bool:
        """True if the server has closed; whatever it still sent must have been read before."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True


def converse(answer: Answer, talk: Callable[[Client], Any]) -> Any:
    """Run `talk(client)` against a connection that answers by `answer`."""

    async def body() -> Any:
        ours, theirs = socket.socketpair()
        connections: set[HTTPConnection] = set()
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: HTTPConnection(answer, connections), theirs
        )
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            async with asyncio.timeout(10):
                return await talk(Client(reader, writer))
        finally:
            writer.close()
            await asyncio.sleep(0)
            for connection in list(connections):
                connection.abort()
            await asyncio.sleep(0)

    return asyncio.run(body())
