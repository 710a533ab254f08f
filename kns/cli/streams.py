"""Standard input, output and error as a command can rely on them, whoever started it."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kns.errors import Severity
from kns.report.printable import printable

if TYPE_CHECKING:
    from kns.errors import Problem

#: problems of a file: more of them hide the first, which the others often follow from
MOST_TOLD = 100
#: further places of a problem
_MOST_PLACES = 10
#: what stands for the signs of kns' own reports in an encoding that lacks them
_PLAIN = str.maketrans("✔✓✘✗→▶…·─│└µχ²×–—", "++xx>>.--|`uX2x--")


def prepare() -> None:
    """Make sure that 0, 1 and 2 are open, and that every character can be written.

    With `>&-` the next file that is opened would become standard output: the lab's lock, or a
    socket, and what is printed would land in it. A character that the locale's encoding lacks
    (`✔` in Latin-1) is shown as a plain one (`+`) or `?` rather than be an error.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # the lowest free descriptor: exactly this one
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(0, closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("kns.plain", _plain)
        sys.stdout.reconfigure(errors="kns.plain")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "replace").decode("ascii"), error.end


def say(text: str) -> None:
    """One message on stderr, nothing in it for a terminal to obey. Never fails."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()


def say_problems(problems: Sequence[Problem]) -> None:
    """Problems of a file on stderr, each with its hint; of very many the first ones.

    What is warned of in the same words at several places is said once.
    """
    told = [*_gathered(problems)]
    for problem, places in told[:MOST_TOLD]:
        say(str(problem))
        if problem.hint:
            say(f"  hint: {problem.hint}")
        if places:
            more = len(places) - _MOST_PLACES
            rest = f" and {more:,} more" if more > 0 else ""
            say(f"  also at {', '.join(places[:_MOST_PLACES])}{rest}")
    if len(told) > MOST_TOLD:
        say(f"… and {len(told) - MOST_TOLD:,} more")


def _gathered(problems: Sequence[Problem]) -> Iterator[tuple[Problem, Sequence[str]]]:
    """Each problem with the further places of a warning: those of another file with its name."""
    groups: dict[object, list[Problem]] = {}
    for number, item in enumerate(problems):
        said = (item.path.rpartition(".")[2], item.message, item.hint)
        same = said if item.severity is Severity.WARNING else number
        groups.setdefault(same, []).append(item)
    for first, *others in groups.values():
        # what has no place is told of in the same words as the first
        elsewhere = (item for item in others if item.line or item.file != first.file)
        yield first, [_place(item, first.file) for item in elsewhere]


def _place(item: Problem, file: str) -> str:
    if not item.line:
        return item.file
    place = f"{item.line}:{item.column}"
    return place if item.file == file else f"{item.file}:{place}"


def reader_is_gone() -> bool:
    """True if nobody reads our stdout any more, as in `kns get pods | head -1`.

    The kernel says so by POLLERR on the writing end of the pipe.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLERR)
    gone = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if gone:
        _divert(descriptor)
    return gone


def drop_unwritten() -> None:
    """Forget what can't be written (a full disk).

    Python would try again at exit, complain, and exit with 120 whatever the command's code is.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _divert(stream.fileno())
        except ValueError:
            continue


def _divert(descriptor: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
