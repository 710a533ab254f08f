"""How long a node's rules take: computed, and loaded where they differ from what was there."""

from __future__ import annotations

import time
from collections.abc import Callable

from kns.experiment.bench.model import SyncTime
from kns.kernel.apply import apply
from kns.kernel.observe import observe
from kns.plan.diff import plan
from kns.state.model import HostState, Netns


def only(netns: Netns) -> HostState:
    """A state of nothing but this netns: a plan between two such touches no other."""
    return HostState((netns,))


def timed_sync(compute: Callable[[], Netns], before: Netns) -> tuple[SyncTime, Netns]:
    """Compute the netns and load what differs from `before`, which the kernel holds now."""
    indexes = observe((before.name,), {}).indexes
    start = time.perf_counter()
    wanted = compute()
    ops = plan(only(wanted), only(before))
    computed = time.perf_counter()
    apply(ops, indexes)
    loaded = time.perf_counter()
    return SyncTime(computed - start, loaded - computed), wanted
