"""The options and argument types that several verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import click

from kns.cli import completion
from kns.cluster.model import ProxyMode
from kns.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., object])
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
#: seconds for which anything may be asked to last
_LONGEST = 3600.0


def lab_option(function: Function) -> Function:
    """`-l LAB`, or KNS_LAB: the lab that a command works on, when several are running."""
    return click.option(
        "-l",
        "--lab",
        envvar="KNS_LAB",
        metavar="LAB",
        shell_complete=completion.labs,
        help="The lab; needed when several are running (or KNS_LAB).",
    )(function)


def lab_file_argument(function: Function) -> Function:
    """`LAB.yaml`: a lab file, or the name of a lab that comes with kns."""
    return click.argument("file", metavar="LAB.yaml", shell_complete=completion.lab_files)(function)


def lab_argument(function: Function) -> Function:
    """`[LAB]` as an argument; combine it with `-l` by `one_lab`."""
    return click.argument(
        "lab_name", metavar="[LAB]", required=False, shell_complete=completion.labs
    )(function)


def one_lab(argument: str | None, option: str | None) -> str | None:
    """The lab named by argument or by -l; the argument is nearer than KNS_LAB."""
    if argument == "":
        # `kns down "$LAB"` with LAB unset must not mean "the lab that happens to run"
        raise UsageError("the lab's name is empty", hint="leave it out, or name a lab")
    context = click.get_current_context()
    source = context.get_parameter_source("lab")
    if argument and option and argument != option and source is not None:
        if source.name == "ENVIRONMENT":
            return argument
        raise UsageError(f"two labs are named: {argument} and {option}", hint="name the lab once")
    return argument or option


def output_option(*formats: str) -> Callable[[Function], Function]:
    """`-o FORMAT`; without it the output is for people."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        help="Print it in this form.",
    )


def target_argument(*kinds: str) -> Callable[[Function], Function]:
    """`TARGET`: an object of one of these kinds, by name; completes the running lab's names."""
    return click.argument("target", shell_complete=partial(completion.names, kinds=kinds))


def source_argument(function: Function) -> Function:
    """`SRC`: where a probe, a trace or a question starts."""
    return click.argument(
        "source",
        metavar="SRC",
        shell_complete=partial(completion.names, kinds=("pod", "node", "internet")),
    )(function)


def destination_argument(function: Function) -> Function:
    """`DST`: what a probe or a trace leads to, services included."""
    return click.argument(
        "target",
        metavar="DST",
        shell_complete=partial(completion.names, kinds=completion.KINDS),
    )(function)


def proxy_mode_option(function: Function) -> Function:
    """`--proxy-mode M`: kube-proxy's mode, in place of the file's."""
    return click.option(
        "--proxy-mode",
        type=click.Choice([str(mode) for mode in ProxyMode]),
        help="kube-proxy's mode, in place of the file's.",
    )(function)


def duration(text: str) -> float:
    """The seconds in `10s`, `500ms`, `2m` or a bare number. UsageError if it is no such time."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|)", text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= _LONGEST:
        raise UsageError(f"{text!r} is no time from 1ms to 60m", hint="10s, 500ms, 2m")
    return seconds
