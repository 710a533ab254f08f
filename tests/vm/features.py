"""Which of the kernel features that some tests need the running kernel has.

The markers `ipvs`, `netem`, `dummy` and `sctp` stand for them. Each is tried for real, in a
throw-away netns; trying loads the module, as using it would.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterable

#: marker → what must succeed in an empty netns of root
PROBES = {
    "ipvs": "test -e /proc/net/ip_vs || { modprobe -q ip_vs; test -e /proc/net/ip_vs; }",
    "netem": "tc qdisc add dev lo root netem delay 1ms",
    "dummy": "ip link add name probe type dummy",
    "sctp": "python3 -c 'import socket; socket.socket(2, 1, socket.IPPROTO_SCTP)' 2>/dev/null",
}
#: pytest's -m for the tests that need one of them
EXPRESSION = " or ".join(PROBES)
#: set inside the rig's VM, where a missing feature is an error of the rig and no reason to skip
IN_VM = "KNS_VM"


@functools.cache
def missing(marker: str) -> str:
    """Why tests of this marker can't run on the running kernel; empty if they can."""
    if os.geteuid() != 0:
        return f"{marker}: needs root"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", PROBES[marker]],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode == 0:
        return ""
    detail = f" ({done.stderr.strip()})" if done.stderr.strip() else ""
    return f"{marker}: the running kernel lacks it{detail}; make vm-test runs it in a VM"


def reason_to_skip(markers: Iterable[str]) -> str:
    """The first reason not to run a test with these markers here, or nothing."""
    return next((why for name in markers if name in PROBES and (why := missing(name))), "")


def required() -> bool:
    """True where every feature must be there: inside the rig's VM."""
    return os.environ.get(IN_VM) == "1"
