"""What a program in a netns finds in its file system, in a mount namespace of its own.

/etc        its own resolv.conf, hosts and nsswitch.conf
/var/run    the host's, and files of its own
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from kns.errors import PlatformError
from kns.kernel import syscalls

#: files that are bound over the ones in /etc
ETC_FILES = ("resolv.conf", "hosts", "nsswitch.conf")


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of `folder` are at `/var/run/{place}`."""

    folder: Path
    place: str


def keep_to_ourselves() -> None:
    """Without it what is mounted here would appear on the host."""
    try:
        syscalls.mount("", "/", "none", syscalls.MS_REC | syscalls.MS_SLAVE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise PlatformError(
            "the root directory is no mount point (a chroot), so no program can have a file"
            " system view of its own",
            hint="mount --bind ROOT ROOT, then chroot ROOT again",
        ) from error


def bind_etc(folder: Path) -> None:
    """The folder's files over those in /etc."""
    wanted = [name for name in ETC_FILES if (folder / name).exists()]
    try:
        for name in wanted:
            syscalls.mount(str(folder / name), f"/etc/{name}", "none", syscalls.MS_BIND)
    except FileNotFoundError:
        # the host has no such file, or a dangling link: lay the folder over /etc as a whole
        syscalls.mount("overlay", "/etc", "overlay", 0, f"lowerdir={folder}:/etc")
    if Path("/run/nscd").is_dir():  # the host's name cache would answer before resolv.conf is read
        syscalls.mount("tmpfs", "/run/nscd", "tmpfs")


def mount_run(files: RunFiles) -> None:
    """A /run of its own with all that the host's has, and these files.

    The host's has no folder to bind them to, and gets none.
    """
    run = os.path.realpath("/var/run")
    before = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    was = Path(f"/proc/self/fd/{before}")
    try:
        syscalls.mount("tmpfs", run, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755")
        for entry in was.iterdir():
            if entry.name != Path(files.place).parts[0]:
                _bind_entry(entry, Path(run, entry.name))
    finally:
        os.close(before)
    target = Path(run, files.place)
    target.mkdir(parents=True)
    syscalls.mount(str(files.folder), str(target), "none", syscalls.MS_BIND)


def _bind_entry(source: Path, target: Path) -> None:
    """What is at `source` is at `target`, too; what has gone meanwhile is passed over."""
    with contextlib.suppress(FileNotFoundError):
        if source.is_symlink():
            target.symlink_to(source.readlink())
            return
        if source.is_dir():
            target.mkdir()
        else:
            target.touch()
        syscalls.mount(str(source), str(target), "none", syscalls.MS_BIND | syscalls.MS_REC)
