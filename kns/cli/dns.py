"""`kns dns`."""

from __future__ import annotations

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_options import lab_option, source_argument
from kns.cli.output import output_option, print_json, print_text, width
from kns.engine.settling import running_settled
from kns.probe.ask.dns import DNSSource, trace_name
from kns.probe.ask.dns_model import question_of
from kns.probe.ask.places import places_of
from kns.probe.diagnose import explain_name
from kns.probe.target import parse_source
from kns.promise.lookup import Lookup
from kns.report.dns import render_trace


@click.command()
@source_argument
@click.argument("name", metavar="NAME")
@click.argument("rdtype", metavar="[TYPE]", required=False, default="")
@output_option("json")
@lab_option
def command(source: str, name: str, rdtype: str, output: str | None, lab: str | None) -> int:
    """Show every query that SRC's resolver sends for NAME, with its answer.

    The queries are real: they are sent from SRC's own netns, in the order and number in which the
    C library sends them by SRC's resolv.conf. Exit code 1 if NAME does not resolve.

    \b
      kns dns pod1 svc-a
      kns dns pod1 www.example.com
      kns dns pod1 _http._tcp.web.default.svc.cluster.local SRV
      kns dns pod1 10.96.0.1
    """
    running_lab = running_settled(lab)
    places = places_of(running_lab.name, running_lab.paths)
    found = parse_source(running_lab.cluster, source, "dns")
    netns = places.netns_of(found)
    question, wanted = question_of(name, rdtype)
    trace = trace_name(DNSSource.at(found.label, netns, places.etc_of(found)), question, wanted)
    if output == "json":
        print_json(trace.to_json())
    else:
        lookup = Lookup(running_lab.cluster)
        reason = "" if trace.ok else explain_name(lookup, found, name, places.drift)
        print_text(render_trace(trace, width(), reason))
    return 0 if trace.ok else EXIT_FAILED
