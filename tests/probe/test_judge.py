"""Verdicts: a check fails for each way in which a promise can be broken, and only then."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.probe.judge import AffinityRounds, LinkFacts, judge
from kns.probe.model import Attempt, PingResult
from kns.promise.check import Cover, Expectation, Variables
from kns.promise.flow import Outcome

OK = Attempt(
    Outcome.CONNECTED,
    backend="pod2",
    server_address=ip_address("10.244.1.2"),
    client_address_seen=ip_address("10.244.0.2"),
    status=200,
    latency_ms=0.5,
)
OTHER = replace(OK, backend="pod3", server_address=ip_address("10.244.0.3"))
SEEN = (("pod2", ip_address("10.244.0.2")),)
BOTH = Expectation(backends=("pod2", "pod3"), is_even=True)


def many(first: int, second: int) -> tuple[Attempt, ...]:
    return (OK,) * first + (OTHER,) * second


@pytest.mark.parametrize(
    ("want", "seen", "actual"),
    [
        (Expectation(backends=("pod2",)), (OK,), "pod2 answered, saw 10.244.0.2"),
        (BOTH, many(14, 14), "pod2, pod3 answered, saw 10.244.0.2"),
        (replace(BOTH, cover=Cover.SUBSET), many(3, 0), "pod2 answered, saw 10.244.0.2"),
        (Expectation(backends=("pod2", "pod3"), cover=Cover.ONE), many(9, 0), "pod2 answered, saw"),
        (
            Expectation(seen=(("pod2", ip_address("10.244.0.2")),)),
            (OK,),
            "pod2 answered, saw 10.244.0.2",
        ),
        (Expectation(outcomes=(Outcome.REFUSED,)), (Attempt(Outcome.REFUSED),), "REFUSED"),
        (
            Expectation(outcomes=(Outcome.REFUSED,), within_ms=900),
            (Attempt(Outcome.REFUSED, latency_ms=0.3),),
            "REFUSED",
        ),
        (Expectation(status=503), (replace(OK, status=503),), "HTTP 503"),
    ],
)
def test_promise_kept(want: Expectation, seen: tuple[Attempt, ...], actual: str) -> None:
    verdict = judge(want, seen)
    assert verdict.ok, verdict
    assert verdict.actual.startswith(actual)


@pytest.mark.parametrize(
    ("want", "seen", "actual"),
    [
        (Expectation(), (Attempt(Outcome.REFUSED),), "REFUSED"),
        (Expectation(), (OK, Attempt(Outcome.TIMEOUT)), "1 of 2 TIMEOUT"),
        (Expectation(outcomes=(Outcome.TIMEOUT,)), (OK,), "CONNECTED (pod2 answered)"),
        (
            Expectation(backends=("pod3",)),
            (OK,),
            "pod2 answered, and is no backend; pod3 never answered",
        ),
        (Expectation(backends=("pod3",)), (replace(OK, backend=""),), "somebody unknown answered"),
        (BOTH, many(28, 0), "pod3 never answered"),
        (BOTH, many(100, 20), "shares are not random: p = "),
        (
            Expectation(backends=("pod2", "pod3"), cover=Cover.ONE),
            many(8, 1),
            "pod2, pod3 answered: no affinity",
        ),
        (
            Expectation(seen=(("pod2", ip_address("10.244.1.1")),)),
            (OK,),
            "pod2 saw 10.244.0.2 instead of 10.244.1.1",
        ),
        (
            Expectation(outcomes=(Outcome.REFUSED,), within_ms=900),
            (Attempt(Outcome.REFUSED, latency_ms=1004.0),),
            "took 1004 ms: not at once",
        ),
        (Expectation(status=200), (replace(OK, status=503),), "HTTP status 503 instead of 200"),
        (
            Expectation(container="sidecar"),
            (replace(OK, container="web"),),
            "container web answered",
        ),
        (Expectation(server_address=ip_address("10.244.1.9")), (OK,), "answered at 10.244.1.2"),
        (
            Expectation(local_endpoints=2),
            (replace(OK, body='{"localEndpoints": 1}'),),
            "localEndpoints is 1 instead of 2",
        ),
        (Expectation(local_endpoints=2), (replace(OK, body="ok"),), "the health check's body"),
    ],
)
def test_promise_broken(want: Expectation, seen: tuple[Attempt, ...], actual: str) -> None:
    verdict = judge(want, seen)
    assert not verdict.ok
    assert verdict.actual.startswith(actual), verdict.actual


@pytest.mark.parametrize(
    ("body", "right"),
    [
        ("A=1\nconf=listen 80;\n\nname=x\n\nB=2", True),
        ("conf=listen 80;\n\nname=x\n\nA=1\nB=2", True),
        ("A=1\nB=2\nconf=listen 80;\n\nname=x\n", True),
        ("A=1\nconf=listen 80;\n\nname=x\nB=2", False),
        ("A=1\nmore\nconf=listen 80;\n\nname=x\n\nB=2", False),
    ],
)
def test_a_variable_may_have_several_lines(body: str, *, right: bool) -> None:
    entries = (("A", "1"), ("conf", "listen 80;\n\nname=x\n"), ("B", "2"))
    want = Expectation(variables=(Variables(entries),))
    assert judge(want, (replace(OK, body=body),)).ok is right


def test_shares_are_not_judged_where_connections_failed() -> None:
    verdict = judge(BOTH, (*many(100, 20), Attempt(Outcome.TIMEOUT)))
    assert "random" not in verdict.actual


def test_evidence_shows_share_and_probability() -> None:
    evidence = judge(BOTH, many(15, 13)).evidence
    assert evidence == "28/28 · pod2 15, pod3 13 · χ² p=0.71 · saw 10.244.0.2"


def test_ping() -> None:
    good = judge(Expectation(), PingResult(ip_address("10.244.0.3"), Outcome.CONNECTED, 1, 1, 0.05))
    bad = judge(
        Expectation(),
        PingResult(ip_address("10.244.0.3"), Outcome.UNREACHABLE, 1, 0, None, "No route to host"),
    )
    assert (good.ok, good.evidence) == (True, "ping 1/1 in 0.050 ms")
    assert (bad.ok, bad.actual) == (False, "ping UNREACHABLE (No route to host)")


@pytest.mark.parametrize(
    ("addresses", "fault", "ok"),
    [
        (("10.244.0.2",), "", True),
        (("10.244.0.2", "10.244.0.9"), "", False),
        ((), "", False),
        (("10.244.0.2",), "10.244.0.2 belongs to 2 pods", False),
    ],
)
def test_link(addresses: tuple[str, ...], fault: str, *, ok: bool) -> None:
    want = Expectation(addresses=(ip_address("10.244.0.2"),), fault=fault)
    assert judge(want, LinkFacts(tuple(map(ip_address, addresses)), "0a:00:00:00:00:01")).ok is ok


def test_affinity_that_ends() -> None:
    assert judge(Expectation(), AffinityRounds((("pod2", "pod2"), ("pod2", "pod3")))).ok
    assert not judge(Expectation(), AffinityRounds((("pod2", "pod2"), ("pod3", "pod3")))).ok
