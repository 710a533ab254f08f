"""What a change of a running lab makes stale, and no table of the kernel's tells by itself."""

from __future__ import annotations

from collections.abc import Sequence

from kns.kernel import neighbors, netns
from kns.plan.ops import CreateNetns, DeleteNetns, LinkOp, Op
from kns.state.model import HostState


def forget_neighbors(state: HostState, ops: Sequence[Op]) -> None:
    """Have every netns ask anew who has an address, if links or addresses have changed.

    A node or pod that was made anew has another MAC address behind the old IP address. Who still
    has the old one in its neighbor table sends into the void until it probes again: 47 to 53
    seconds (gc_stale_time, and its probes).
    """
    if any(isinstance(op, CreateNetns | DeleteNetns | LinkOp) for op in ops):
        netns.in_thread(neighbors.forget, tuple(space.name for space in state.netns))
