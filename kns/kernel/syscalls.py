"""The system calls that Python 3.11 does not offer: setns, unshare, mount, umount2.

`os.setns` and `os.unshare` came with Python 3.12; kns supports 3.11. ctypes releases the GIL
around each call, so a thread that waits in the kernel holds nobody up.
"""

from __future__ import annotations

import ctypes
import os

# from linux/sched.h
CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000

# from linux/mount.h
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MNT_DETACH = 0x2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own (unshare(2))."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace that `fd` refers to (setns(2))."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        source.encode(),
        os.fsencode(target),
        fstype.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _check(result, f"mount {target}")


def umount(target: str) -> None:
    """umount2(2) with MNT_DETACH: the name goes at once, the kernel frees in the background."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def sethostname(name: str) -> None:
    """sethostname(2), in the calling thread's UTS namespace."""
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")
