"""Ops on rules: carried out by other programs, beside the netlink work.

The kernel takes links and rules under different locks, and `iptables-restore` spends most of its
time in its own code, so that a second core is well used.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import assert_never

from kns.addresses import IPFamily
from kns.errors import CancelledError
from kns.kernel import ipsets, iptables, netns, nftables
from kns.plan.ops import (
    CleanConntrack,
    DeleteAccounting,
    LateRuleOp,
    LoadNft,
    ProgramOp,
    RestoreIpsets,
    RestoreIptables,
    RuleOp,
    SetVirtualServers,
)

#: seconds between two looks at whether somebody wants to stop waiting
_TURN = 0.1


class Programs:
    """The ops that other programs carry out: in order within a netns, side by side across."""

    def __init__(self, pool: ThreadPoolExecutor, cancelled: threading.Event) -> None:
        self._pool = pool
        self._cancelled = cancelled
        self._ops: dict[str, list[ProgramOp]] = {}
        #: Connections are looked at when no old rule can make a stale entry any more. Virtual
        #: servers wait for the links: until a netns has its first address it has no table of local
        #: ones, IPVS takes every address for a broadcast, and refuses it as a real server (EINVAL).
        #: An accounting object can't go while a rule of either family counts by it.
        self._last: list[LateRuleOp] = []
        self._futures: list[Future[None]] = []
        self._stop = threading.Event()

    def add(self, op: RuleOp) -> None:
        """Take an op to carry out later."""
        if isinstance(op, LateRuleOp):
            self._last.append(op)
        else:
            self._ops.setdefault(op.netns, []).append(op)

    def start(self, but: Collection[str] = ()) -> None:
        """Begin with all that were added, `but` for those of some netns; the others must exist."""
        for name in [name for name in self._ops if name not in but]:
            for lane in _lanes(self._ops.pop(name)):
                self._futures.append(self._pool.submit(self._run, name, lane))

    def _run(self, name: str, ops: Sequence[ProgramOp]) -> None:
        if not self._stop.is_set():
            netns.call_in(name, _run_programs, ops, self._stop)

    def wait(self) -> None:
        """Wait for all, and raise what one of them raised; CancelledError soon after a signal."""
        for future in self._futures:
            while not (self._cancelled.is_set() or wait([future], _TURN).done):
                pass
            if self._cancelled.is_set():
                raise CancelledError("interrupted", hint="nothing of this run is left behind")
            future.result()
        for op in self._last:
            _run_last(op)

    def cancel(self) -> None:
        """Begin with no further one, and end those that run."""
        self._stop.set()


def _run_last(op: LateRuleOp) -> None:
    # their parts of pyroute2 bring asyncio along, which few labs need
    from kns.kernel import conntrack, ipvs, nfacct  # noqa: PLC0415

    match op:
        case SetVirtualServers():
            netns.call_in(op.netns, ipvs.apply_here, op)
        case DeleteAccounting():
            netns.call_in(op.netns, nfacct.delete_here, op.names)
        case CleanConntrack():
            netns.call_in(op.netns, conntrack.clean_here, op)
        case _:
            assert_never(op)


def _lanes(ops: Sequence[ProgramOp]) -> tuple[Sequence[ProgramOp], ...]:
    """What may go side by side: the families' iptables have nothing to do with each other.

    Unless rules name ipsets, which have to be there before and go after them.
    """
    if any(isinstance(op, RestoreIpsets) for op in ops):
        return (ops,)
    lanes: tuple[list[ProgramOp], list[ProgramOp]] = ([], [])
    for op in ops:
        lanes[isinstance(op, RestoreIptables) and op.family is IPFamily.IPV6].append(op)
    return tuple(lane for lane in lanes if lane)


def _run_programs(ops: Sequence[ProgramOp], stop: threading.Event) -> None:
    """Runs in a thread that is inside the netns."""
    for op in ops:
        match op:
            case RestoreIptables():
                iptables.apply_here(op, stop)
            case RestoreIpsets():
                ipsets.restore_here(op, stop)
            case LoadNft():
                nftables.apply_here(op, stop)
            case _:
                assert_never(op)
