"""The click group `kns`: imports the module of the verb that is called, and no other."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback
from dataclasses import dataclass
from typing import NoReturn

import click
from click.shell_completion import CompletionItem, shell_complete

from kns import __version__
from kns.cli import registry, signals
from kns.cli.exits import exit_code
from kns.cli.registry import ELSEWHERE, VERBS
from kns.errors import UsageError
from kns.hints import closest
from kns.kinds.release import Release

#: verbs that make many clusters in one process
LONG_RUNNING = frozenset({"bench", "compare"})
#: the shells' completion scripts set it; click's name for it
COMPLETE_VARIABLE = "_KNS_COMPLETE"
#: ways to end that are no errors
_NO_TRACEBACK = (SystemExit, BrokenPipeError, click.exceptions.Exit)


@dataclass(slots=True)
class Settings:
    """What the options of `kns` itself say; `context.obj` of every command."""

    debug: bool = False


class KnsGroup(click.Group):
    """The top-level command: its verbs are the registry's."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Every verb, in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the verb's module; each verb also takes `--debug` after its name."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"kns.cli.{cmd_name}")
        command: click.Command = module.command
        command.name = cmd_name
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(_debug_option(hidden=True))
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The verbs that start so, and the options of `kns` itself."""
        found = [CompletionItem(n, help=v) for n, v in VERBS.items() if n.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or suggest the nearest one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            _refuse_unknown_verb(ctx, args[0])
        found = super().resolve_command(ctx, args)
        signals.unwind()
        return found

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002
        """The registry's text."""
        return registry.help_text().removesuffix("\n")


def _refuse_unknown_verb(ctx: click.Context, name: str) -> NoReturn:
    if name in ELSEWHERE:
        raise UsageError(f"there is no command {name!r}", hint=ELSEWHERE[name])
    near = closest(name, VERBS)
    hint = f"did you mean kns {near}?" if near else f"{ctx.command_path} --help"
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
        first, *_, last = Release
        click.echo(f"kns {__version__} (kube-proxy {first} to {last})")
        ctx.exit()


kns = KnsGroup(
    name="kns",
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


def run(arguments: list[str]) -> int:
    """Run the command; return its exit code, or that of the error after it has been told."""
    settings = Settings()
    try:
        return _run(arguments, settings)
    except BaseException as error:
        if settings.debug and not isinstance(error, _NO_TRACEBACK):
            traceback.print_exception(error)
        return exit_code(error)


def _run(arguments: list[str], settings: Settings) -> int:
    """As click's own `main`, which would turn SIGTERM into Ctrl-C and EPIPE into exit code 1."""
    instruction = os.environ.get(COMPLETE_VARIABLE)
    if instruction:
        return shell_complete(kns, {}, "kns", COMPLETE_VARIABLE, instruction)
    if not LONG_RUNNING.intersection(arguments[:1]):
        # collecting cycles while some 400 modules are imported and thousands of frozen objects
        # are made costs a sixth of the time of `up`
        gc.disable()
    with kns.make_context("kns", arguments, obj=settings) as context:
        result = kns.invoke(context)
    sys.stdout.flush()
    return result if isinstance(result, int) and not isinstance(result, bool) else 0
