"""`kns completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from kns.cli.commands import COMPLETE_VARIABLE, kns
from kns.cli.output import print_text


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash:  kns completion bash | sudo tee /etc/bash_completion.d/kns
    zsh:   kns completion zsh > "${fpath[1]}/_kns"
    fish:  kns completion fish > ~/.config/fish/completions/kns.fish
    """
    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"no completion for {shell}")
    print_text(complete(kns, {}, "kns", COMPLETE_VARIABLE).source() + "\n")
