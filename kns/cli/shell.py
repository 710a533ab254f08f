"""`kns shell`."""

from __future__ import annotations

import os

import click

from kns.cli.inside import become
from kns.cli.lab_options import container_option, lab_option, target_argument


@click.command()
@target_argument
@container_option("its first")
@lab_option
def command(target: str, container: str | None, lab: str | None) -> None:
    """Start a shell in a pod, a node, a host of the internet, or the fabric."""
    become((os.environ.get("SHELL", "/bin/sh"),), lab, target, container)
