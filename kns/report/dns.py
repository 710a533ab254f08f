"""`kns dns` for people: one line a query, in the order in which they were sent."""

from __future__ import annotations

from kns.probe.ask.dns_model import DNSQuery, DNSTrace, ResolutionOutcome, ResolverOptions
from kns.report.probe import folded
from kns.report.rule_words import wrapped
from kns.report.table import GAP, Table, render_table

#: records of one answer that are shown; the rest is counted
SHOWN = 3
_WORDS = {
    ResolutionOutcome.RESOLVED: "resolved",
    ResolutionOutcome.NXDOMAIN: "does not exist",
    ResolutionOutcome.NODATA: "exists, but has no such record",
    ResolutionOutcome.SERVFAIL: "not resolved: the server failed",
    ResolutionOutcome.TIMEOUT: "not resolved: no server answered in time",
    ResolutionOutcome.REFUSED: "not resolved: the server's address refuses questions",
    ResolutionOutcome.NO_SERVER: "not resolved: resolv.conf names no server",
}


def render_trace(trace: DNSTrace, width: int = 100, reason: str = "") -> str:
    """The resolver's files, every query with its answer, what it came to, and why."""
    title = f"{trace.source} asks for {trace.name} {'+'.join(trace.types)}"
    parts = [*(f"{line}\n" for line in wrapped(title, width)), _resolver(trace)]
    if trace.queries:
        heads = ("#", "QUERY", "TYPE", "SERVER", "ANSWER", "TIME")
        rows = tuple(
            (str(number), query.name, query.type, _server(query), answer(query), _time(query))
            for number, query in enumerate(trace.queries, 1)
        )
        parts += ["\n", _queries(Table(heads, rows), width)]
    ends = (_conclusion(trace), *_advice(trace))
    told = [line for end in ends for line in wrapped(end, width)]
    told += folded("look at", reason, width)
    return "".join([*parts, "\n", *(f"{line}\n" for line in told)])


def _queries(table: Table, width: int) -> str:
    """A line a query; where that is too long, the answer stands below its question."""
    text = render_table(table)
    if max(map(len, text.splitlines())) <= width:
        return text
    heads = ("#", "QUERY", "TYPE", "TIME")
    asked = Table(heads, tuple((*row[:3], row[5]) for row in table.rows))
    first, *lines = render_table(asked).splitlines()
    indent = " " * (max(len(row[0]) for row in table.rows) + len(GAP))
    told = [first]
    for line, (*_, server, found, _time) in zip(lines, table.rows, strict=True):
        told += [line, *wrapped(f"{indent}{server}: {found}", width, f"{indent}  ")]
    return "".join(f"{line}\n" for line in told)


def answer(query: DNSQuery) -> str:
    """The answer's code; its records if it has some, NODATA if it should have and has none."""
    if query.rcode != "NOERROR":
        return query.rcode
    if query.truncated:
        return "truncated"
    shown = [
        f"{record.type} {record.data}" if record.type != query.type else record.data
        for record in query.answers[:SHOWN]
    ]
    more = len(query.answers) - len(shown)
    return ", ".join([*shown, *([f"+{more}"] if more else [])]) or "NODATA"


def _resolver(trace: DNSTrace) -> str:
    conf = trace.conf
    lines = [f"  search     {' '.join(conf.searches)}"] if conf.searches else []
    lines += [f"  nameserver {server}" for server in conf.nameservers]
    lines += [f"  options    {' '.join(conf.options)}"] if conf.options else []
    return "".join(f"{line}\n" for line in lines)


def _server(query: DNSQuery) -> str:
    return query.server if query.protocol == "udp" else f"{query.server} {query.protocol}"


def _time(query: DNSQuery) -> str:
    return "-" if query.latency_ms is None else f"{query.latency_ms:.1f} ms"


def _conclusion(trace: DNSTrace) -> str:
    if trace.from_hosts:
        return f"{trace.name} is {', '.join(trace.from_hosts)}, by /etc/hosts: no server was asked"
    found = ", ".join(dict.fromkeys(record.data for record in trace.records))
    what = f"is {found}" if found else _WORDS[trace.outcome]
    count = len(trace.queries)
    more = "; the C library would ask on" if trace.cut_short and not trace.ok else ""
    return f"{trace.name} {what} ({count} {'query' if count == 1 else 'queries'}{more})"


def _advice(trace: DNSTrace) -> list[str]:
    """Say what ndots cost when the name itself was the last one tried."""
    as_is = f"{trace.name.rstrip('.')}."
    wasted = sum(query.name != as_is for query in trace.queries)
    if trace.name.endswith(".") or trace.resolved_name != as_is or not wasted:
        return []
    ndots = ResolverOptions.of(trace.conf).ndots
    return [
        f"{wasted} of them for the search list, because of ndots:{ndots}; {as_is} asks only once"
    ]
