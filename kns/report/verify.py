"""`kns verify` for people: what Kubernetes promises on each path, each check with evidence.

A path that keeps its promise is one line; what fails is told at the end, where people look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from textwrap import shorten, wrap
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kns.probe.verify import CheckResult, VerifyReport
from kns.report.paint import BAD_MARK, GOOD_MARK
from kns.report.printable import shown

#: what Kubernetes promises on each path, in words that fit a line of a terminal of 80 columns
PROMISES = {
    "addressing": "every pod has an address of its own",
    "container-to-container": "containers share address, MAC, localhost",
    "pod-to-pod": "pods reach each other anywhere, no NAT",
    "network-policy": "what a rule allows passes, nothing else",
    "node-to-pod": "nodes reach their pods, as kubelet must",
    "node-to-node": "nodes reach each other",
    "pod-to-node": "pods reach the nodes",
    "lab-file": "all that the file says has an effect",
    "pod-to-service": "a cluster IP leads to its endpoints alone",
    "node-to-service": "nodes use services like pods do",
    "internet-to-service": "from outside only the outer doors lead in",
    "internet-to-ingress": "host and path lead to the right pods",
    "internet-to-node": "host ports and health checks answer truly",
    "pod-to-internet": "what leaves carries the node's address",
    "internet-to-pod": "pods' addresses mean nothing outside",
    "name-resolution": "resolvers find what the DNS spec says",
    "environment": "variables name the services at its start",
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
#: lines of drift that are shown before "… and N more"
DRIFT_SHOWN = 10
#: passed checks of one kind that are shown before "… and N more"
SHOWN = 6
PLAIN_WIDTH = 132
NAME_MAX = 32


def verify_console(file: TextIO, *, terminal: bool, width: int = PLAIN_WIDTH) -> Console:
    """A console that colours only a terminal, and is as wide as one."""
    if terminal:
        return Console(file=file, highlight=False)
    return Console(file=file, highlight=False, width=width, color_system=None, force_terminal=False)


def print_report(
    console: Console,
    report: VerifyReport,
    *,
    verbose: bool = False,
    every: bool = False,
) -> None:
    """A line a path, what was left out, the failures with the lab's drift, and the count.

    `verbose`: the checks too, of each kind those that failed and a few that passed; `every`: all.
    """
    report = shown(report)
    checks = tuple(_once_advised(report.checks))
    groups = [(path, tuple(group)) for path, group in groupby(checks, key=lambda check: check.path)]
    widths = _heading_widths(groups)
    names = max((len(_name(check)) for check in report.checks), default=0)
    columns = _columns(console, min(names, NAME_MAX))
    for path, group in groups:
        _print(console, _heading(path, group, widths, console.width))
        if verbose or every:
            for kind, members in groupby(group, key=_kind):
                _print_kind(console, (path, kind), tuple(members), columns, every=every)
            console.print()
    for skip in report.skips:
        _print(console, Text(f"– {skip.what}: {skip.reason}", "yellow"))
    if report.failed:
        _print_failures(console, [check for check in checks if not check.ok], report.drift)
    _print(console, _summary(report))


def workflow_annotations(report: VerifyReport) -> Iterator[str]:
    """A line for each failure, which GitHub Actions shows at the top of the run's page."""
    for check in shown(report).checks:
        if not check.ok:
            text = f"expected: {check.expected}\nseen: {check.actual}\n{check.evidence}"
            text += f"\nlook at: {check.advice}" if check.advice else ""
            title = _escaped(f"kns verify: {check.id}").replace(":", "%3A").replace(",", "%2C")
            yield f"::error title={title}::{_escaped(text)}"


def _escaped(text: str) -> str:
    """As GitHub's workflow commands have it: a line break would end the command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _print_failures(
    console: Console, failures: Sequence[CheckResult], drift: Sequence[str]
) -> None:
    """Every failure with what shows its reason; first what somebody changed by hand."""
    console.print()
    if drift:
        _print(console, Text("The kernel is not as the lab's file says; kns up mends:", "bold"))
        for line in drift[:DRIFT_SHOWN]:
            _print(console, Text(f"  {line}"))
        if len(drift) > DRIFT_SHOWN:
            _print(console, Text(f"  … and {len(drift) - DRIFT_SHOWN} more: kns status", "dim"))
        console.print()
    _print(console, Text("Failed:", "bold"))
    for check in failures:
        _print(console, Text(f"{BAD_MARK} {check.id}", "bold red"))
        fields = (
            ("expected", check.expected),
            ("seen", check.actual),
            ("", check.evidence),
            ("trace", check.trace),
        )
        for label, text in fields:
            for number, line in enumerate(_wrapped(text, console.width - 12)):
                _print(console, Text(f"  {'' if number else label:<10}{line}"))
        for number, line in enumerate(_wrapped(check.advice, console.width - 4)):
            _print(console, Text(f"  {' ' if number else '→'} {line}", "yellow"))
    console.print()


def _wrapped(text: str, width: int) -> list[str]:
    """Names stay whole: many have hyphens."""
    return wrap(text, max(width, 40), break_on_hyphens=False)


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


def _count(checks: Sequence[CheckResult]) -> str:
    passed = sum(check.ok for check in checks)
    return f"{len(checks)}" if passed == len(checks) else f"{passed} of {len(checks)}"


def _heading_widths(groups: Sequence[tuple[str, Sequence[CheckResult]]]) -> tuple[int, int]:
    """The widths of the paths' names and of their counts."""
    names = max((len(path) for path, _ in groups), default=0)
    return names, max((len(_count(checks)) for _, checks in groups), default=0)


def _heading(
    path: str, checks: Sequence[CheckResult], widths: tuple[int, int], columns: int
) -> Text:
    """The path, how many promises it kept, the promise in a sentence, how long it took."""
    ok = all(check.ok for check in checks)
    mark = Text(f"{GOOD_MARK} ", "green") if ok else Text(f"{BAD_MARK} ", "bold red")
    took = max(check.started + check.seconds for check in checks) - min(c.started for c in checks)
    time = f"  {took:.1f} s"
    name, count = f"{path:<{widths[0]}}", f"  {_count(checks):>{widths[1]}}"
    room = max(columns - 4 - len(name) - len(count) - len(time), 10)
    sentence = shorten(PROMISES.get(path, ""), room, placeholder=" …")
    return Text.assemble(
        mark, (name, "bold"), count, (f"  {sentence:<{room}}", "italic"), (time, "dim")
    )


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
        indent = " " * (len(kind) + 4)
        lines = _wrapped(lesson, console.width - len(indent))
        folded = f"\n{indent}".join(lines)
        _print(console, Text.assemble("  ", (kind, "cyan"), (f"  {folded}", "italic dim")))
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
        mark = Text(GOOD_MARK, "green")
        return mark, Text(name), Text(check.expected, "dim"), Text(check.evidence)
    evidence = Text.assemble((check.actual, "bold red"), f"\n{check.evidence}")
    return Text(BAD_MARK, "bold red"), Text(name, "bold red"), Text(check.expected), evidence
