"""Which running lab, and which of its objects: options and arguments that complete themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

from kns.engine.labs import list_labs, running
from kns.errors import KnsError, UsageError
from kns.probe.names import known_names
from kns.promise.location import LocationKind

Function = TypeVar("Function", bound=Callable[..., object])


# -- completion ------------------------------------------------------------------------------------


def starting_with(incomplete: str, candidates: Iterable[str]) -> list[CompletionItem]:
    """Those of the candidates that go on so."""
    unique = dict.fromkeys(name for name in candidates if name.startswith(incomplete))
    return [CompletionItem(name) for name in unique]


def _labs(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The labs of this machine whose names start so."""
    try:
        return starting_with(incomplete, list_labs())
    except (KnsError, OSError):
        return []


def _objects(
    context: click.Context,
    _parameter: click.Parameter,
    incomplete: str,
    kinds: tuple[LocationKind, ...],
) -> list[CompletionItem]:
    """The names of the running lab's objects of these kinds that start so."""
    try:
        cluster = running(context.params.get("lab")).cluster
    except (KnsError, OSError):
        return []
    return starting_with(incomplete, known_names(cluster, kinds))


def _containers(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The containers of the pod that is named already."""
    try:
        pods = running(context.params.get("lab")).cluster.pods
    except (KnsError, OSError):
        return []
    name = str(context.params.get("target", "")).removeprefix("pod/")
    wanted = (name, f"default/{name}")
    names = (c.name for pod in pods if pod.full_name in wanted for c in pod.containers)
    return starting_with(incomplete, names)


# -- the lab ---------------------------------------------------------------------------------------


def lab_option(function: Function) -> Function:
    """`-l LAB`, or KNS_LAB: the lab that a command works on, when several are running."""
    return click.option(
        "-l",
        "--lab",
        envvar="KNS_LAB",
        metavar="LAB",
        shell_complete=_labs,
        help="The lab; needed when several are running (or KNS_LAB).",
    )(function)


def namespace_option(function: Function) -> Function:
    """`-n NAMESPACE`: where objects are whose names say nothing of it."""
    return click.option(
        "-n", "--namespace", default="default", show_default=True, help="The namespace."
    )(function)


def lab_argument(function: Function) -> Function:
    """`[LAB]` as an argument; combine it with `-l` by `one_lab`."""
    return click.argument("lab_name", metavar="[LAB]", required=False, shell_complete=_labs)(
        function
    )


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


# -- its objects -----------------------------------------------------------------------------------


def object_argument(
    name: str, metavar: str, *kinds: LocationKind, required: bool = True, several: bool = False
) -> Callable[[Function], Function]:
    """An object of one of these kinds, by its name, or several of them."""
    complete = partial(_objects, kinds=kinds)
    count = -1 if several else 1
    return click.argument(
        name, metavar=metavar, required=required, nargs=count, shell_complete=complete
    )


#: what a program can run in
HOSTS = (LocationKind.POD, LocationKind.NODE, LocationKind.INTERNET)
#: a node
node_argument = object_argument("node", "NODE", LocationKind.NODE)
#: several of them
nodes_argument = object_argument("nodes", "NODE...", LocationKind.NODE, several=True)
#: where a probe, a trace or a question starts
source_argument = object_argument("source", "SRC", *HOSTS)
#: what a probe or a trace leads to, services included
destination_argument = object_argument("target", "DST", *LocationKind)
#: where a program can run
target_argument = object_argument("target", "TARGET", *HOSTS)


def container_option(default: str) -> Callable[[Function], Function]:
    """`-c CONTAINER`: which of a pod's containers; `default` says which without."""
    return click.option(
        "-c",
        "--container",
        shell_complete=_containers,
        help=f"The container of a pod (default: {default}).",
    )
