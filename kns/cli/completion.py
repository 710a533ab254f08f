"""`kns completion`, and what completes the names of labs, pods, services and nodes."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem, get_completion_class

from kns.errors import KnsError

KINDS = ("pod", "service", "node", "internet")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash:  kns completion bash | sudo tee /etc/bash_completion.d/kns
    zsh:   kns completion zsh > "${fpath[1]}/_kns"
    fish:  kns completion fish > ~/.config/fish/completions/kns.fish
    """
    from kns.cli.main import COMPLETE_VARIABLE, cli

    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(complete(cli, {}, "kns", COMPLETE_VARIABLE).source())


def labs(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The labs of this machine whose names start so."""
    from kns.engine.labs import list_labs

    try:
        return _starting_with(incomplete, list_labs())
    except (KnsError, OSError):
        return []


def shipped_labs(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The labs that come with kns whose names start so."""
    from kns.labfile import shipped

    return _starting_with(incomplete, (lab.name for lab in shipped.shipped_labs()))


def lab_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What the shell completes as a file, and the labs that come with kns."""
    return [CompletionItem(incomplete, "file"), *shipped_labs(context, parameter, incomplete)]


def names(
    context: click.Context, _parameter: click.Parameter, incomplete: str, kinds: tuple[str, ...]
) -> list[CompletionItem]:
    """The names of the running lab's objects of these kinds (none: of all) that start so."""
    from kns.engine.labs import running

    try:
        cluster = running(context.params.get("lab")).cluster
    except (KnsError, OSError):
        return []
    found = {
        "pod": [_short(pod.namespace, pod.name) for pod in cluster.pods],
        "service": [_short(service.namespace, service.name) for service in cluster.services],
        "node": [node.name for node in cluster.nodes],
        "internet": [host.name for host in cluster.internet],
    }
    return _starting_with(incomplete, (name for kind in kinds or KINDS for name in found[kind]))


def _short(namespace: str, name: str) -> str:
    return name if namespace == "default" else f"{namespace}/{name}"


def _starting_with(incomplete: str, candidates: Iterable[str]) -> list[CompletionItem]:
    unique = dict.fromkeys(name for name in candidates if name.startswith(incomplete))
    return [CompletionItem(name) for name in unique]
