"""Netns by name under /run/netns, as iproute2 keeps them, so that `ip netns exec` works on them.

The network namespace is a property of a thread. Whoever enters one does so in a worker thread,
never in the main thread, which would take everything that comes after along: `entered` refuses,
`call_in` and `in_thread` bring a thread of their own, and the other functions that move the calling
thread (`enter`, `create_here`) trust their callers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from kns.errors import ApplyError, PlatformError
from kns.kernel import syscalls

#: iproute2's NETNS_RUN_DIR
NETNS_DIR = Path("/run/netns")
#: the calling thread's netns; /proc/self would be the main thread's
OWN_NETNS = "/proc/thread-self/ns/net"
#: the main thread's netns, which is the one that the process was started in
HOME_NETNS = "/proc/self/ns/net"

P = ParamSpec("P")
T = TypeVar("T")


def path_of(name: str) -> Path:
    """Where the netns is mounted."""
    return NETNS_DIR / name


def list_netns(prefix: str = "") -> tuple[str, ...]:
    """The names under /run/netns that start with `prefix`, sorted."""
    try:
        names = os.listdir(NETNS_DIR)  # noqa: PTH208 - one readdir, no Path per entry
    except FileNotFoundError:
        return ()
    except NotADirectoryError as error:
        raise PlatformError(
            f"{NETNS_DIR} is not a folder", hint=f"rm {NETNS_DIR}: the names of netns belong there"
        ) from error
    return tuple(sorted(name for name in names if name.startswith(prefix)))


def identity(name: str) -> tuple[int, int] | None:
    """Device and inode of the netns: equal exactly while it is the same one. None if absent."""
    try:
        return _identity_of(path_of(name))
    except FileNotFoundError:
        return None


def identity_here() -> tuple[int, int]:
    """Device and inode of the calling thread's netns."""
    return _identity_of(Path(OWN_NETNS))


def _identity_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def is_netns(name: str) -> bool:
    """True if a netns is mounted at the name, False if it is only a file left by a crash."""
    found = identity(name)
    return found is not None and found[0] == _identity_of(Path(HOME_NETNS))[0]


def strays(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names, all mounted, that lead to a netns which is not theirs.

    All names of the machine's netns are strays.
    Of the names of a netns that has several, or that the caller is in, all are but the one with a
    single mount: on a stray a netns is mounted above the name's own. If not exactly one has a
    single mount, all are.
    """
    by_identity: dict[tuple[int, int] | None, list[str]] = {}
    for name in names:
        by_identity.setdefault(identity(name), []).append(name)
    machine, here = _machines(), identity_here()
    found = by_identity.pop(machine, []) if machine else []
    for item, shared in by_identity.items():
        if len(shared) > 1 or item == here:
            own = [name for name in shared if _mounts(name) == 1]
            found += [name for name in shared if own != [name]]
    return tuple(sorted(found))


def _machines() -> tuple[int, int] | None:
    """The netns of the first process; None where it may not be read (without root)."""
    try:
        return _identity_of(Path("/proc/1/ns/net"))
    except OSError:
        return None


def _mounts(name: str) -> int:
    """How often something is mounted at the name, one above the other."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    return sum(line.split()[4] == str(path_of(name)) for line in table.splitlines())


def prepare_folder() -> None:
    """Make /run/netns a shared mount, as iproute2 does before it makes a netns.

    Without it a later `ip netns add` of somebody else would mount /run/netns over itself, and ours
    could be unmounted only above that mount: their files would stay busy for ever.
    """
    NETNS_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        syscalls.mount("", str(NETNS_DIR), "none", syscalls.MS_SHARED | syscalls.MS_REC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        here = str(NETNS_DIR)
        syscalls.mount(here, here, "none", syscalls.MS_BIND | syscalls.MS_REC)
        syscalls.mount("", here, "none", syscalls.MS_SHARED | syscalls.MS_REC)


def remove_folder_if_empty() -> None:
    """Undo `prepare_folder` when no netns is left; harmless when somebody else needs it."""
    with contextlib.suppress(OSError):
        if not any(NETNS_DIR.iterdir()):
            with contextlib.suppress(OSError):  # no mount there, if making it was what failed
                syscalls.umount(str(NETNS_DIR))
            NETNS_DIR.rmdir()


def create_here(name: str) -> None:
    """Make a netns, name it, and leave the calling thread inside it. Worker threads only.

    A file of that name with no netns on it is what a crash between the two steps leaves: it is
    taken over. FileExistsError if there is a netns on it.
    """
    # most of what looks at netns makes none, and need not load it
    from pyroute2.netns import attach  # noqa: PLC0415

    syscalls.unshare(syscalls.CLONE_NEWNET)
    thread = threading.get_native_id()
    try:
        attach(name, thread)
    except FileExistsError:
        if is_netns(name):
            raise
        path_of(name).unlink(missing_ok=True)
        attach(name, thread)


def delete(name: str) -> None:
    """Unmount and unlink the name; the kernel frees the netns when its last user is gone."""
    target = str(path_of(name))
    try:
        while True:  # a name may have been mounted on twice by two runs that raced
            syscalls.umount(target)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)  # noqa: PTH108 - hot path


def delete_all(names: Sequence[str]) -> list[ApplyError]:
    """Delete netns by name, going on after errors; the errors that came up."""
    errors: list[ApplyError] = []
    for name in names:
        try:
            delete(name)
        except OSError as error:
            errors.append(ApplyError(error.strerror or str(error), op="delete netns", netns=name))
    return errors


def enter(name: str) -> None:
    """Move the calling thread into the netns for good."""
    try:
        _enter(path_of(name))
    except FileNotFoundError as error:
        raise PlatformError(
            f"netns {name} does not exist", hint="kns up makes it again; kns ls shows the labs"
        ) from error


def _enter(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(fd, syscalls.CLONE_NEWNET)
    finally:
        os.close(fd)


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """The calling worker thread is inside the netns for the length of the block."""
    if threading.current_thread() is threading.main_thread():
        msg = "the main thread never enters a netns; use call_in"
        raise RuntimeError(msg)
    home = os.open(OWN_NETNS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(name)
        try:
            yield
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)


def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in a thread of its own and hand on its result or exception."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(function(*args, **kwargs))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    # in short turns: a signal that another thread took wakes nobody who waits without a limit
    while thread.is_alive():
        thread.join(0.05)
    if errors:
        raise errors[0]
    return results[0]


def call_in(name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in a worker thread that is inside the netns, and return its result."""

    def body() -> T:
        enter(name)
        return function(*args, **kwargs)

    return in_thread(body)


def call_home(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in the netns that the process was started in, from any thread."""

    def body() -> T:
        _enter(Path(HOME_NETNS))
        return function(*args, **kwargs)

    return in_thread(body)
