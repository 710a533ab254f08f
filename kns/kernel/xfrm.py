"""IPsec policies and states of a netns, by netlink dumps: no lab has any, and they can block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pyroute2.netlink import NETLINK_XFRM, NLM_F_DUMP

from kns.kernel.netlink import BODY, Socket, readdressed
from kns.state.model import Deviation

#: linux/xfrm.h XFRM_MSG_GETSA, XFRM_MSG_GETPOLICY
_GET = {"state": 0x12, "policy": 0x15}
#: XFRM_MSG_GETDEFAULT; the answer's body is struct xfrm_userpolicy_default, three times this
_GET_DEFAULT, _ACCEPT = 0x28, 2


def deviations_here() -> Iterator[Deviation]:
    """What removes them from the calling thread's netns; nothing where the kernel has no IPsec."""
    with contextlib.suppress(OSError), contextlib.closing(Socket(NETLINK_XFRM)) as sock:
        for noun, number in _GET.items():
            if sock.dump(readdressed(b"", number, NLM_F_DUMP)):
                yield Deviation(f"ip xfrm {noun} flush")
        default = sock.ask(readdressed(bytes(4), _GET_DEFAULT))[BODY : BODY + 3]
        if default != bytes([_ACCEPT] * 3):
            yield Deviation("ip xfrm policy setdefault in accept fwd accept out accept")
