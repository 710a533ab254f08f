"""The entry of `kns`: finds the verb, and turns whatever goes wrong into a message and exit code.

Exit codes are an interface: 0 ok, 1 a check failed, 2 usage or file wrong, 3 this machine can't,
4 the kernel refused, 70 a bug in kns (EX_SOFTWARE of sysexits.h), 130 and 143 interrupted by
SIGINT and SIGTERM, 141 the reader of the output went away.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from kns import __version__
from kns.cli import streams
from kns.cli.registry import EXAMPLES, FOOTER, VERB_GROUPS, VERBS
from kns.errors import KnsError, PlatformError, SpecError, UsageError, from_os_error

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: verbs that make many clusters in one process
LONG_RUNNING = frozenset({"bench", "compare"})
#: the shells' completion scripts set it; click's name for it
COMPLETE_VARIABLE = "_KNS_COMPLETE"

EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_READER_GONE = 141
EXIT_TERMINATED = 143


#: ways to end that are no errors
_NO_TRACEBACK = (SystemExit, BrokenPipeError, click.exceptions.Exit)


@dataclass(slots=True)
class Settings:
    """What the options of `kns` itself say; `context.obj` of every command."""

    debug: bool = False


class Terminated(KeyboardInterrupt):
    """SIGTERM: unwinds like Ctrl-C, so that an operation under way rolls back."""


class KnsGroup(click.Group):
    """The top-level command: lists verbs from the registry, imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Every verb, in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the verb's module; each verb also takes `--debug` after its name."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        module = importlib.import_module(verb.module)
        command: click.Command = getattr(module, verb.attribute or verb.name)
        command.name = verb.name
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(_debug_option(hidden=True))
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The verbs that start so, and the options of `kns` itself."""
        from click.shell_completion import CompletionItem

        verbs = [verb for verb in VERBS.values() if verb.name.startswith(incomplete)]
        found = [CompletionItem(verb.name, help=verb.help) for verb in verbs]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or suggest the nearest one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            _refuse_unknown_verb(ctx, args[0])
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs by family, from the registry alone."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        width = max(len(name) for name in VERBS)
        for group in VERB_GROUPS:
            formatter.write(f"\n{group.title}:\n")
            for verb in group.verbs:
                formatter.write(f"  {verb.name:<{width}}  {verb.help}\n")
        self.format_options(ctx, formatter)
        formatter.write(f"\n{EXAMPLES}\n{FOOTER}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Nothing: `format_help` has already listed the verbs."""


def _refuse_unknown_verb(ctx: click.Context, name: str) -> NoReturn:
    import difflib

    near = difflib.get_close_matches(name, VERBS, n=1)
    hint = f"did you mean kns {near[0]}?" if near else f"{ctx.command_path} --help"
    raise UsageError(f"there is no command {name!r}", hint=hint)


def _set_debug(ctx: click.Context, _parameter: click.Parameter, value: object) -> None:
    if value:
        ctx.ensure_object(Settings).debug = True


def _debug_option(*, hidden: bool = False) -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        hidden=hidden,
        is_eager=True,
        envvar="KNS_DEBUG",
        callback=_set_debug,
        help="Show Python's traceback with every error.",
    )


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"kns {__version__}")
        ctx.exit()


cli = KnsGroup(
    name="kns",
    help="Kubernetes networking made of the Linux kernel's own parts, on one machine.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        _debug_option(),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Print the version.",
        ),
    ],
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `kns` with these arguments (default: the process's own) and return the exit code."""
    if arguments is None and not LONG_RUNNING.intersection(sys.argv[1:2]):
        # a process of its own, and a short one: collecting cycles while some 400 modules are
        # imported and thousands of frozen objects are made costs a sixth of the time of `up`
        gc.disable()
    settings = Settings()
    streams.prepare()
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments), settings)
    except BaseException as error:
        if settings.debug and not isinstance(error, _NO_TRACEBACK):
            import traceback

            traceback.print_exception(error)
        return exit_code(error)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _run(arguments: list[str], settings: Settings) -> int:
    """As click's own `main`, which would turn SIGTERM into Ctrl-C and EPIPE into exit code 1."""
    instruction = os.environ.get(COMPLETE_VARIABLE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "kns", COMPLETE_VARIABLE, instruction)
    with cli.make_context("kns", arguments, obj=settings) as context:
        result = cli.invoke(context)
    sys.stdout.flush()
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


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
        return lacks_privileges(str(error))
    if isinstance(error, MemoryError):
        error = OSError(errno.ENOMEM, "")
    elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        error = OSError(errno.EAGAIN, "")
    found = from_os_error(error) if isinstance(error, OSError) else None
    return found if isinstance(found, PlatformError) else None


def lacks_privileges(what: str) -> PlatformError:
    """The error of a command that needs root, started by somebody else."""
    command = shlex.join(["sudo", "kns", *sys.argv[1:]])
    return PlatformError(f"{what}: this needs root", hint=command)


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
        for problem in error.problems:
            streams.say(str(problem))
            if problem.hint:
                streams.say(f"  hint: {problem.hint}")
    streams.say(f"error: {error.message}")
    if error.hint:
        streams.say(f"hint: {error.hint}")


def _say_bug(error: BaseException) -> None:
    streams.say(f"error: this is a bug in kns: {type(error).__name__}: {error}")
    streams.say("hint: run it again with --debug and report what it prints")


if __name__ == "__main__":
    sys.exit(main())
