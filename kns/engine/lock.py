"""One lock per lab, so that two commands never change the same lab at once.

flock(2): the kernel releases it when its holder dies, however it dies. The file says who holds it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kns.compile.paths import LabPaths
from kns.engine.private import ensure_folder, require_private
from kns.errors import LockedError, PlatformError

#: how long a command waits for another one that works on the same lab
PATIENCE = 60.0
#: seconds of waiting that nobody needs to hear of
UNTOLD = 0.5


@contextlib.contextmanager
def locked(
    paths: LabPaths, *, patience: float = PATIENCE, waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lab's lock for the block; LockedError says who held it for `patience` seconds.

    `waiting` is called once with the holder's name if it takes longer than the living lab's own
    rounds.
    """
    require_private(paths.lock.parent)
    ensure_folder(paths.lock.parent)
    fd = _acquire(paths.lock, patience, waiting or (lambda _holder: None))
    try:
        os.ftruncate(fd, 0)
        os.write(fd, f"pid {os.getpid()} (kns {' '.join(sys.argv[1:3])})".encode())
        yield
    finally:
        # unlinked while held: whoever waits for this file sees that its name is gone, and takes
        # the new one
        paths.lock.unlink(missing_ok=True)
        os.close(fd)
        # the folder of all labs goes with the last of them
        with contextlib.suppress(OSError):
            paths.lock.parent.rmdir()


def _acquire(path: Path, patience: float, waiting: Callable[[str], None]) -> int:
    start = time.monotonic()
    told = False
    while True:
        try:
            fd = _open(path)
        except FileNotFoundError:  # whoever removed the last other lab has just taken the folder
            ensure_folder(path.parent)
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode(errors="replace") or "another kns process"
            os.close(fd)
            waited = time.monotonic() - start
            if waited > patience:
                raise LockedError(
                    f"{holder} works on this lab", hint="wait for it to end, then try again"
                ) from None
            if not told and waited > UNTOLD:
                waiting(holder)
                told = True
            time.sleep(0.05)
            continue
        if _is_still(path, fd):
            return fd
        os.close(fd)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ELOOP):
            raise
        kind = "a folder" if error.errno == errno.EISDIR else "a link"
        raise PlatformError(f"{path} is {kind}, and no lock", hint=f"rm -r {path}") from error


def _is_still(path: Path, fd: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False
