"""`kns delete`."""

from __future__ import annotations

import click

from kns.cli.lab_options import lab_option, namespace_option
from kns.cli.live_change import change_lab, complete_kind, complete_object, timeout_option
from kns.cli.object_files import contents
from kns.cli.output import output_option
from kns.engine import object_verbs
from kns.engine.api_client import APIClient
from kns.engine.object_verbs import Results
from kns.errors import UsageError
from kns.kinds.resources import Resource


@click.command()
@click.argument("kind", metavar="KIND", required=False, shell_complete=complete_kind)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_object)
@click.option(
    "-f", "--filename", "filenames", multiple=True, help="The objects of a file; - is stdin."
)
@click.option(
    "--grace-period", type=click.IntRange(min=0), help="Seconds that a pod has to end; 0: at once."
)
@namespace_option
@timeout_option
@output_option("json")
@lab_option
def command(  # noqa: PLR0913 - one parameter an option
    *,
    kind: str | None,
    names: tuple[str, ...],
    filenames: tuple[str, ...],
    grace_period: int | None,
    namespace: str,
    timeout: float,
    output: str | None,
    lab: str | None,
) -> int:
    """Delete objects of the running lab, and wait until they are gone.

    A pod of a Deployment comes back under another name, with another address. `kns up` with the
    lab's file takes the deletion back. Exit code 1 if something is not gone in time.

    \b
      kns delete pod web-1
      kns delete svc/web deploy/web
      kns delete -f web.yaml
    """
    if filenames and kind is not None:
        raise UsageError("a file and names are given", hint="delete the one, then the other")
    found = contents(filenames)
    targets = [] if filenames else _targets(kind, names)

    def act(client: APIClient) -> Results:
        if filenames:
            return object_verbs.delete_files(client, found, namespace, grace_period)
        return object_verbs.delete(client, targets, namespace, grace_period)

    return change_lab(lab, act, timeout, output)


def _targets(kind: str | None, names: tuple[str, ...]) -> list[tuple[Resource, str]]:
    if kind is None:
        raise UsageError("nothing is named", hint="kns delete KIND NAME, or -f FILE")
    if "/" in kind:
        return [_target(word) for word in (kind, *names)]
    resource = object_verbs.resource_named(kind)
    if not names:
        raise UsageError(f"no {resource.singular} is named", hint=f"kns delete {kind} NAME")
    return [(resource, name) for name in names]


def _target(word: str) -> tuple[Resource, str]:
    kind, slash, name = word.partition("/")
    if not slash or not name:
        raise UsageError(f"{word!r} names no object", hint="write all of them as KIND/NAME")
    return object_verbs.resource_named(kind), name
