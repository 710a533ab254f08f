"""All kinds of a load side by side, from one event loop."""

from __future__ import annotations

import asyncio
from typing import TextIO

from kns.probe.load.connections import Connections
from kns.probe.load.datagrams import DatagramFlow, Queries
from kns.probe.load.held import HeldConnection
from kns.probe.load.model import BEAT, READY, Kind, Load, Told, line_of
from kns.probe.load.pace import OpenLoop

#: seconds between two writes of what was told
_WRITING = 0.05


class LoadClient:
    """Sends a load until it is told to stop; writes what came of it as lines."""

    def __init__(self, load: Load, output: TextIO) -> None:
        self._load = load
        self._output = output
        self._told: list[Told] = []

    async def run(self, over: asyncio.Event) -> None:
        """Send until `over` is set, then wait for what is under way."""
        loop = asyncio.get_running_loop()
        start = loop.time() + 0.01
        connections = Connections(self._load, self._told.append)
        queries = Queries(self._load, self._told.append)
        held = self._held(start)
        flows = self._flows(start)
        interval = 1 / self._load.rate
        paces = [pace for _, pace in held] + [pace for _, pace in flows]
        if self._load.tcp_port:
            paces.append(OpenLoop(start, interval, connections.send))
        if self._load.udp_port:
            # between two connections: neither makes the other late
            paces.append(OpenLoop(start + interval / 2, interval, queries.send))
        self._output.write(READY)
        writing = loop.create_task(self._write_on())
        await over.wait()
        for pace in paces:
            pace.stop()
        await asyncio.sleep(self._load.timeout)
        await connections.drained()
        for connection, _ in held:
            connection.close()
        for flow, _ in flows:
            flow.close()
        queries.close()
        writing.cancel()
        self._write()

    def _held(self, start: float) -> list[tuple[HeldConnection, OpenLoop]]:
        count = self._load.held if self._load.tcp_port else 0
        made = [HeldConnection(self._load, number, self._told.append) for number in range(count)]
        return [
            (one, OpenLoop(start + BEAT * number / count, BEAT, one.beat))
            for number, one in enumerate(made)
        ]

    def _flows(self, start: float) -> list[tuple[DatagramFlow, OpenLoop]]:
        count = self._load.flows if self._load.udp_port else 0
        made = [
            DatagramFlow(self._load, Kind.FLOW, number, self._told.append)
            for number in range(count)
        ]
        return [
            (one, OpenLoop(start + BEAT * number / count, BEAT, one.send))
            for number, one in enumerate(made)
        ]

    async def _write_on(self) -> None:
        while True:
            self._write()
            await asyncio.sleep(_WRITING)

    def _write(self) -> None:
        told, self._told[:] = tuple(self._told), ()
        self._output.write("".join(f"{line_of(item)}\n" for item in told))
        self._output.flush()
