"""iptables by its own programs: `iptables-save` reads, `iptables-restore` writes.

A table that was never used does not exist in the kernel and `iptables-save` does not print it.
"""

from __future__ import annotations

from threading import Event

from kns.addresses import IPFamily
from kns.errors import ApplyError
from kns.kernel import processes
from kns.plan import iptables_text
from kns.plan.ops import RestoreIptables
from kns.state.model import IptablesTable

SAVE = {IPFamily.IPV4: "iptables-save", IPFamily.IPV6: "ip6tables-save"}
RESTORE = {IPFamily.IPV4: "iptables-restore", IPFamily.IPV6: "ip6tables-restore"}
#: kube-proxy's own arguments; -w: wait for the lock that the legacy variant takes
ARGUMENTS = ("-w", "5", "--noflush", "--counters")


def read_here(stop: Event | None = None) -> tuple[IptablesTable, ...]:
    """All tables of both families in the calling thread's netns."""
    tables: list[IptablesTable] = []
    for family, program in SAVE.items():
        done = processes.run([program], timeout=processes.patience(), stop=stop)
        if done.failure:
            raise ApplyError(done.failure, op=program)
        tables += iptables_text.parse_save(done.stdout, family)
    return tuple(tables)


def apply_here(op: RestoreIptables, stop: Event | None = None) -> None:
    """Load the changes in the calling thread's netns; a table changes as a whole or not at all."""
    text = iptables_text.restore_text(op.changes)
    program = RESTORE[op.family]
    limit = processes.patience(text)
    done = processes.run([program, *ARGUMENTS], input=text, timeout=limit, stop=stop)
    if done.failure:
        raise ApplyError(done.failure, op=program, netns=op.netns)
