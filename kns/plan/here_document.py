"""Texts in a shell script: as a here-document, to a program or into a file."""

from __future__ import annotations

from shlex import quote


def fed(command: str, text: str) -> str:
    """The command with the text, which ends with a line break, as its input."""
    end = "END"
    while end in text.splitlines():  # a here-document ends at the first such line
        end += "_"
    return f"{command} <<'{end}'\n{text}{end}"


def write_file(path: str, text: str) -> str:
    """The command that writes a file."""
    if not text.endswith("\n"):  # a here-document always does
        return f"printf %s {quote(text)} >{quote(path)}"
    return fed(f"cat >{quote(path)}", text)
