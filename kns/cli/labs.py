"""`kns labs`."""

from __future__ import annotations

import click

from kns.cli.lab_files import complete_shipped
from kns.cli.output import output_option, print_json, print_text, terminal_width
from kns.errors import UsageError
from kns.labfile.shipped import ShippedLab, shipped_lab, shipped_labs
from kns.report.table import Table, render_table


@click.command()
@click.argument("name", required=False, shell_complete=complete_shipped)
@output_option("json")
def command(name: str | None, output: str | None) -> None:
    """List the labs that come with kns, or print the file of one.

    Every command that takes LAB.yaml takes such a name too, where there is no file of that name.
    """
    if name is not None:
        print_text(_named(name).path.read_text(encoding="utf-8"))
    elif output == "json":
        print_json([_json(lab) for lab in shipped_labs()])
    else:
        rows = tuple((lab.name, lab.about) for lab in shipped_labs())
        print_text(render_table(Table(("NAME", "ABOUT"), rows), terminal_width()))


def _named(name: str) -> ShippedLab:
    lab = shipped_lab(name)
    if lab is None:
        names = " ".join(lab.name for lab in shipped_labs())
        raise UsageError(f"no lab {name} comes with kns", hint=f"these do: {names}")
    return lab


def _json(lab: ShippedLab) -> dict[str, str]:
    return {"name": lab.name, "about": lab.about, "file": str(lab.path)}
