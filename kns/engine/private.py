"""Folders and files that are their owner's alone."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

from kns.errors import PlatformError


def ensure_folder(path: Path) -> None:
    """Make the folder with mode 0700, parents included."""
    if path.is_dir():
        return
    ensure_folder(path.parent)  # Path.mkdir's own `parents` would be readable by everybody
    path.mkdir(mode=0o700, exist_ok=True)


def require_private(folder: Path) -> None:
    """PlatformError if what is at the path is no folder, or one that other users can change.

    Who can write there decides what kns does as root. A folder that is missing is fine.
    """
    try:
        status = folder.stat()
    except FileNotFoundError:
        if not folder.is_symlink():
            return
        status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        kind = "a link to nothing" if folder.is_symlink() else "not a folder"
        raise PlatformError(f"{folder} is {kind}", hint=f"rm {folder}: kns makes the folder itself")
    if status.st_uid not in {0, os.geteuid()}:
        raise PlatformError(
            f"{folder} belongs to user {status.st_uid}, and kns trusts what is in it",
            hint=f"look at what is in it, then chown {os.geteuid()} {folder}",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PlatformError(
            f"{folder} can be written by other users, and kns trusts what is in it",
            hint=f"look at what is in it, then chmod 700 {folder}",
        )


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file of mode 0600 by renaming, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{threading.get_native_id()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
