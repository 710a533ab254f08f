"""Carry out ops. The one place where a plan becomes system calls.

All netlink work is done by one worker thread that moves from netns to netns, and consecutive
messages of one netns go out in one send. Programs that load rules (`iptables-restore`, `nft`) run
beside it: the kernel takes links and rules under different locks.

A veth's message names the ifindexes of both ends, chosen here and unique in the lab, so that
nothing has to be asked back between a link and its addresses, and a dump tells which two ends
belong together.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import assert_never

from kns.errors import ApplyError, CancelledError, PlatformError, from_os_error
from kns.kernel import links, netns, processes, qdiscs, traffic
from kns.kernel.netlink import Refusal, Socket
from kns.kernel.programs import Programs
from kns.plan.ops import (
    Add,
    Change,
    CreateNetns,
    Delete,
    DeleteNetns,
    Entry,
    LinkOp,
    Op,
    Replace,
    RuleOp,
    Undo,
    VethPair,
    Write,
)
from kns.plan.shell import describe
from kns.state.model import (
    Address,
    Deviation,
    FdbEntry,
    Link,
    Neighbor,
    PolicyRule,
    Route,
    VethPeer,
)
from kns.state.traffic import Shaper

#: the kernel's own fallback devices, which every new netns may hold, take the first indexes
FIRST_INDEX = 16

#: an op that finds its work done already, by errno; a vanished link takes its addresses with it
_DONE_ALREADY: Mapping[tuple[type, type], frozenset[int]] = {
    (Delete, Link): frozenset({errno.ENODEV}),
    (Delete, Address): frozenset({errno.EADDRNOTAVAIL, errno.ENODEV}),
    (Delete, Route): frozenset({errno.ESRCH, errno.ENODEV, errno.ENETUNREACH}),
    (Delete, PolicyRule): frozenset({errno.ENOENT, errno.ESRCH}),
    (Delete, Neighbor): frozenset({errno.ENOENT, errno.ENODEV}),
    (Delete, FdbEntry): frozenset({errno.ENOENT, errno.ENODEV}),
    (Delete, Shaper): frozenset({errno.ENOENT, errno.EINVAL, errno.ENODEV}),
    (Add, Address): frozenset({errno.EEXIST}),
    (Add, Route): frozenset({errno.EEXIST}),
    (Add, PolicyRule): frozenset({errno.EEXIST}),
}
#: another undoing, of the link or the address that it stood on, has undone it
_UNDONE_ALREADY = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EEXIST})


def apply(
    ops: Sequence[Op],
    indexes: Mapping[str, Mapping[str, int]],
    *,
    cancelled: threading.Event | None = None,
    on_op: Callable[[Op], None] | None = None,
) -> None:
    """Carry out the ops in order. Raises ApplyError at the first that the kernel refuses.

    `indexes` are the ifindexes observed, of all netns of the lab: new links get others.
    `on_op` is called before each op, from the worker.
    """
    if not ops:
        return
    # a netns costs two descriptors while its lab is built
    processes.raise_file_limit()
    netns.prepare_folder()
    worker = _Worker(indexes, cancelled or threading.Event(), on_op or (lambda _op: None))
    netns.in_thread(worker.work, ops)


class _NoLinkError(Exception):
    """A link that an op needs is not there: somebody has deleted it since it was seen."""


class _Indexes(dict[str, int]):
    """The ifindexes of a netns, by link. Raises _NoLinkError for a link that is not there."""

    def __missing__(self, ifname: str) -> int:
        raise _NoLinkError(f"there is no link {ifname}")


class _Worker:
    """The thread that applies: its netns, its sockets, and the messages not yet sent."""

    def __init__(
        self,
        indexes: Mapping[str, Mapping[str, int]],
        cancelled: threading.Event,
        on_op: Callable[[Op], None],
    ) -> None:
        self._indexes = defaultdict(
            _Indexes, {name: _Indexes(table) for name, table in indexes.items()}
        )
        taken = [index for table in indexes.values() for index in table.values()]
        self._next = 1 + max([FIRST_INDEX - 1, *taken])
        self._cancelled = cancelled
        self._on_op = on_op
        self._sockets: dict[str, Socket] = {}
        self._files: dict[str, int] = {}
        self._here = ""
        self._pending: list[tuple[LinkOp, bytes]] = []
        self._pending_netns = ""
        self._programs: dict[str, list[Op]] = {}

    def work(self, ops: Sequence[Op]) -> None:
        """Apply all; runs in the worker thread, which ends with it."""
        try:
            with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
                started = self._start_programs(ops, pool)
                try:
                    self._run(ops, started)
                finally:
                    started.cancel()
        finally:
            for sock in self._sockets.values():
                sock.close()
            for fd in self._files.values():
                os.close(fd)

    def _start_programs(self, ops: Sequence[Op], pool: ThreadPoolExecutor) -> Programs:
        programs = Programs(pool, self._cancelled)
        for op in ops:
            if isinstance(op, RuleOp):
                programs.add(op)
        return programs

    def _run(self, ops: Sequence[Op], programs: Programs) -> None:
        # once netns and sysctls are there, rules can be loaded while links are made: where they are
        # there already, nobody is to be led any longer to who goes with his links
        grounds = [i for i, op in enumerate(ops) if isinstance(op, CreateNetns | Write)]
        ready = max(grounds, default=-1)
        programs.start(but={ops[i].netns for i in grounds})
        for position, op in enumerate(ops):
            if self._cancelled.is_set():
                raise CancelledError("interrupted", hint="nothing of this run is left behind")
            if position == ready + 1:
                programs.start()
            self._on_op(op)
            if not isinstance(op, RuleOp):
                self._apply(op)
        self._flush()
        programs.start()
        programs.wait()

    def _apply(self, op: CreateNetns | DeleteNetns | Write | LinkOp) -> None:
        match op:
            case CreateNetns():
                self._flush()
                self._create_netns(op.netns)
            case DeleteNetns():
                self._flush()
                with _op_errors(op):
                    netns.delete(op.netns)
            case Write():
                self._flush()
                self._write_sysctl(op)
            case Undo(deviation=Deviation(message=b"")):
                self._flush()
                _run(op)
            case _:
                self._queue(op)

    # -- netns and sysctls -------------------------------------------------------------------------

    def _create_netns(self, name: str) -> None:
        with _op_errors(CreateNetns(name)):
            netns.create_here(name)
        self._here = name
        self._indexes[name] = _Indexes(lo=1)
        self._sockets[name] = Socket()

    def _enter(self, name: str) -> None:
        if self._here != name:
            netns.enter(name)
            self._here = name

    def _write_sysctl(self, op: Write) -> None:
        self._enter(op.netns)
        key = op.sysctl.key
        try:
            # a value that is empty is a line, too: of nothing written the kernel takes no notice
            Path("/proc/sys/net", key).write_text(f"{op.sysctl.value}\n", encoding="ascii")
        except FileNotFoundError as error:
            if op.sysctl.value == "0" or key == "ipv6/conf/all/disable_ipv6":
                return  # what is to be off and does not exist is off
            if _is_of_small_link(key):
                return  # an MTU below 1,280 takes IPv6 from a link, and this folder with it
            raise PlatformError(
                f"this kernel has no /proc/sys/net/{key}", hint=_missing_sysctl_hint(key)
            ) from error
        except OSError as error:
            raise from_os_error(error, op=describe(op), netns=op.netns) from error

    # -- netlink -----------------------------------------------------------------------------------

    def _queue(self, op: LinkOp) -> None:
        if self._pending_netns != op.netns:
            self._flush()
            self._pending_netns = op.netns
        try:
            messages = list(self._messages(op))
        except _NoLinkError as error:
            raise ApplyError(str(error), op=describe(op), netns=op.netns) from error
        self._pending += [(op, message) for message in messages]

    def _flush(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        sock = self._socket(self._pending_netns)
        for position, refusal in sock.request([message for _op, message in pending]).items():
            op = pending[position][0]
            if refusal.number not in _done_already(op):
                raise ApplyError(
                    os.strerror(refusal.number),
                    op=describe(op),
                    netns=op.netns,
                    hint=_hint(op, refusal),
                )

    def _socket(self, name: str) -> Socket:
        if name not in self._sockets:
            self._enter(name)
            self._sockets[name] = Socket()
        return self._sockets[name]

    def _file(self, name: str) -> int:
        if name not in self._files:
            self._files[name] = os.open(netns.path_of(name), os.O_RDONLY | os.O_CLOEXEC)
        return self._files[name]

    def _take_index(self, name: str, ifname: str) -> int:
        index = self._next
        self._next += 1
        self._indexes[name][ifname] = index
        return index

    def _messages(self, op: LinkOp) -> Iterator[bytes]:
        match op:
            case Add(item=Shaper() as shaper):
                yield from traffic.shape(None, shaper, self._indexes[op.netns][shaper.ifname])
            case Add():
                yield self._added(op.netns, op.item)
            case Change():
                table = self._indexes[op.netns]
                yield links.change_link(op.link, op.fields, table[op.link.name], table)
            case Delete():
                message = _deleted(op.item, self._indexes[op.netns])
                yield from () if message is None else (message,)
            case Replace():
                yield from self._replaced(op.netns, op.item)
            case Undo():
                yield op.deviation.message
            case _:
                assert_never(op)

    def _replaced(self, name: str, item: Route | Shaper) -> Iterator[bytes]:
        if isinstance(item, Route):
            yield links.replace_route(item, self._indexes[name])
            return
        # what is on the link tells which priorities its filters have
        self._flush()
        index = self._indexes[name][item.ifname]
        found, strange = qdiscs.read(self._socket(name), {index: item.ifname})
        yield from (other.message for other in strange)
        yield from traffic.shape(next(iter(found), None), item, index)

    def _added(self, name: str, item: Link | VethPair | Entry) -> bytes:
        table = self._indexes[name]
        match item:
            case Link():
                return links.create_link(item, self._take_index(name, item.name), table)
            case VethPair():
                return links.create_veth(
                    item.link,
                    item.peer,
                    self._take_index(name, item.link.name),
                    self._take_index(item.peer_netns, item.peer.name),
                    table.get(item.link.master, 0),
                    self._file(item.peer_netns),
                )
            case _:
                return _added(item, table)


def _added(item: Entry, table: Mapping[str, int]) -> bytes:
    match item:
        case Address():
            return links.add_address(item, table[item.ifname])
        case Route():
            return links.add_route(item, table)
        case PolicyRule():
            return links.add_rule(item)
        case Neighbor():
            return links.add_neighbor(item, table[item.ifname])
        case FdbEntry():
            return links.add_fdb(item, table[item.ifname])
        case Shaper():
            raise TypeError(f"the shaper of {item.ifname} is several messages")
        case _:
            assert_never(item)


def _deleted(item: Link | Entry, table: Mapping[str, int]) -> bytes | None:
    match item:
        case Link():
            return links.delete_link(table[item.name]) if item.name in table else None
        case Address():
            return links.delete_address(item, table[item.ifname])
        case Route():
            return links.delete_route(item, table)
        case PolicyRule():
            return links.delete_rule(item)
        case Neighbor():
            return links.delete_neighbor(item, table[item.ifname])
        case FdbEntry():
            return links.delete_fdb(item, table[item.ifname])
        case Shaper():
            return traffic.delete_shaper(table[item.ifname])
        case _:
            assert_never(item)


def _run(op: Undo) -> None:
    """Undo by the command itself."""
    words = shlex.split(op.deviation.command)
    done = processes.run(words, context=processes.Context(op.netns), timeout=processes.patience())
    if done.failure:
        raise ApplyError(done.failure, op=describe(op), netns=op.netns)


@contextlib.contextmanager
def _op_errors(op: Op) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise from_os_error(error, op=describe(op), netns=op.netns) from error


def _done_already(op: LinkOp) -> Collection[int]:
    if isinstance(op, Change | Replace):
        return ()
    if isinstance(op, Undo):
        return _UNDONE_ALREADY
    return _DONE_ALREADY.get((type(op), type(op.item)), ())


def _is_of_small_link(key: str) -> bool:
    """Whether the sysctl is a link's own of IPv6, on a kernel that has IPv6."""
    return key.startswith("ipv6/conf/") and Path("/proc/sys/net/ipv6").is_dir()


def _hint(op: Op, refusal: Refusal) -> str:
    """What to do about it, or else the kernel's own words."""
    number = refusal.number
    if number == errno.EOPNOTSUPP and isinstance(op, Add) and isinstance(op.item, Link | VethPair):
        kind = op.item.kind.type if isinstance(op.item, Link) else VethPeer.type
        return f"this kernel has no {kind} links: modprobe {kind}; kns doctor tells more"
    if number == errno.ENOBUFS:
        return "the kernel is out of memory for this table"
    if number == errno.EXFULL:
        return "a Linux bridge has at most 1,024 ports"
    return refusal.words


def _missing_sysctl_hint(key: str) -> str:
    if key.startswith("bridge/"):
        return "modprobe br_netfilter"
    if key.startswith("netfilter/"):
        return "modprobe nf_conntrack"
    return "kns doctor tells what this kernel lacks"
