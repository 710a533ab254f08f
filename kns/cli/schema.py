"""`kns schema`."""

from __future__ import annotations

import click

from kns.cli.output import print_json
from kns.kinds.schema import lab_schema


@click.command()
def command() -> None:
    """Print the JSON schema of the lab file, for completion and checks in an editor."""
    print_json(lab_schema())
