"""The time of a new connection, measured by connect() in the client's netns.

connect() returns when the answer to the first packet is there: the walk through the node's rules,
DNAT, and the way to the backend and back. The backends accept between the measurements.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence

from kns.errors import ProbeError
from kns.experiment.bench.model import Latency
from kns.kernel import netns, sockets

#: closes with RST: no TIME_WAIT holds ports, and the next connection finds an empty backlog
ABORT = struct.pack("ii", 1, 0)
#: connections before the measured ones, which pay for ARP and cold caches
WARM_UP = 5
#: connections between two rounds of accept()
BATCH = 64
TIMEOUT = 5.0


@contextlib.contextmanager
def listening(names: Sequence[str], port: int) -> Iterator[tuple[socket.socket, ...]]:
    """A listening socket in each netns."""
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(sockets.listen(name, "0.0.0.0", port)) for name in names)


def measure(
    client: str,
    targets: Mapping[str, tuple[str, int]],
    listeners: Sequence[socket.socket],
    *,
    connections: int,
    seed: int,
) -> tuple[dict[str, Latency], float]:
    """Connect to each target `connections` times, in an order that the seed decides.

    Returns the latency by target and the mean CPU time of a connection, all in microseconds.
    """
    order = [place for place in targets for _ in range(connections)]
    random.Random(seed).shuffle(order)  # noqa: S311 - an order, no secret
    warm_up = [place for place in targets for _ in range(WARM_UP)]
    samples, cpu = netns.call_in(client, _connect_all, targets, listeners, warm_up, order)
    return {place: summarize(values) for place, values in samples.items()}, cpu


def _connect_all(
    targets: Mapping[str, tuple[str, int]],
    listeners: Sequence[socket.socket],
    warm_up: Sequence[str],
    order: Sequence[str],
) -> tuple[dict[str, list[float]], float]:
    samples: dict[str, list[float]] = {place: [] for place in targets}
    cpu = 0.0
    for place in warm_up:
        _connect(targets[place])
    for number, place in enumerate(order):
        if number % BATCH == 0:
            _accept_all(listeners)
        elapsed, used = _connect(targets[place])
        samples[place].append(elapsed)
        cpu += used
    _accept_all(listeners)
    return samples, cpu / max(len(order), 1)


def _connect(target: tuple[str, int]) -> tuple[float, float]:
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        sock.settimeout(TIMEOUT)
        before = time.thread_time_ns()
        start = time.perf_counter_ns()
        try:
            sock.connect(target)
        except OSError as error:
            host, port = target
            raise ProbeError(f"no connection to {host}:{port}: {error}") from error
        elapsed = time.perf_counter_ns() - start
        return elapsed / 1000, (time.thread_time_ns() - before) / 1000


def _accept_all(listeners: Sequence[socket.socket]) -> None:
    for listener in listeners:
        with contextlib.suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()


def summarize(samples: Sequence[float]) -> Latency:
    """Median and 99th percentile by the nearest rank."""
    ordered = sorted(samples)
    last = len(ordered) - 1
    return Latency(p50=ordered[round(last * 0.5)], p99=ordered[round(last * 0.99)])
