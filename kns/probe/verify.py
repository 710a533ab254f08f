"""`kns verify`: carries out every check of a lab at once and compares with what was promised.

Cluster ─expectations─▶ Check… ─asking (thread pool, each in its netns)─▶ judge ─▶ VerifyReport
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from kns.cluster.model import Cluster
from kns.errors import KnsError, Problem, UsageError
from kns.kernel import processes
from kns.kinds.common import Protocol
from kns.probe.addresses import owners
from kns.probe.ask import datagram
from kns.probe.ask.asking import Asker
from kns.probe.ask.pace import Pace
from kns.probe.ask.places import Places
from kns.probe.diagnose import drift_words, explain
from kns.probe.judge import Judgement, judge
from kns.probe.model import Attempt
from kns.probe.target import parse_target, target_of
from kns.probe.variables import as_at_start
from kns.promise.check import AffinityExpiry, Check, CheckSet, Datagrams, Http, Skip, Step, flow_of
from kns.promise.checks import cluster_checks
from kns.promise.flow import Outcome
from kns.promise.location import LocationKind
from kns.promise.lookup import Lookup

#: most probes wait for the network or for a process, so more of them than processors
WORKERS = 16
#: a refusal that does not come may have fallen to the ICMP rate limit: asked for again, paced
REFUSAL_TRIES = 3
#: these mostly sleep until their turn, and must not keep others from theirs
PACED_WORKERS = 32
PROGRAMS = ("curl", "ping", "ip")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check and what came of it.

    Of one that failed, `advice` says what to look at, and `trace` is the command that shows the
    packet's way, if it is about one. It ran for `seconds`, from `started` after the run began.
    """

    id: str
    path: str
    source: str
    target: str
    expected: str
    actual: str
    ok: bool
    evidence: str
    advice: str = ""
    trace: str = ""
    started: float = 0.0
    seconds: float = 0.0

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "id": self.id,
            "path": self.path,
            "source": self.source,
            "target": self.target,
            "expected": self.expected,
            "actual": self.actual,
            "ok": self.ok,
            "evidence": self.evidence,
        }


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """All checks of a lab, in the order of the paths, and what was left out and why."""

    lab: str
    checks: tuple[CheckResult, ...]
    skips: tuple[Skip, ...]
    seconds: float
    #: if a check failed: what `up` would do to have the lab as its file says, a line each
    drift: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """How many promises are broken."""
        return sum(not check.ok for check in self.checks)

    @property
    def passed(self) -> int:
        """How many promises are kept."""
        return len(self.checks) - self.failed

    @property
    def skipped(self) -> int:
        """How many checks were left out."""
        return sum(skip.count for skip in self.skips)

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "lab": self.lab,
            "passed": self.passed,
            "failed": self.failed,
            "skipped": self.skipped,
            "checks": [check.to_json() for check in self.checks],
        }


def with_warnings(report: VerifyReport, warnings: Sequence[Problem]) -> VerifyReport:
    """The report with a failed check for each warning of the lab's files; one that passed if none.

    The ids are those of the warnings' fields: `lab-file/services[0].type`.
    """
    path, expected = "lab-file", "every field takes effect"
    found = [
        CheckResult(
            id=f"{path}/{item.path or item.line}",
            path=path,
            source=f"line {item.line}",
            target=item.path,
            expected=expected,
            actual=item.message,
            ok=False,
            evidence=str(item),
            advice=item.hint,
        )
        for item in warnings
    ]
    nothing = "no warnings"
    sound = CheckResult(f"{path}/{nothing}", path, path, "", expected, nothing, True, nothing)
    return replace(report, checks=(*report.checks, *(found or (sound,))))


