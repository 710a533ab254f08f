"""ipsets of a netns, by `ipset`: one process for all sets, however many entries they have.

Functions that end in `_here` act on the netns of the calling thread.
"""

from __future__ import annotations

from pathlib import Path
from threading import Event

from kns.errors import ApplyError, PlatformError
from kns.kernel import processes
from kns.plan.ops import RestoreIpsets
from kns.state import ipset
from kns.state.model import IpSet

#: there once the kernel has ipsets, as a module or built in
_IP_SET = Path("/sys/module/ip_set")


def read_here(prefix: str, stop: Event | None = None) -> tuple[IpSet, ...]:
    """The sets whose name begins so, by name; none where nobody ever used one."""
    if not _IP_SET.exists():
        return ()
    try:
        done = processes.run(ipset.SAVE, timeout=processes.patience(), stop=stop)
    except PlatformError:  # the program is missing: where nobody needs sets, nobody must care
        return ()
    if done.failure:
        raise ApplyError(done.failure, op="ipset save")
    return tuple(s for s in ipset.parse_save(done.stdout) if s.name.startswith(prefix))


def restore_here(op: RestoreIpsets, stop: Event | None = None) -> None:
    """Feed the op's text to `ipset restore`."""
    limit = processes.patience(op.text)
    done = processes.run(ipset.RESTORE, input=op.text, timeout=limit, stop=stop)
    if done.failure:
        raise ApplyError(done.failure, op="ipset restore", netns=op.netns)
