"""Accounting objects of netfilter, by which rules count packets (`-m nfacct`), by netlink.

Each netns has its own (nfnetlink_acct). The program `nfacct` does the same.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import cache

from pyroute2.netlink import NETLINK_NETFILTER, NLM_F_CREATE, NLM_F_DUMP
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_ACCT, nfgen_msg

from kns.errors import PlatformError
from kns.kernel import netns, processes, syscalls
from kns.kernel.netlink import BODY, Socket, attributes, wanted
from kns.kernel.shapes import encoded, request

#: linux/netfilter/nfnetlink_acct.h
_NEW, _GET, _DEL = (NFNL_SUBSYS_ACCT << 8 | kind for kind in (0, 1, 3))
_PROBE = "*filter\n-A INPUT -m nfacct --nfacct-name kns\nCOMMIT\n"
_SECONDS = 20.0
#: how long a rule that went may keep its object, and the pause between two looks
_BUSY_SECONDS, _PAUSE = 5.0, 0.05


class NfacctSupport(StrEnum):
    """What the kernel, and iptables with it, has of nfacct."""

    WHOLE = "objects and the match"
    OBJECTS = "objects, but not the match"
    NOTHING = "no objects: nothing is counted"


class _Object(nfgen_msg):  # type: ignore[misc]  # pyroute2 has no types
    """An accounting object; pyroute2 has no message for it."""

    prefix = "NFACCT_"
    nla_map = (("NFACCT_UNSPEC", "none"), ("NFACCT_NAME", "asciiz"))


#: behind struct nfgenmsg
_ATTRIBUTES = BODY + 4
_NAME = wanted(_Object, "NFACCT_NAME")


def list_here() -> tuple[str, ...]:
    """The names of the calling thread's netns' objects; OSError where the kernel has none."""
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        answers = sock.dump(encoded(request(_Object, _GET, NLM_F_DUMP)))
    found = (attributes(answer, _NAME, _ATTRIBUTES).get("NFACCT_NAME") for answer in answers)
    return tuple(name.rstrip(b"\0").decode() for name in found if name)


def ensure_here(names: Iterable[str]) -> None:
    """Make the objects that are not there; OSError where the kernel has none."""
    messages = [
        encoded(request(_Object, _NEW, NLM_F_CREATE, [("NFACCT_NAME", name)])) for name in names
    ]
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        for refusal in sock.request(messages).values():
            # the kernel takes a second NEW for a wish to set the counters to zero
            if refusal.number not in (errno.EEXIST, errno.EBUSY):
                raise refusal.error


def delete_here(names: Sequence[str]) -> None:
    """Delete objects that no rule counts by any more; one that is gone already is no error.

    The nft variant of iptables leaves a rule's end to the kernel's worker: its object is busy for
    a moment longer. What a rule of somebody else's counts by stays.
    """
    left, deadline = names, time.monotonic() + _BUSY_SECONDS
    while left and time.monotonic() < deadline:
        left = _deleted_but(left)
        time.sleep(_PAUSE if left else 0)


def _deleted_but(names: Sequence[str]) -> tuple[str, ...]:
    """Delete objects; the names of those that are busy."""
    messages = [encoded(request(_Object, _DEL, 0, [("NFACCT_NAME", name)])) for name in names]
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        refused = sock.request(messages)
    for refusal in refused.values():
        if refusal.number not in (errno.EBUSY, errno.ENOENT):
            raise refusal.error
    busy = (names[place] for place, refusal in refused.items() if refusal.number == errno.EBUSY)
    return tuple(busy)


@cache
def support() -> NfacctSupport:
    """Tried in a netns that goes with the trial; NOTHING too for who may make no netns."""
    return netns.in_thread(_tried)


def _tried() -> NfacctSupport:
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        ensure_here(["kns"])
    except OSError:
        return NfacctSupport.NOTHING
    try:
        done = processes.run(["iptables-restore"], input=_PROBE, timeout=_SECONDS)
    except PlatformError:
        return NfacctSupport.OBJECTS
    return NfacctSupport.OBJECTS if done.failure else NfacctSupport.WHOLE
