"""`LAB.yaml`: a file, `-` for stdin, or the name of a lab that comes with kns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

from kns.cli.streams import say
from kns.errors import UsageError
from kns.hints import closest
from kns.kinds.load import LoadedLab, load_files, read_lab
from kns.labfile.shipped import shipped_lab, shipped_labs

Function = TypeVar("Function", bound=Callable[..., object])


def complete_shipped(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The labs that come with kns whose names start so."""
    names = (lab.name for lab in shipped_labs())
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What the shell completes as a file, and the labs that come with kns."""
    return [CompletionItem(incomplete, "file"), *complete_shipped(context, parameter, incomplete)]


def lab_files_argument(function: Function) -> Function:
    """`LAB.yaml [MORE.yaml…]` as the argument `files`."""
    return click.argument(
        "files",
        metavar="LAB.yaml [MORE.yaml...]",
        nargs=-1,
        required=True,
        shell_complete=complete_files,
    )(function)


def load(files: Sequence[str]) -> LoadedLab:
    """Load a lab's files; `-` is stdin. UsageError if one can't be read."""
    loaded = load_files([_content(file) for file in files])
    for note in loaded.notes:
        say(note)
    return loaded


def _content(file: str) -> tuple[str, str | bytes]:
    if file == "-":
        return "<stdin>", sys.stdin.read()
    path = existing_file(file)
    return str(path), read_lab(path)


def existing_files(files: Sequence[str]) -> list[Path]:
    """The paths of a lab's files."""
    return [existing_file(file) for file in files]


def existing_file(file: str) -> Path:
    """The path of a lab file; where there is none of this name, of the lab that comes with kns.

    UsageError with what may have been meant if there is no such lab either.
    """
    path = Path(file)
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:
        # a name that no file can have; ValueError: a NUL in it
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise UsageError(f"{file}: {reason}", hint="name a lab file") from error
    is_folder = exists and path.is_dir()
    if (not exists or is_folder) and (lab := shipped_lab(file)) is not None:
        say(f"{file} is a lab that comes with kns: {lab.path}")
        return lab.path
    if not exists or not file:
        raise UsageError(
            f"{file!r}: no such file" if not file else f"{file}: no such file",
            hint=_nearest_lab(path),
        )
    if is_folder:
        raise UsageError(f"{file} is a folder", hint="name a lab file in it")
    return path


def _nearest_lab(path: Path) -> str:
    found = {lab.stem: str(lab) for lab in sorted(Path("labs").glob("*.yaml"))}
    if near := _near(path.stem, found):
        return f"did you mean {found[near]}?"
    if found:
        return f"labs here: {' '.join(found.values())}"
    shipped = [lab.name for lab in shipped_labs()]
    if near := _near(path.stem, shipped):
        return f"did you mean {near}, which comes with kns?"
    return f"name a lab file, or a lab that comes with kns: {' '.join(shipped)}"


def _near(name: str, known: Iterable[str]) -> str:
    """The known name that is nearly this one; nothing if none is."""
    return closest(name, known, cutoff=0.75)
