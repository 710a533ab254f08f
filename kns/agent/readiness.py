"""Whether a container listens yet: read from the kernel's table of its netns' sockets."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

#: seconds until a component must listen; nginx takes some ten milliseconds
PATIENCE = 3.0
#: seconds between two looks
INTERVAL = 0.005
#: TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp writes it
_LISTEN = "0A"


def listens(pid: int, ports: Collection[int]) -> bool:
    """True if each of the TCP ports has a listener in the netns of the process."""
    return set(ports) <= _listening(pid)


def _listening(pid: int) -> set[int]:
    found: set[int] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()
        except OSError:  # it has ended, or the kernel has no IPv6
            continue
        for fields in map(str.split, lines[1:]):
            if fields[3] == _LISTEN:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found
