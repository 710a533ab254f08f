"""`kns kubeconfig`."""

from __future__ import annotations

import click

from kns.cli.lab_options import lab_argument, lab_option, one_lab
from kns.cli.output import print_text
from kns.engine.kubeconfig import kubeconfig, wait_for_api, write_kubeconfig
from kns.engine.labs import running


@click.command()
@click.option(
    "--write", is_flag=True, help="Write it into the lab's folder, mode 0600, and print its path."
)
@lab_argument
@lab_option
def command(lab_name: str | None, lab: str | None, *, write: bool) -> None:
    """Print the kubeconfig with which kubectl speaks to a lab.

    export KUBECONFIG=$(kns kubeconfig --write)

    The file goes with the lab. The API listens on this machine's loopback alone.
    """
    paths = running(one_lab(lab_name, lab)).paths
    wait_for_api(paths)
    print_text(f"{write_kubeconfig(paths)}\n" if write else kubeconfig(paths))
