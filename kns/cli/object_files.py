"""FILE…: Kubernetes objects as `kubectl get -o yaml` prints them; `-` is stdin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import click

from kns.cli.lab_files import existing_file
from kns.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., object])


def files_argument(function: Function) -> Function:
    """`FILE…` as the argument `files`, or `-f FILE` as the option `filenames`."""
    option = click.option(
        "-f",
        "--filename",
        "filenames",
        multiple=True,
        type=click.Path(),
        help="A file, as kubectl names it.",
    )
    argument = click.argument("files", metavar="FILE...", nargs=-1, type=click.Path())
    return option(argument(function))


def named_files(files: Iterable[str], filenames: Iterable[str]) -> tuple[str, ...]:
    """All files that are named, either way. UsageError if none is."""
    found = (*files, *filenames)
    if not found:
        raise UsageError("no file is named", hint="name a file of Kubernetes objects; - is stdin")
    return found


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
