"""The load client as a process of its own: `python -m kns.probe.load`, in the netns of the source.

The first line of its stdin is the load. It sends until stdin ends, waits for the last answers, and
writes a JSON line for each exchange to stdout, after an empty array once everything is under way.
In a process of its own nothing else that kns does makes it late.
"""

from __future__ import annotations

import asyncio
import gc
import sys

from kns.kernel import processes
from kns.probe.load.client import LoadClient
from kns.probe.load.model import load_of
from kns.probe.load.pace import precise_loop


def main() -> None:
    """Send until stdin ends."""
    processes.raise_file_limit()
    load = load_of(sys.stdin.readline())
    # a full collection of a long run's exchanges would make the client late
    gc.freeze()
    gc.disable()
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(_run(LoadClient(load, sys.stdout)))


async def _run(client: LoadClient) -> None:
    over, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_end() -> None:
        loop.remove_reader(sys.stdin)
        over.set()

    loop.add_reader(sys.stdin, on_end)
    await client.run(over)


if __name__ == "__main__":
    main()
