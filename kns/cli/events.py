"""`kns events`."""

from __future__ import annotations

import time

import click

from kns.cli.lab_options import lab_option, namespace_option
from kns.cli.output import output_option, print_json, print_text, terminal_width
from kns.cli.streams import say
from kns.engine.api_client import connect
from kns.engine.labs import running
from kns.kinds.objects import list_of
from kns.kinds.resources import EVENT
from kns.report.events import event_line, events_table
from kns.report.table import render_table


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with those that come.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Events of every namespace.")
@namespace_option
@output_option("json")
@lab_option
def command(
    *, follow: bool, all_namespaces: bool, namespace: str, output: str | None, lab: str | None
) -> None:
    """What has happened to the objects of the running lab, in kubectl's columns.

    For an hour; an agent that is started again begins anew.

    \b
      kns events
      kns events -f -A
    """
    client = connect(running(lab))
    where = "" if all_namespaces else namespace
    version, found = client.listed(EVENT, where)
    if output == "json":
        print_json(list_of(found))
        return
    if not found and not follow:
        place = "" if all_namespaces else f" in namespace {namespace}"
        say(f"no events{place}")
        return
    table = events_table(found, time.time(), namespaces=all_namespaces)
    print_text(render_table(table, terminal_width()))
    if follow:
        for event in client.watch(EVENT, where, version):
            print_text(event_line(event, table, time.time()))
