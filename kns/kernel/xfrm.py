"""IPsec policies and states of a netns, by netlink dumps: no lab has any, and they can block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pyroute2.netlink import NETLINK_XFRM, NLM_F_DUMP

from kns.kernel.netlink import Socket, readdressed
from kns.state.model import Deviation

#: linux/xfrm.h XFRM_MSG_GETSA, XFRM_MSG_GETPOLICY
_GET = {"state": 0x12, "policy": 0x15}


def deviations_here() -> Iterator[Deviation]:
    """What removes them from the calling thread's netns; nothing where the kernel has no IPsec."""
    with contextlib.suppress(OSError), contextlib.closing(Socket(NETLINK_XFRM)) as sock:
        for noun, number in _GET.items():
            if sock.dump(readdressed(b"", number, NLM_F_DUMP)):
                yield Deviation(f"ip xfrm {noun} flush")
