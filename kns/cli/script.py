"""`kns script`."""

from __future__ import annotations

import click

from kns.cli.lab_files import existing_files, lab_files_argument
from kns.cli.options import proxy_mode_option, release_option
from kns.cli.output import print_text
from kns.cli.streams import say_problems
from kns.engine.up import script
from kns.kinds.networking import ProxyMode
from kns.kinds.release import Release


@click.command()
@lab_files_argument
@proxy_mode_option
@release_option
def command(files: tuple[str, ...], proxy_mode: ProxyMode | None, release: Release | None) -> None:
    """Print a POSIX shell script that builds the lab by ip, sysctl, iptables-restore.

    It builds from nothing and starts the lab's programs; kns down removes it; kns up afterwards
    takes over what runs and adds the built-in servers only.
    """
    path, *more = existing_files(files)
    text, warnings = script(path, proxy_mode, release, more)
    say_problems(warnings)
    print_text(text)
