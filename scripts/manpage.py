"""Writes the man page kns.1 from the help of the commands:  python scripts/manpage.py FILE"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from docutils.core import publish_string

from kns import __version__
from kns.cli import registry
from kns.cli.commands import kns

#: what a terminal of 80 columns leaves beside the indentation
WIDTH = 72


def main() -> None:
    """Write the page to the file named on the command line."""
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(page())


def page() -> bytes:
    """The page in troff; docutils.utils.SystemMessage if the source has a fault."""
    options = {"input_encoding": "unicode", "halt_level": 2, "report_level": 2}
    made: bytes = publish_string(source(), writer="manpage", settings_overrides=options)
    return made


def source() -> str:
    """The page in reStructuredText."""
    context = click.Context(kns, info_name="kns", max_content_width=WIDTH)
    help_text = registry.help_text()
    examples = help_text.partition("Examples:\n")[2]
    lines = [
        *("===", "kns", "===", ""),
        *("-" * 80, "Kubernetes networking made of the Linux kernel's own parts", "-" * 80, ""),
        *(":Manual section: 1", ":Manual group: User Commands", f":Version: kns {__version__}", ""),
        *heading("Synopsis"),
        *("**kns** [*OPTIONS*] *COMMAND* [*ARGS*]...", ""),
        *heading("Commands"),
        *commands(kns, context),
        *heading("Examples"),
        *literal(examples.partition("\n\n")[0]),
        *heading("Names and exit status"),
        *literal(examples.partition("\n\n")[2]),
        *heading("Environment"),
        *("``KNS_LAB``", "    the lab that commands work on, as ``-l`` names it", ""),
        *("``KNS_DEBUG``", "    show Python's traceback with every error", ""),
        *heading("Files"),
        *("``/run/kns/LAB``", "    a lab's files; ``kns down`` needs none of them", ""),
        *heading("See also"),
        *("ip-netns(8), iptables(8), ipvsadm(8), nft(8), https://kns-lab.github.io/kns/", ""),
    ]
    return "\n".join(lines)


def commands(group: click.Group, parent: click.Context) -> Iterator[str]:
    """How each command is called, what it does, its options; of groups in the group, too."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None  # noqa: S101 - the group has listed it
        context = click.Context(command, info_name=name, parent=parent)
        pieces = " ".join(command.collect_usage_pieces(context))
        yield from heading(f"{escaped(context.command_path)} {escaped(pieces)}", "~")
        yield from description(command.help or "")
        for option in command.params:
            record = option.get_help_record(context)
            if record is not None and record[1]:
                yield from (escaped(record[0]), f"    {escaped(record[1])}", "")
        if isinstance(command, click.Group):
            yield from commands(command, context)


def description(text: str) -> Iterator[str]:
    """The help's paragraphs; what click must not wrap is shown as it stands."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if "\b" in paragraph:
            yield from literal(paragraph.replace("\b\n", "").replace("\b", ""))
        elif paragraph.strip():
            yield from (escaped(" ".join(paragraph.split())), "")


def literal(text: str) -> Iterator[str]:
    """A block that is shown as it stands."""
    yield from ("::", "", *(f"    {line}" for line in text.strip("\n").splitlines()), "")


def heading(text: str, line: str = "=") -> tuple[str, ...]:
    """A section's heading; a line shorter than the text is an error."""
    return text, line * len(text), ""


def escaped(text: str) -> str:
    """The text without what reStructuredText would take for markup."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


if __name__ == "__main__":
    main()
