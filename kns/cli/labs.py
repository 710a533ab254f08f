"""`kns labs`: the labs that come with kns."""

from __future__ import annotations

import json

import click

from kns.cli import completion
from kns.cli.options import output_option
from kns.errors import UsageError
from kns.labfile.shipped import ShippedLab, shipped_lab, shipped_labs
from kns.report.table import Table, render_table


@click.command()
@click.argument("name", required=False, shell_complete=completion.shipped_labs)
@output_option("json")
def labs(name: str | None, output: str | None) -> None:
    """List the labs that come with kns, or print the file of one.

    Every command that takes LAB.yaml takes such a name too, where there is no file of that name.
    """
    if name is not None:
        click.echo(_named(name).path.read_text(encoding="utf-8"), nl=False)
    elif output == "json":
        click.echo(json.dumps([_json(lab) for lab in shipped_labs()], indent=2))
    else:
        rows = tuple((lab.name, lab.about) for lab in shipped_labs())
        click.echo(render_table(Table(("NAME", "ABOUT"), rows)), nl=False)


def _named(name: str) -> ShippedLab:
    lab = shipped_lab(name)
    if lab is None:
        names = " ".join(lab.name for lab in shipped_labs())
        raise UsageError(f"no lab {name} comes with kns", hint=f"these do: {names}")
    return lab


def _json(lab: ShippedLab) -> dict[str, str]:
    return {"name": lab.name, "about": lab.about, "file": str(lab.path)}
