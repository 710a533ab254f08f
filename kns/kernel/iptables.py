"""iptables by its own programs: `iptables-save` reads, `iptables-restore` writes.

A table that was never used does not exist in the kernel and `iptables-save` does not print it.
"""

from __future__ import annotations

from threading import Event

from kns.errors import ApplyError
from kns.kernel import nfacct, processes
from kns.plan.ops import RestoreIptables
from kns.state import iptables
from kns.state.model import IptablesTable

#: what the nft variant calls its tables, in nft's families ip and ip6
TABLES = frozenset({"filter", "nat", "mangle", "raw", "security"})
#: -w: wait for the lock that the legacy variant takes
ARGUMENTS = ("-w", "--noflush", "--counters")


def read_here(stop: Event | None = None, *, counters: bool = False) -> tuple[IptablesTable, ...]:
    """All tables of both families in the calling thread's netns; `counters`: what they counted."""
    tables: list[IptablesTable] = []
    for family, program in iptables.SAVE.items():
        argv = [program, "-c"] if counters else [program]
        done = processes.run(argv, timeout=processes.patience(), stop=stop)
        if done.failure:
            raise ApplyError(done.failure, op=program)
        tables += iptables.parse_save(done.stdout, family)
    return tuple(tables)


def apply_here(op: RestoreIptables, stop: Event | None = None) -> None:
    """Load the changes in the calling thread's netns; a table changes as a whole or not at all."""
    counted = iptables.accounting_objects(op.changes)
    if counted:
        _ensure_objects(counted, op.netns)
    text = iptables.restore_text(op.changes)
    program = iptables.RESTORE[op.family]
    limit = processes.patience(text)
    done = processes.run([program, *ARGUMENTS], input=text, timeout=limit, stop=stop)
    if done.failure:
        raise ApplyError(done.failure, op=program, netns=op.netns)


def _ensure_objects(names: tuple[str, ...], space: str) -> None:
    try:
        nfacct.ensure_here(names)
    except OSError as error:
        raise ApplyError(f"nfacct: {error.strerror}", op="nfacct add", netns=space) from error
