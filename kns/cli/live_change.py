"""Commands that change objects of the running lab: their options, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_options import starting_with
from kns.cli.options import waiting_option
from kns.cli.output import print_json, print_text
from kns.cli.streams import say
from kns.engine.api_client import APIClient
from kns.engine.labs import running
from kns.engine.live_change import LiveChange
from kns.engine.object_verbs import ObjectResult, Results
from kns.engine.objects import read_objects
from kns.errors import KnsError
from kns.kinds.objects import key_of
from kns.kinds.resources import RESOURCES, by_word, resource_of
from kns.report.cluster_changes import changes_text, outcome_json

#: the requests of a command, and what has become of each object
Act = Callable[[APIClient], Results]


#: of the verbs that change a lab
timeout_option = waiting_option(
    60.0, "How long to wait until all that follows is so; 0: not at all."
)


def change_lab(lab: str | None, act: Act, timeout: float, output: str | None) -> int:
    """Change the lab; say what was done, and what that has done to its network.

    Exit code 1 where something is not so when the time is up.
    """
    change = LiveChange(lab)
    results: list[ObjectResult] = []
    try:
        for result in act(change.client):
            results.append(result)
            for warning in result.warnings:
                say(f"warning: {warning}")
            if output != "json":
                click.echo(result.text)
    except KnsError:
        # what was done before stays so
        for result in results if output == "json" else ():
            say(result.text)
        raise
    if not results:
        say("none of it is there")
    outcome = change.finish([result.ref for result in results], timeout)
    if output == "json":
        print_json(outcome_json(change.lab, results, outcome))
    else:
        print_text(changes_text(outcome.changes))
    for waits in outcome.waits:
        say(f"not so after {timeout:g} s: {waits}")
    if outcome.waits:
        say("hint: kns events tells why; --timeout 0 does not wait")
    return EXIT_FAILED if outcome.waits else 0


# -- completion ------------------------------------------------------------------------------------


def complete_kind(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The kinds whose names start so; after `KIND/` their objects."""
    kind, slash, _ = incomplete.partition("/")
    if not slash:
        return starting_with(incomplete, (item.singular for item in RESOURCES))
    names = _names(context, kind)
    return starting_with(incomplete, (f"{kind}/{name}" for name in names))


def complete_object(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The objects of the kind that is named already."""
    return starting_with(incomplete, _names(context, str(context.params.get("kind"))))


def complete_workload(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The workloads whose names start so."""
    return starting_with(incomplete, _names(context, "deployment", "statefulset", "daemonset"))


def _names(context: click.Context, *kinds: str) -> list[str]:
    """The names of the lab's objects of some kinds, as its agent has them."""
    namespace = context.params.get("namespace") or "default"
    try:
        kept = read_objects(running(context.params.get("lab")).paths)
    except (KnsError, OSError):
        return []
    return [
        key_of(item).name
        for resource in filter(None, map(by_word, kinds))
        for item in (kept.objects if kept else ())
        if resource_of(item) == resource and key_of(item).namespace in {"", namespace}
    ]
