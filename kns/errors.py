"""The exceptions that kns raises on purpose; anything else that escapes is a bug.

KnsError                   message + hint; the command line prints both and exits with `exit_code`
├── UsageError         2   a name, option or combination that makes no sense for this lab
├── SpecError          2   the lab file is wrong; carries every `Problem` of the file at once
├── PlatformError      3   this machine lacks a kernel feature, a tool or a privilege
├── ApplyError         4   the kernel (or a tool that programs it) refused an operation
├── LockedError        4   another kns process works on this lab
├── CancelledError   130   a signal came in the middle of a plan, which was taken back
└── ProbeError         4   a probe could not be carried out (its failing is a result, not an error)
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import StrEnum


class KnsError(Exception):
    """Base of every error that a user can cause; `hint` says what to do about it."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(KnsError):
    """A name, option or combination that makes no sense for this lab."""

    exit_code = 2


class Severity(StrEnum):
    """How bad a `Problem` is: errors stop, warnings are printed."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a file. `line` and `column` count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        where = f"{self.path}: " if self.path else ""
        prefix = "warning: " if self.severity is Severity.WARNING else ""
        return f"{place}: {prefix}{where}{self.message}"


#: problems of one file from which on nothing more of it is read: who has so many has one mistake
MOST_PROBLEMS = 1000


class SpecError(KnsError):
    """The file is wrong; `problems` holds every error of it, in file order.

    Of a file with more than MOST_PROBLEMS errors in its fields those after them are not among them.
    `warnings` are what is known of it besides.
    """

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...], warnings: tuple[Problem, ...] = ()) -> None:
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the file")
        self.problems = problems
        self.warnings = warnings


class PlatformError(KnsError):
    """This machine lacks a kernel feature, a tool or a privilege."""

    exit_code = 3


class ApplyError(KnsError):
    """The kernel, or a tool that programs it, refused `op` in `netns`."""

    exit_code = 4

    def __init__(self, message: str, *, op: str = "", netns: str = "", hint: str = "") -> None:
        place = f"{netns}: " if netns else ""
        what = f"{op}: " if op else ""
        super().__init__(f"{place}{what}{message}", hint=hint)
        self.op = op
        self.netns = netns


class LockedError(KnsError):
    """Another kns process holds the lab's lock."""

    exit_code = 4


class CancelledError(KnsError):
    """Somebody asked to stop in the middle of a plan."""

    #: 128 + SIGINT, as shells count; whoever caught the signal puts its own number in
    exit_code = 130


class ProbeError(KnsError):
    """A probe could not be carried out at all."""

    exit_code = 4


#: what a machine runs out of, or withholds, by errno; and what to do about it
WITHHELD = {
    errno.EACCES: "does this root have all of root's capabilities? kns doctor tells",
    errno.EPERM: "does this root have all of root's capabilities? kns doctor tells",
    errno.EROFS: "kns needs to write /run/kns, /run/netns and /proc/sys/net",
    errno.ENOSPC: "make room there; df and df -i tell which file system is full",
    errno.EFBIG: "raise the limit on the size of files: ulimit -f unlimited",
    errno.EDQUOT: "make room there; quota tells what is used",
    errno.EMFILE: "raise the limit on open files: ulimit -n 65536",
    errno.ENFILE: "raise the limit on open files: sysctl fs.file-max",
    errno.EAGAIN: "raise the limit on processes and threads: ulimit -u",
    errno.ENOMEM: "free some memory, or build a smaller lab",
    errno.EIO: "dmesg may tell more",
}


def from_os_error(error: OSError, *, op: str = "", netns: str = "") -> ApplyError | PlatformError:
    """The error for what a system call refused: the machine's fault where errno says so."""
    what = error.strerror or os.strerror(error.errno or 0)
    # a file that `op` names already needs no second naming
    place = f"{error.filename}: " if error.filename and not op else ""
    hint = WITHHELD.get(error.errno or 0)
    refusal = ApplyError(f"{place}{what[:1].lower()}{what[1:]}", op=op, netns=netns)
    if hint is None:
        return refusal
    return PlatformError(refusal.message, hint=hint)
