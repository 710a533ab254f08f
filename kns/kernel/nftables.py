"""nft tables of a netns: read and written by the program `nft`, one process each.

The text forms are in `kns.state.nft`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from kns.errors import ApplyError, PlatformError
from kns.kernel import processes
from kns.kernel.processes import Completed, Context
from kns.plan.ops import LoadNft
from kns.state.model import NftTable
from kns.state.nft import FAMILIES, NftChange, change, parse_tables

#: what passes by itself, and for how many seconds it is tried again. A chain stays busy for a
#: moment; a link that `iif` names may be made by another thread just now.
PATIENCE = {"Device or resource busy": 5.0, "Interface does not exist": 5.0}
#: transactions that don't need each other and are loaded at a time: the kernel takes one after the
#: other of a netns (commit_mutex), and meanwhile nft reads the next one
AT_ONCE = 2


def observe(netns: str, names: Iterable[str], *, stop: Event | None = None) -> tuple[NftTable, ...]:
    """The tables of these names that the netns has, of ip first, then of ip6, in normal form."""
    context = Context(netns)
    tables: list[NftTable] = []
    present = _present(context, netns, stop)
    # one table a process: nft 1.0.6 loads only the last one's family for several in one input
    for family in FAMILIES.values():
        for name in names:
            if (family, name) not in present:
                continue
            done = _nft(context, ["-s", "list", "table", family, name], stop=stop)
            if done.returncode != 0 and "No such file or directory" in done.stderr:
                continue
            _check(done, netns, f"nft list table {family} {name}")
            tables += parse_tables(done.stdout)
    return tuple(tables)


def _present(context: Context, netns: str, stop: Event | None) -> frozenset[tuple[str, str]]:
    """Family and name of every table; none where there is no nft, or a kernel without it."""
    try:
        done = _nft(context, ["list", "tables"], stop=stop)
    except PlatformError:
        return frozenset()
    if done.returncode != 0 and "not supported" in done.stderr:
        return frozenset()
    _check(done, netns, "nft list tables")
    words = (line.split() for line in done.stdout.splitlines())
    return frozenset((item[1], item[2]) for item in words if len(item) == 3)


def apply(netns: str, wanted: NftChange) -> None:
    """Carry out a change in the netns; ApplyError with nft's own words if it is refused."""
    _apply(Context(netns), netns, wanted)


def apply_here(op: LoadNft, stop: Event | None = None) -> None:
    """Carry out the op in the calling thread's netns."""
    _apply(None, op.netns, change(op.observed, op.desired), stop)


def _apply(
    context: Context | None, netns: str, wanted: NftChange, stop: Event | None = None
) -> None:
    """One transaction; where the kernel calls unused chains busy, they go a moment later.

    Before Linux 6.2 it does so for chains that the same transaction took out of a map.
    """
    for text in wanted.prepared[:1]:
        _check(_load(context, text, stop=stop), netns, "nft -f")
    _load_in_any_order(context, netns, wanted.prepared[1:], stop)
    whole = wanted.text + wanted.cleanup
    if not whole:
        return
    done = _load(context, whole, "Interface does not exist", stop)
    if done.returncode != 0 and wanted.cleanup and "Device or resource busy" in done.stderr:
        if wanted.text:
            _check(_load(context, wanted.text, stop=stop), netns, "nft -f")
        done = _load(context, wanted.cleanup, "Device or resource busy", stop)
    _check(done, netns, "nft -f")


def _load_in_any_order(
    context: Context | None, netns: str, texts: Sequence[str], stop: Event | None
) -> None:
    """Several at a time, in threads, which are in the netns of the one that starts them."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for done in pool.map(lambda text: _load(context, text, stop=stop), texts):
                _check(done, netns, "nft -f")
        finally:
            pool.shutdown(cancel_futures=True)


def _load(
    context: Context | None, text: str, passing: str = "", stop: Event | None = None
) -> Completed:
    """Feed nft; again and again while it fails by what is `passing`, as long as that may take."""
    deadline = time.monotonic() + PATIENCE.get(passing, 0.0)
    while True:
        done = _nft(context, ["-f", "-"], text, stop)
        again = done.returncode != 0 and passing and passing in done.stderr
        if not again or time.monotonic() > deadline:
            return done
        time.sleep(0.1)


def _nft(
    context: Context | None, arguments: list[str], text: str = "", stop: Event | None = None
) -> Completed:
    limit = processes.patience(text)
    return processes.run(["nft", *arguments], context=context, timeout=limit, input=text, stop=stop)


def _check(done: Completed, netns: str, op: str) -> None:
    if done.failure:
        first = done.failure.splitlines()[0]
        hint = ""
        if "not supported" in done.stderr or "Could not process rule" in done.stderr:
            hint = "kns doctor tells whether this kernel has nftables with all that it needs"
        raise ApplyError(first.removeprefix("/dev/stdin:"), op=op, netns=netns, hint=hint)
