"""Folders and files that are their owner's alone."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def ensure_folder(path: Path) -> None:
    """Make the folder with mode 0700, parents included."""
    if path.is_dir():
        return
    ensure_folder(path.parent)  # Path.mkdir's own `parents` would be readable by everybody
    path.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 by renaming, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{threading.get_native_id()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
