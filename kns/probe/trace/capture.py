"""Sees and hears everything in a set of netns while a function runs.

Opens an AF_PACKET socket and nf_tables' tracing in each netns, runs the function, reads what has
been seen. Leaves nothing: both are sockets, and the kernel takes back with them what they caused.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kns.kernel import nftrace, packets
from kns.kernel.nftrace import RuleTrace, TraceMessage
from kns.kernel.packets import Frame, Tap

T = TypeVar("T")

#: the kernel begins to stamp frames a moment after the first socket asked for it (a work item)
SETTLE_SECONDS = 0.02
#: what the function's last packets take to reach the farthest link
LINGER_SECONDS = 0.03


@dataclass(frozen=True, slots=True)
class Recording(Generic[T]):
    """What was seen by the time, and what was heard netns by netns."""

    result: T
    frames: tuple[Frame, ...]
    steps: tuple[TraceMessage, ...]
    #: netns whose rules could not be traced
    untraced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def record(
    names: Sequence[str], protocols: Sequence[int], function: Callable[[Sequence[str]], T]
) -> Recording[T]:
    """Run the function with all eyes open. The rules are traced of these IP protocols alone.

    The function is told of which netns the rules can't be traced.
    """
    untraced: list[str] = []
    with contextlib.ExitStack() as stack:
        taps: list[Tap] = []
        traces: list[RuleTrace] = []
        for name in names:
            taps.append(stack.enter_context(contextlib.closing(packets.open_tap(name))))
            try:
                if not nftrace.has_hooks(name):
                    continue  # most pods have no rules, and to remove a table takes 25 ms
                trace = nftrace.open_trace(name, protocols)
            except OSError:
                untraced.append(name)
            else:
                traces.append(stack.enter_context(contextlib.closing(trace)))
        time.sleep(SETTLE_SECONDS)
        result = function(untraced)
        time.sleep(LINGER_SECONDS)
        frames = [frame for tap in taps for frame in tap.read()]
        steps = [step for trace in traces for step in trace.read()]
        notes = tuple(_losses(taps, traces))
    # by the clock; a frame leaves before it arrives, and frames of one moment stay in the order
    # in which their netns saw them
    frames.sort(key=lambda frame: (frame.nanoseconds, not frame.outgoing))
    return Recording(result, tuple(frames), tuple(steps), tuple(untraced), notes)


def _losses(taps: Sequence[Tap], traces: Sequence[RuleTrace]) -> list[str]:
    notes = [
        f"{count} packets in {tap.netns} found no room and are missing"
        for tap in taps
        if (count := tap.missed())
    ]
    notes += [
        f"the kernel could not tell every rule that was met in {trace.netns}: too much traffic"
        for trace in traces
        if trace.lost
    ]
    return notes
