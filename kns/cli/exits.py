"""Whatever goes wrong → a message on stderr and an exit code.

Exit codes are an interface: 0 ok, 1 a check failed, 2 usage or file wrong, 3 this machine can't,
4 the kernel refused, 70 a bug in kns (EX_SOFTWARE of sysexits.h), 130 and 143 interrupted by
SIGINT and SIGTERM, 141 the reader of the output went away.
"""

from __future__ import annotations

import errno
import os

import click

from kns.cli import streams
from kns.cli.signals import Terminated
from kns.errors import KnsError, PlatformError, SpecError, from_os_error
from kns.invocation import as_root

#: a check failed, or something differs from the file
EXIT_FAILED = 1
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_READER_GONE = 141
EXIT_TERMINATED = 143


def exit_code(error: BaseException) -> int:
    """Say on stderr what went wrong, and return the exit code that belongs to it."""
    if (interruption := _interruption(error)) is not None:
        terminated = isinstance(interruption, Terminated)
        streams.say("kns: terminated" if terminated else "kns: interrupted")
        return EXIT_TERMINATED if terminated else EXIT_INTERRUPTED
    match error:
        case SystemExit():
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        case click.exceptions.Exit():
            code = error.exit_code
        case KnsError():
            _say_kns_error(error)
            code = error.exit_code
        case click.ClickException():
            _say_usage_error(error)
            code = error.exit_code
        case BrokenPipeError() if streams.reader_is_gone():
            code = EXIT_READER_GONE
        case OSError() | MemoryError() | RuntimeError() if (refusal := _refusal(error)) is not None:
            code = exit_code(refusal)
        case BaseExceptionGroup():
            # several things went wrong, as in `down`: say each; the gravest exit code counts
            code = max(exit_code(one) for one in error.exceptions)
        case _:
            _say_bug(error)
            code = EXIT_BUG
    streams.drop_unwritten()
    return code


def _interruption(error: BaseException) -> BaseException | None:
    """The signal that is behind the error: in a class body, Python raises RuntimeError from it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt | click.Abort):
        cause = cause.__cause__
    return cause


def _refusal(error: Exception) -> PlatformError | None:
    """What this machine withholds from us; None if the error says nothing of the kind."""
    if isinstance(error, PermissionError) and os.geteuid() != 0:
        return PlatformError(f"{error}: this needs root", hint=as_root())
    if isinstance(error, MemoryError):
        error = OSError(errno.ENOMEM, "")
    elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        error = OSError(errno.EAGAIN, "")
    found = from_os_error(error) if isinstance(error, OSError) else None
    return found if isinstance(found, PlatformError) else None


def _say_usage_error(error: click.ClickException) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        streams.say(error.format_message())
        return
    streams.say(f"error: {error.format_message()}")
    context = getattr(error, "ctx", None)
    if context is not None:
        streams.say(f"hint: {context.command_path} --help")


def _say_kns_error(error: KnsError) -> None:
    if isinstance(error, SpecError):
        streams.say_problems((*error.problems, *error.warnings))
    streams.say(f"error: {error.message}")
    if error.hint:
        streams.say(f"hint: {error.hint}")


def _say_bug(error: BaseException) -> None:
    streams.say(f"error: this is a bug in kns: {type(error).__name__}: {error}")
    streams.say("hint: run it again with --debug and report what it prints")
