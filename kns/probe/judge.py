"""Compares what a step found with what was promised. Pure; every verdict carries its evidence."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kns.addresses import IPAddress
from kns.probe.ask.dns_model import DNSTrace, ResolutionOutcome
from kns.probe.identify import request_headers
from kns.probe.model import Attempt, PingResult
from kns.promise.check import Cover, Expectation, Variables
from kns.promise.chisquare import SIGNIFICANCE, uniform_p_value
from kns.promise.flow import Outcome


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """What the kernel says of a link."""

    addresses: tuple[IPAddress, ...]
    mac: str


@dataclass(frozen=True, slots=True)
class AffinityRounds:
    """Which backend each client was given in each round, in order."""

    clients: tuple[tuple[str, ...], ...]


Observation = tuple[Attempt, ...] | PingResult | LinkFacts | AffinityRounds | DNSTrace


@dataclass(frozen=True, slots=True)
class Judgement:
    """`actual` says what was seen in a few words, `evidence` the numbers behind it."""

    ok: bool
    actual: str
    evidence: str


def judge(expectation: Expectation, seen: Observation) -> Judgement:
    """Whether the observation keeps the promise."""
    match seen:
        case PingResult():
            return _ping(expectation, seen)
        case LinkFacts():
            return _link(expectation, seen)
        case AffinityRounds():
            return _affinity(seen)
        case DNSTrace():
            return _names(expectation, seen)
        case _:
            return _attempts(expectation, seen)


def _ping(expectation: Expectation, seen: PingResult) -> Judgement:
    ok = seen.outcome in expectation.outcomes
    if seen.received:
        latency = f" in {seen.average_ms:.3f} ms" if seen.average_ms is not None else ""
        evidence = f"ping {seen.received}/{seen.sent}{latency}"
        return Judgement(ok, "answers ping" if ok else f"ping {seen.outcome}", evidence)
    words = f" ({seen.detail})" if seen.detail else ""
    return Judgement(ok, f"ping {seen.outcome}{words}", f"ping 0/{seen.sent} to {seen.address}")


def _link(expectation: Expectation, seen: LinkFacts) -> Judgement:
    found = ", ".join(map(str, seen.addresses)) or "no address"
    evidence = f"eth0 has {found} and MAC {seen.mac}"
    if expectation.fault:
        return Judgement(False, expectation.fault, evidence)
    ok = set(seen.addresses) == set(expectation.addresses)
    return Judgement(ok, found, evidence)


def _affinity(seen: AffinityRounds) -> Judgement:
    moved = [chosen for chosen in seen.clients if len(set(chosen)) > 1]
    rounds = max((len(chosen) for chosen in seen.clients), default=1) - 1
    shown = moved[0] if moved else next(iter(seen.clients), ())
    evidence = (
        f"{len(moved)} of {len(seen.clients)} clients moved in {rounds} rounds: "
        + " → ".join(shown)
    )
    return Judgement(bool(moved), "chosen anew" if moved else "still the same backends", evidence)


def _names(expectation: Expectation, seen: DNSTrace) -> Judgement:
    """The records that came; a name that must not resolve is absent, which no failure proves."""
    found = tuple(sorted(set(seen.from_hosts) | {record.data for record in seen.records}))
    count = len(seen.queries)
    evidence = f"{seen.name} {'+'.join(seen.types)}: {count} {'query' if count == 1 else 'queries'}"
    latencies = [query.latency_ms for query in seen.queries if query.latency_ms is not None]
    if latencies:
        evidence += f" in {sum(latencies):.1f} ms"
    absent = seen.outcome in {ResolutionOutcome.NXDOMAIN, ResolutionOutcome.NODATA}
    ok = found == tuple(sorted(expectation.records or ())) and (bool(found) or absent)
    shown = ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
    return Judgement(ok, f"{seen.name}: {shown or seen.outcome}", evidence)


# -- connections -----------------------------------------------------------------------------------


def _attempts(expectation: Expectation, seen: tuple[Attempt, ...]) -> Judgement:
    problems = tuple(_problems(expectation, seen))
    evidence = _evidence(expectation, seen)
    if problems:
        return Judgement(False, "; ".join(problems), evidence)
    return Judgement(True, _summary(expectation, seen), evidence)


def _problems(expectation: Expectation, seen: Sequence[Attempt]) -> Iterator[str]:
    if expectation.failure is not None:
        seen = [attempt for attempt in seen if attempt.status != expectation.failure]
    wrong = [attempt for attempt in seen if attempt.outcome not in expectation.outcomes]
    if wrong:
        counts = Counter(attempt.outcome for attempt in wrong)
        total = "" if len(seen) == 1 else f"{len(wrong)} of {len(seen)} "
        yield total + ", ".join(f"{outcome}" for outcome in counts) + _words(wrong)
    yield from _wrong_backends(expectation, seen)
    yield from _wrong_sources(expectation, seen)
    yield from _wrong_details(expectation, seen)
    p_value = _p_value(expectation, seen)
    if p_value is not None and p_value < SIGNIFICANCE and not wrong:
        yield f"shares are not random: p = {p_value:.1e}"


def _words(wrong: Sequence[Attempt]) -> str:
    """What the tools said; who answered where nobody should have."""
    who = sorted({a.backend for a in wrong if a.outcome is Outcome.CONNECTED and a.backend})
    details = sorted({attempt.detail for attempt in wrong if attempt.detail})
    said = [f"{', '.join(who)} answered"] if who else []
    said += details[:1]
    return f" ({'; '.join(said)})" if said else ""


def _wrong_backends(expectation: Expectation, seen: Sequence[Attempt]) -> Iterator[str]:
    if not expectation.backends:
        return
    connected = [attempt for attempt in seen if attempt.outcome is Outcome.CONNECTED]
    answered = {attempt.backend for attempt in connected}
    strangers = sorted(name or "somebody unknown" for name in answered - set(expectation.backends))
    if strangers:
        yield f"{', '.join(strangers)} answered, and is no backend"
    missing = sorted(set(expectation.backends) - answered)
    if connected and missing and expectation.cover is Cover.ALL:
        yield f"{', '.join(missing)} never answered"
    if expectation.cover is Cover.ONE and len(answered) > 1:
        yield f"{', '.join(sorted(answered))} answered: no affinity"


def _wrong_sources(expectation: Expectation, seen: Sequence[Attempt]) -> Iterator[str]:
    promised: dict[str, list[IPAddress]] = {}
    wanted = set(expectation.seen)
    for backend, source in expectation.seen:
        promised.setdefault(backend, []).append(source)
    found = {
        (attempt.backend, attempt.client_address_seen)
        for attempt in seen
        if attempt.outcome is Outcome.CONNECTED and attempt.backend in promised
    }
    wrong = sorted((pair for pair in found if pair[1] not in promised[pair[0]]), key=str)
    for backend, address in wrong[:3]:
        right = " or ".join(dict.fromkeys(map(str, promised[backend])))
        yield f"{backend} saw {address or 'no address'} instead of {right}"
    missing = sorted(wanted - found, key=str)
    if expectation.every_source and found and not wrong:
        for backend, address in missing[:3]:
            yield f"{backend} never saw {address}: that way in is not used"


def _wrong_details(expectation: Expectation, seen: Sequence[Attempt]) -> Iterator[str]:
    for attempt in seen:
        if expectation.within_ms is not None and (attempt.latency_ms or 0) > expectation.within_ms:
            yield f"took {attempt.latency_ms:.0f} ms: not at once"
        if attempt.outcome is not Outcome.CONNECTED:
            continue
        if expectation.status is not None and attempt.status != expectation.status:
            yield f"HTTP status {attempt.status} instead of {expectation.status}"
        if expectation.container and attempt.container != expectation.container:
            yield f"container {attempt.container or 'unknown'} answered"
        place = expectation.server_address
        if place is not None and attempt.server_address != place:
            yield f"answered at {attempt.server_address}"
        if expectation.location and attempt.location != expectation.location:
            yield f"redirected to {attempt.location or 'nowhere'} instead of {expectation.location}"
        yield from _wrong_headers(expectation.headers, attempt.body)
        yield from _wrong_variables(expectation.variables, attempt.body)
        if expectation.local_endpoints is not None:
            yield from _wrong_health(expectation.local_endpoints, attempt.body)


def _wrong_headers(promised: Sequence[tuple[str, tuple[str, ...]]], body: str) -> Iterator[str]:
    seen = request_headers(body)
    for name, allowed in promised:
        if seen.get(name) not in allowed:
            yield f"{name} is {seen.get(name, 'not set')} instead of {' or '.join(allowed)}"


_NEXT_VARIABLE = re.compile(r"\n(?=[^\n=]+=)")


def _wrong_variables(groups: Sequence[Variables], body: str) -> Iterator[str]:
    # the agent ends each with a newline, which a value may have in itself (a ConfigMap's file)
    present = dict(
        entry.partition("=")[::2] for entry in _NEXT_VARIABLE.split(body.removesuffix("\n"))
    )
    for group in groups:
        if group.optional and not any(name in present for name, _ in group.entries):
            continue
        for name, value in group.entries:
            # lines of a value may look like variables themselves
            if present.get(name) != value and not (
                "\n" in value and f"\n{name}={value}\n" in f"\n{body}\n"
            ):
                yield f"{name} is {present.get(name, 'not set')} instead of {value}"


def _wrong_health(promised: int, body: str) -> Iterator[str]:
    try:
        counted = json.loads(body)["localEndpoints"]
    except (ValueError, KeyError, TypeError):
        yield "the health check's body is not kube-proxy's JSON"
        return
    if counted != promised:
        yield f"localEndpoints is {counted} instead of {promised}"


def _p_value(expectation: Expectation, seen: Sequence[Attempt]) -> float | None:
    if not expectation.is_even or len(expectation.backends) < 2:
        return None
    counts = Counter(attempt.backend for attempt in seen if attempt.backend in expectation.backends)
    return uniform_p_value([counts[name] for name in expectation.backends]) if counts else None


def _summary(expectation: Expectation, seen: Sequence[Attempt]) -> str:
    connected = [attempt for attempt in seen if attempt.outcome is Outcome.CONNECTED]
    if not connected:
        words = seen[0].detail if seen else ""
        return f"{seen[0].outcome}{f' ({words})' if words else ''}" if seen else "nothing"
    if expectation.status is not None and not expectation.backends:
        return f"HTTP {connected[0].status}"
    who = sorted({a.backend for a in connected if a.backend})
    shown = ", ".join(who[:4]) + (f" and {len(who) - 4} more" if len(who) > 4 else "")
    addresses = _addresses_seen(connected)
    saw = f", saw {' and '.join(addresses)}" if addresses else ""
    return f"{shown or 'somebody'} answered{saw}"


def _evidence(expectation: Expectation, seen: Sequence[Attempt]) -> str:
    if not seen:
        return "no attempt"
    connected = [attempt for attempt in seen if attempt.outcome is Outcome.CONNECTED]
    if not connected:
        latencies = [a.latency_ms for a in seen if a.latency_ms is not None]
        after = f" after {statistics.median(latencies):.1f} ms" if latencies else ""
        counts = Counter(attempt.outcome for attempt in seen)
        words = (str(o) if len(seen) == 1 else f"{o} {n}×" for o, n in counts.items())
        return ", ".join(words) + after
    parts = [f"{len(connected)}/{len(seen)}"] if len(seen) > 1 else _status(seen[0])
    counts_by_backend = Counter(a.backend for a in connected if a.backend)
    if len(counts_by_backend) > 1 or len(seen) > 1:
        share = [f"{name} {count}" for name, count in sorted(counts_by_backend.items())]
        parts.append(", ".join(share[:6]) + (" …" if len(share) > 6 else ""))
    p_value = _p_value(expectation, seen)
    if p_value is not None:
        parts.append(f"χ² p={p_value:.2g}")
    addresses = _addresses_seen(connected)
    if addresses:
        parts.append(f"saw {', '.join(addresses)}")
    return " · ".join(parts)


def _addresses_seen(attempts: Sequence[Attempt]) -> list[str]:
    return sorted({str(a.client_address_seen) for a in attempts if a.client_address_seen})


def _status(attempt: Attempt) -> list[str]:
    """What a single answer was; who answered is what was expected."""
    return [f"HTTP {attempt.status}"] if attempt.status else ["answered"]