def verify(
    cluster: Cluster,
    places: Places,
    *,
    only: str = "",
    checks: CheckSet | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> VerifyReport:
    """Carry out `checks`, by default everything that the cluster promises.

    `only` is a regular expression on the ids.

    `report` is called from this thread, first when it is known how many checks there are.
    """
    for program in PROGRAMS:
        processes.which(program)
    started = time.monotonic()
    chosen = choose(checks or cluster_checks(cluster), only)
    stop = threading.Event()
    session = _Session(cluster, Asker(places, owners(cluster), stop), Pace(stop), started)
    carried: list[_Carried] = []
    failed, total = 0, len(chosen.checks)
    report(Progress(0, 0, total))
    try:
        for item in _run_all(chosen.checks, lambda check: _carry_out(session, check), stop):
            carried.append(item)
            failed += not item.result.ok
            report(Progress(len(carried), failed, total))
    finally:
        stop.set()
    seconds = time.monotonic() - started
    order = {check.id: number for number, check in enumerate(chosen.checks)}
    carried.sort(key=lambda item: order[item.result.id])
    drift = tuple(places.drift()) if failed else ()
    lookup = Lookup(cluster)
    results = tuple(
        item.result if item.result.ok else item.advised(lookup, drift) for item in carried
    )
    return VerifyReport(cluster.name, results, chosen.skips, seconds, drift)


def choose(found: CheckSet, only: str) -> CheckSet:
    """The checks whose ids match, without those that this kernel can't carry out.

    UsageError if none matches.
    """
    if only and not _with_ids(found, only):
        raise UsageError(
            f"--only {only!r} matches no check", hint="kns verify -o json lists the ids"
        )
    return matching(found, only)


def matching(found: CheckSet, only: str) -> CheckSet:
    """Likewise; empty if none matches, as of a lab from which they have gone."""
    chosen = _with_ids(found, only)
    skips = [] if only else list(found.skips)
    if len(chosen) < len(found.checks):
        left_out = len(found.checks) - len(chosen)
        skips.append(Skip("other checks", f"--only {only}", left_out))
    possible = tuple(c for c in chosen if not _needs_sctp(c) or datagram.has_sctp())
    if len(possible) < len(chosen):
        reason = "this kernel has no SCTP: modprobe sctp"
        skips.append(Skip("SCTP", reason, len(chosen) - len(possible)))
    return CheckSet(possible, tuple(skips))


def _with_ids(found: CheckSet, only: str) -> tuple[Check, ...]:
    try:
        pattern = re.compile(only)
    except re.error as error:
        raise UsageError(f"--only {only!r} is no regular expression: {error}") from error
    return tuple(check for check in found.checks if pattern.search(check.id))


def _needs_sctp(check: Check) -> bool:
    asks = (step.ask for step in check.steps)
    return any(isinstance(ask, Datagrams) and ask.protocol is Protocol.SCTP for ask in asks)


def _run_all(
    checks: Sequence[Check], carry_out: Callable[[Check], _Carried], stop: threading.Event
) -> Iterable[_Carried]:
    """Results as they come. Checks that wait for silence start first, beside the others.

    An affinity's end is checked when all else is done: any connection of its clients would keep
    the affinity alive.
    """
    prompt = sorted((check for check in checks if not _is_last(check)), key=_patience)
    last = [check for check in checks if _is_last(check)]
    pool, paced = ThreadPoolExecutor(WORKERS), ThreadPoolExecutor(PACED_WORKERS)

    def start(check: Check) -> Future[_Carried]:
        return (paced if check.is_refused else pool).submit(carry_out, check)

    try:
        for group in (prompt, last):
            yield from (future.result() for future in as_completed([start(c) for c in group]))
    finally:
        # after Ctrl-C nobody waits for the probes that are under way: each has a limit of its own
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        paced.shutdown(wait=False, cancel_futures=True)


def _is_last(check: Check) -> bool:
    return any(isinstance(step.ask, AffinityExpiry) for step in check.steps)


def _patience(check: Check) -> float:
    asks = (step.ask for step in check.steps)
    return min((a.patience for a in asks if isinstance(a, (Http, Datagrams))), default=9.0)


@dataclass(frozen=True, slots=True)
class _Session:
    """What all checks of a run share."""

    cluster: Cluster
    asker: Asker
    pace: Pace
    #: when the run began, by the monotonic clock
    started: float


@dataclass(frozen=True, slots=True)
class _Carried:
    """A check's result with its last step, the one that failed if one did, and what it found."""

    result: CheckResult
    check: Check
    step: Step
    seen: tuple[Attempt, ...]

    def advised(self, lookup: Lookup, drift: Sequence[str]) -> CheckResult:
        """The result with what to look at."""
        flow, seen = flow_of(self.check.source, self.step.ask), self.seen
        if drift:
            return replace(self.result, advice=drift_words(drift))
        if flow is not None and flow.port is None:
            seen = (Attempt(Outcome.TIMEOUT),)
        if flow is None or not seen:
            return self.result
        target = target_of(lookup.cluster, flow)
        return replace(self.result, advice=explain(lookup, flow.source, target, seen))


def _carry_out(session: _Session, check: Check) -> _Carried:
    started = time.monotonic()
    verdicts: list[Judgement] = []
    seen: tuple[Attempt, ...] = ()
    for step in check.steps:
        verdict, seen = _take(session, check, step)
        verdicts.append(verdict)
        if not verdict.ok:
            break
    ok = all(verdict.ok for verdict in verdicts)
    result = CheckResult(
        id=check.id,
        path=check.path,
        source=check.source.label,
        target=check.target,
        expected=check.expected,
        actual=verdicts[-1].actual,
        ok=ok,
        evidence=" · ".join(dict.fromkeys(verdict.evidence for verdict in verdicts)),
        trace="" if ok else _trace_command(session.cluster, check),
        started=started - session.started,
        seconds=time.monotonic() - started,
    )
    return _Carried(result, check, step, seen)


def _take(session: _Session, check: Check, step: Step) -> tuple[Judgement, tuple[Attempt, ...]]:
    try:
        if not check.is_refused:
            return _once(session, check, step)
        pair = _pair(check, step)
        for _ in range(REFUSAL_TRIES - 1):
            verdict, seen = _refused(session, check, step, pair)
            if verdict.ok:
                return verdict, seen
            session.pace.drained(pair)
        return _refused(session, check, step, pair)
    except KnsError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return Judgement(False, f"could not be probed: {error.message}{hint}", "no evidence"), ()


def _refused(
    session: _Session, check: Check, step: Step, pair: str
) -> tuple[Judgement, tuple[Attempt, ...]]:
    with session.pace.turn(pair):
        session.pace.wait(pair)
        return _once(session, check, step)


def _once(session: _Session, check: Check, step: Step) -> tuple[Judgement, tuple[Attempt, ...]]:
    seen = session.asker.observe(check.source, step.ask)
    places = session.asker.places
    expectation = as_at_start(step.expectation, session.cluster, places, check.source)
    return judge(expectation, seen), seen if isinstance(seen, tuple) else ()


def _pair(check: Check, step: Step) -> str:
    """A pod is refused by its own node, a host outside by the node that it addresses.

    Nothing for a node: it refuses itself over its loopback, where ICMP errors are not limited.
    """
    match check.source.kind, step.ask:
        case LocationKind.POD, _:
            return check.source.explicit
        case LocationKind.INTERNET, Http(address=address) | Datagrams(address=address):
            return f"{check.source.explicit} {address}"
        case _:
            return ""


def _trace_command(cluster: Cluster, check: Check) -> str:
    """The command that shows the packet's way; empty where there is no packet between two ends."""
    if check.source.label == check.target:
        return ""
    try:
        parse_target(cluster, check.source, check.target)
    except UsageError:
        return ""
    return f"kns trace {check.source.label} {check.target}"
