"""Rules of the legacy iptables programs, which the kernel keeps beside those of nf_tables.

A table of theirs is there from its first use on, and stays until its netns goes: empty, it does
nothing.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Iterator

from kns.addresses import IPFamily
from kns.kernel import processes
from kns.state import iptables
from kns.state.model import Deviation, IptablesTable

_FOLDER = "/proc/thread-self/net"
#: by family: the file in it that names the tables there are, and the program
_NAMES = {
    IPFamily.IPV4: ("ip_tables_names", "iptables"),
    IPFamily.IPV6: ("ip6_tables_names", "ip6tables"),
}
#: -w: wait for the lock that they take
_WAIT = "-w"


def deviations_here(*, spared: bool) -> Iterator[Deviation]:
    """What empties the tables in the calling thread's netns.

    `spared`: not where iptables itself is the legacy variant, whose tables are read as the lab's.
    """
    for family in _with_tables():
        _name, program = _NAMES[family]
        if not (spared and _is_legacy(program)):
            yield from _of_family(family, program)


def _with_tables() -> list[IPFamily]:
    """The families with any table, empty or not."""
    folder = os.open(_FOLDER, os.O_PATH | os.O_CLOEXEC)
    try:
        return [family for family, (name, _program) in _NAMES.items() if _text(name, folder)]
    finally:
        os.close(folder)


def _text(name: str, folder: int) -> bytes:
    """The beginning of a file; nothing if the kernel lacks it."""
    with contextlib.suppress(OSError):
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        try:
            return os.read(file, 1 << 10)
        finally:
            os.close(file)
    return b""


@functools.cache
def _is_legacy(program: str) -> bool:
    done = processes.run([program, "--version"], timeout=processes.patience())
    return "legacy" in done.stdout


def _of_family(family: IPFamily, program: str) -> Iterator[Deviation]:
    name = f"{program}-legacy"
    if shutil.which(name) is None:
        if not _is_legacy(program):
            return  # no program of this machine can have written any, or could remove them
        name = program
    done = processes.run([f"{name}-save"], timeout=processes.patience())
    if done.failure:
        return
    for table in iptables.parse_save(done.stdout, family):
        yield from _emptied(f"{name} {_WAIT} -t {table.name}", table)


def _emptied(command: str, table: IptablesTable) -> Iterator[Deviation]:
    for chain in table.chains:
        if chain.policy not in ("ACCEPT", ""):
            yield Deviation(f"{command} -P {chain.name} ACCEPT")
    if any(chain.rules for chain in table.chains):
        yield Deviation(f"{command} -F")
    if any(not chain.policy for chain in table.chains):
        yield Deviation(f"{command} -X")
