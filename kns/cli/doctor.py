"""`kns doctor`."""

from __future__ import annotations

import click

from kns.cli.output import output_option, print_json, print_text, terminal_width
from kns.engine.doctor import examine
from kns.errors import PlatformError
from kns.report.doctor import doctor_json, doctor_text


@click.command()
@output_option("json")
def command(output: str | None) -> int:
    """Say what this machine can and can't do, and the command that mends it.

    Exit code 0 if everything is there that labs in the default mode want, else 3.
    """
    diagnosis = examine()
    if output == "json":
        print_json(doctor_json(diagnosis))
    else:
        print_text(doctor_text(diagnosis, terminal_width()))
    return 0 if diagnosis.ok else PlatformError.exit_code
