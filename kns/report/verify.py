"""`kns verify` for people: what Kubernetes promises on each path, each check with evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kns.probe.verify import CheckResult, VerifyReport

#: what Kubernetes promises on each path, in one sentence
PROMISES = {
    "addressing": "every pod has an address of its own, from its node's pod CIDR",
    "container-to-container": "the containers of a pod share one netns: address, MAC, localhost",
    "pod-to-pod": "every pod reaches every other by its own address, on any node, without NAT",
    "node-to-pod": "a node reaches its pods, as kubelet must for its probes",
    "node-to-node": "nodes reach each other",
    "pod-to-node": "pods reach the nodes",
    "pod-to-service": "a cluster IP leads to each ready endpoint, and to nobody else",
    "node-to-service": "a node's own programs use services like pods do",
    "internet-to-service": "from outside a service is reached by its outer doors only",
    "internet-to-ingress": "host and path lead to the right service's pods, over TLS where asked",
    "internet-to-node": "load balancers learn by health checks which nodes have endpoints",
    "pod-to-internet": "what leaves the cluster carries the node's address",
    "internet-to-pod": "pod addresses mean nothing outside the cluster",
}
#: what a kind of check shows, where the path's promise does not say it
LESSONS = {
    "pod-to-service/hairpin": "a pod reaches itself by its own service: back by the bridge port it"
    " left by, masqueraded, so it sees cni0",
    "pod-to-service/cluster-ip": "kube-proxy's rules on the client's own node choose; the client's"
    " address stays",
    "pod-to-service/node-port": "a pod may use its node's node ports too",
    "pod-to-service/wrong-port": "a port that the service doesn't have",
    "pod-to-service/affinity-expires": "session affinity ends after its timeout",
    "node-to-service/localhost": "node ports on localhost: iptables mode only",
    "internet-to-ingress/route": "nginx goes to endpoints, not to the cluster IP; the client is in"
    " X-Forwarded-For",
    "internet-to-ingress/name": "DNS outside leads to the controller's Service",
    "internet-to-ingress/no-rule": "neither a rule nor a default backend",
    "internet-to-ingress/no-endpoints": "a rule, and nobody behind it",
    "internet-to-ingress/redirect": "where TLS is configured, plain requests are sent to https",
    "internet-to-ingress/denied": "an allow or deny list keeps the client out",
    "internet-to-service/unroutable": "a cluster IP means nothing outside the cluster",
    "internet-to-service/node-port": "every node answers, also for pods of another one",
}
#: passed checks of one kind that are shown before "… and N more"
SHOWN = 6
PLAIN_WIDTH = 132
NAME_MAX = 32


def verify_console(file: TextIO, *, terminal: bool) -> Console:
    """A console that colours only a terminal, and is as wide as one."""
    if terminal:
        return Console(file=file, highlight=False)
    return Console(
        file=file, highlight=False, width=PLAIN_WIDTH, color_system=None, force_terminal=False
    )


def print_report(console: Console, report: VerifyReport, *, every: bool = False) -> None:
    """The checks by path, what was left out, and the count."""
    names = max((len(_name(check)) for check in report.checks), default=0)
    columns = _columns(console, min(names, NAME_MAX))
    for path, group in groupby(_once_advised(report.checks), key=lambda check: check.path):
        checks = tuple(group)
        _print(console, _one_line(_heading(path, checks)))
        for kind, members in groupby(checks, key=_kind):
            _print_kind(console, (path, kind), tuple(members), columns, every=every)
        console.print()
    for skip in report.skips:
        _print(console, Text(f"– {skip.what}: {skip.reason}", "yellow"))
    _print(console, _summary(report))


def _once_advised(checks: Sequence[CheckResult]) -> Iterator[CheckResult]:
    """The same advice again and again would hide the others."""
    given: dict[str, str] = {}
    for check in checks:
        first = given.setdefault(check.advice, _name(check))
        if check.advice and first != _name(check):
            yield replace(check, advice=f"as at {first}")
        else:
            yield check


def _print(console: Console, item: Text | Table) -> None:
    """Print without the spaces with which rich fills a line, where nobody sees a background."""
    if console.is_terminal:
        console.print(item)
        return
    with console.capture() as capture:
        console.print(item)
    lines = (line.rstrip() for line in capture.get().splitlines())
    console.file.write("".join(f"{line}\n" for line in lines))


def _one_line(text: Text) -> Text:
    """A heading is cut rather than wrapped: the part that matters comes first."""
    text.no_wrap = True
    text.overflow = "ellipsis"
    return text


def _heading(path: str, checks: Sequence[CheckResult]) -> Text:
    failed = sum(not check.ok for check in checks)
    mark = Text("✘ ", "bold red") if failed else Text("✔ ", "green")
    count = f"  {len(checks) - failed} of {len(checks)}" if failed else f"  {len(checks)}"
    return Text.assemble(mark, (path, "bold"), count, (f"  {PROMISES.get(path, '')}", "italic"))


def _print_kind(
    console: Console,
    where: tuple[str, str],
    checks: Sequence[CheckResult],
    columns: tuple[int, int, int],
    *,
    every: bool,
) -> None:
    path, kind = where
    if kind:
        lesson = LESSONS.get(f"{path}/{kind}", "")
        heading = Text.assemble("  ", (kind, "cyan"), (f"  {lesson}", "italic dim"))
        _print(console, _one_line(heading))
    shown = tuple(_chosen(checks, every=every))
    _print(console, _table(shown, columns))
    if len(shown) < len(checks):
        _print(console, Text(f"     … and {len(checks) - len(shown)} more", "dim"))


def _summary(report: VerifyReport) -> Text:
    style = "bold red" if report.failed else "bold green"
    words = [f"{report.passed} passed", f"{report.failed} failed"]
    if report.skipped:
        words.append(f"{report.skipped:,} left out")
    text = f"{report.lab}: {', '.join(words)} in {report.seconds:.1f} s"
    return Text(text, style)


def _columns(console: Console, names: int) -> tuple[int, int, int]:
    """The widths of name, expected and evidence: the same in every table of a report."""
    rest = max(console.width - names - 9, 40)
    expected = rest * 45 // 100
    return names, expected, rest - expected


def _table(checks: Sequence[CheckResult], columns: tuple[int, int, int]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", width=3, justify="right")
    table.add_column("check", no_wrap=True, overflow="ellipsis", width=columns[0])
    table.add_column("expected", overflow="fold", width=columns[1])
    table.add_column("evidence", overflow="fold", width=columns[2])
    for check in checks:
        table.add_row(*_row(check))
    return table


def _chosen(checks: Sequence[CheckResult], *, every: bool) -> Iterator[CheckResult]:
    """All failures, and the first few that passed."""
    passed = 0
    for check in checks:
        passed += check.ok
        if every or not check.ok or passed <= SHOWN:
            yield check


def _kind(check: CheckResult) -> str:
    """`hairpin` of `pod-to-service/hairpin/pod1->svc-a`; addresses are all of one kind."""
    kind, slash, _ = check.id.removeprefix(f"{check.path}/").partition("/")
    return kind if slash and check.path != "addressing" else ""


def _name(check: CheckResult) -> str:
    return check.source if check.source == check.target else f"{check.source} → {check.target}"


def _row(check: CheckResult) -> tuple[Text, Text, Text, Text]:
    name = _name(check)
    if check.ok:
        mark = Text("✔", "green")
        return mark, Text(name), Text(check.expected, "dim"), Text(check.evidence)
    evidence = Text.assemble((check.actual, "bold red"), f"\n{check.evidence}")
    if check.advice:
        evidence.append(f"\n→ {check.advice}", "yellow")
    return Text("✘", "bold red"), Text(name, "bold red"), Text(check.expected), evidence
