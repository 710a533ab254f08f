"""FILE…: Kubernetes objects as `kubectl get -o yaml` prints them; `-` is stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from kns.cli.lab_files import existing_file
from kns.errors import UsageError


def contents(files: Iterable[str]) -> list[tuple[str, bytes]]:
    """The name and the content of each file. UsageError if one can't be read."""
    return [("<stdin>" if file == "-" else file, _content(file)) for file in files]


def contents_or_labs(files: Iterable[str]) -> list[tuple[str, bytes]]:
    """The same where a lab file will do, too: a name of no file is that of a shipped lab."""
    return contents(file if file == "-" else str(existing_file(file)) for file in files)


def _content(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{file}: no such file") from None
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
