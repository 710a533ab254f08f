"""`-o FORMAT`, and how results are printed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from typing import TextIO, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., object])
#: lines that are longer than this are hard to read, however wide the terminal is
_WIDEST = 110


def output_option(*formats: str) -> Callable[[Function], Function]:
    """`-o FORMAT`; without it the output is for people."""
    return click.option("-o", "--output", type=click.Choice(formats), help="Print it in this form.")


def print_text(text: str) -> None:
    """Text that ends its last line itself."""
    click.echo(text, nl=False)


def print_json(value: object) -> None:
    """Indented JSON, in ASCII where the output can't be UTF-8: no sign is lost."""
    plain = sys.stdout.encoding.lower().replace("-", "") != "utf8"
    click.echo(json.dumps(value, indent=2, ensure_ascii=plain))


def on_terminal() -> bool:
    """True if somebody reads along."""
    return sys.stdout.isatty()


def coloured() -> bool:
    """True if somebody sees colours, and wants them (https://no-color.org)."""
    return obeys_escapes(sys.stdout) and not os.environ.get("NO_COLOR")


def obeys_escapes(stream: TextIO) -> bool:
    """True if the stream is a terminal that knows escape sequences: a dumb one shows them."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width(without_terminal: int = 100, widest: int | None = _WIDEST) -> int:
    """Columns for a line."""
    columns = shutil.get_terminal_size((without_terminal, 24)).columns
    return columns if widest is None else min(columns, widest)


def terminal_width() -> int | None:
    """Columns of the terminal; None if it is none: a program finds a line an object."""
    return width(widest=None) if on_terminal() else None
