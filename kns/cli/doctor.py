"""`kns doctor`."""

from __future__ import annotations

import json

import click

from kns.cli.options import output_option
from kns.errors import PlatformError


@click.command()
@output_option("json")
def doctor(output: str | None) -> int:
    """Say what this machine can and can't do, and the command that mends it.

    Exit code 0 if everything is there that labs in the default mode want, else 3.
    """
    from kns.kernel.doctor import examine
    from kns.report.doctor import doctor_json, doctor_text

    diagnosis = examine()
    if output == "json":
        click.echo(json.dumps(doctor_json(diagnosis), indent=2))
    else:
        click.echo(doctor_text(diagnosis), nl=False)
    return 0 if diagnosis.ok else PlatformError.exit_code
