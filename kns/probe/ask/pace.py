"""Keeps probes that end in an ICMP error below the rate at which Linux sends such errors.

A host sends one peer at most six ICMP errors at once, and one a second after that (icmp_ratelimit,
net/ipv4/icmp.c: a token bucket). REJECT is such an error: of ten refusals asked for at once, four
would look like drops.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

#: one less than the kernel's six: the lab's other traffic needs one now and then
BURST = 5
SECONDS_PER_ERROR = 1.1


class Pace:
    """A token bucket for each pair of a client and the host that refuses it."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        #: when the bucket of a pair will have been empty long enough to be full again
        self._full_at: dict[str, float] = {}
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def turn(self, pair: str) -> Iterator[None]:
        """Hold the pair alone: nobody else asks for its errors until it is let go.

        Of several clients that wait for a late error, each sends its SYN again every second, and
        so they take from one another what drips into the bucket.
        """
        with self._lock:
            turn = self._turns[pair]
        with turn if pair else nullcontext():
            yield

    def wait(self, pair: str) -> None:
        """Return when one more error may be asked for, or when `stop` is set; "" never waits."""
        if not pair:
            return
        with self._lock:
            now = time.monotonic()
            full_at = max(self._full_at.get(pair, now), now) + SECONDS_PER_ERROR
            self._full_at[pair] = full_at
        self._stop.wait(max(0.0, full_at - now - BURST * SECONDS_PER_ERROR))

    def drained(self, pair: str) -> None:
        """Tell that an error did not come: others have emptied the bucket, an earlier run perhaps.

        A client that hears nothing sends its SYN again each second, and takes what drips in.
        """
        with self._lock:
            empty = time.monotonic() + BURST * SECONDS_PER_ERROR
            self._full_at[pair] = max(self._full_at.get(pair, empty), empty)
