"""`kns script`."""

from __future__ import annotations

import click

from kns.cli.lab_files import existing_file, lab_file_argument
from kns.cli.options import proxy_mode_option, release_option
from kns.cli.output import print_text
from kns.cli.streams import say_problems
from kns.engine.up import script
from kns.kinds.networking import ProxyMode
from kns.kinds.release import Release


@click.command()
@lab_file_argument
@proxy_mode_option
@release_option
def command(file: str, proxy_mode: ProxyMode | None, release: Release | None) -> None:
    """Print a POSIX shell script that builds the lab by ip, sysctl, iptables-restore.

    It builds from nothing and starts the lab's programs; kns down removes it; kns up afterwards
    takes over what runs and adds the built-in servers only.
    """
    text, warnings = script(existing_file(file), proxy_mode, release)
    say_problems(warnings)
    print_text(text)
