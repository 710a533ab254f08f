"""iptables by its own programs: `iptables-save` reads, `iptables-restore` writes.

A table that was never used does not exist in the kernel and `iptables-save` does not print it.
"""

from __future__ import annotations

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
#: seconds; a thousand services take the nft variant several
TIMEOUT = 600.0


def read_here() -> tuple[IptablesTable, ...]:
    """All tables of both families in the calling thread's netns."""
    tables: list[IptablesTable] = []
    for family, program in SAVE.items():
        done = processes.run([program], timeout=TIMEOUT)
        if done.returncode != 0:
            raise ApplyError(done.stderr.strip(), op=program)
        tables += iptables_text.parse_save(done.stdout, family)
    return tuple(tables)


def apply_here(op: RestoreIptables) -> None:
    """Load the changes in the calling thread's netns; a table changes as a whole or not at all."""
    text = iptables_text.restore_text(op.changes)
    program = RESTORE[op.family]
    done = processes.run([program, *ARGUMENTS], input=text, timeout=TIMEOUT)
    if done.returncode != 0:
        message = done.stderr.strip() or f"exit code {done.returncode}"
        raise ApplyError(message, op=program, netns=op.netns)
