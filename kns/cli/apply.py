"""`kns apply`."""

from __future__ import annotations

import click

from kns.cli.lab_options import lab_option, namespace_option
from kns.cli.live_change import change_lab, timeout_option
from kns.cli.object_files import contents, files_argument, named_files
from kns.cli.output import output_option
from kns.engine import object_verbs


@click.command()
@files_argument
@namespace_option
@timeout_option
@output_option("json")
@lab_option
def command(
    *,
    files: tuple[str, ...],
    filenames: tuple[str, ...],
    namespace: str,
    timeout: float,
    output: str | None,
    lab: str | None,
) -> int:
    """Have the running lab hold the Kubernetes objects of the files; `-` is stdin.

    As kubectl's server-side apply: an object that is there is changed, one that is not is made.
    Nothing is applied where one of them is wrong by itself. It waits until all that follows is so,
    and says what that has done to the network: pods, endpoints, rules. `kns up` with the lab's
    file takes it back. Exit code 1 if something is not so in time.

    \b
      kns apply -f web.yaml
      kubectl create deployment web --image=x --dry-run=client -o yaml |
        kns apply -
    """
    found = contents(named_files(files, filenames))
    return change_lab(
        lab, lambda client: object_verbs.apply(client, found, namespace), timeout, output
    )
