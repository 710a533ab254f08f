"""`kns probe` for people."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from kns.probe.model import Attempt, PingResult, ProbeResult
from kns.promise.flow import Outcome
from kns.report.probe import probe_text


def attempt(backend: str, address: str, latency: float) -> Attempt:
    place, client = ip_address(address), ip_address("10.244.0.2")
    return Attempt(Outcome.CONNECTED, backend, place, client, 200, latency, container="web")


SHARED = ProbeResult(
    source="pod1",
    target="svc-a",
    path="pod-to-service",
    outcome=Outcome.CONNECTED,
    reason="",
    address=ip_address("10.96.0.10"),
    attempts=(
        *(attempt("pod2", "10.244.1.2", 0.5),) * 3,
        attempt("pod3", "10.244.0.3", 0.25),
    ),
    candidates=("pod2", "pod3", "pod4"),
    notes=("the server saw pod1's own address: no source NAT",),
    port=80,
)
REFUSED = ProbeResult(
    source="pod1",
    target="pod3:81",
    path="pod-to-pod",
    outcome=Outcome.REFUSED,
    reason="pod3 is there, but nothing listens on port 81; it listens on 8080 (web)",
    address=ip_address("10.244.0.3"),
    attempts=(Attempt(Outcome.REFUSED, latency_ms=0.2),),
    ping=PingResult(ip_address("10.244.0.3"), Outcome.CONNECTED, 1, 1, 0.05),
    port=81,
    trace="kns trace pod1 pod3:81",
)


def test_shares_are_shown_with_bars_and_who_never_answered() -> None:
    assert probe_text(SHARED) == (
        "pod1 → svc-a   pod-to-service\n"
        "  curl      ✔ CONNECTED  4 of 4  10.96.0.10:80  median 0.50 ms (0.25 to 0.50)\n"
        "  answered  pod2  █████████████████████            3   75%  10.244.1.2\n"
        "            pod3  ███████                          1   25%  10.244.0.3\n"
        "            pod4                                   0    0%  never answered\n"
        "  seen      the server saw pod1's own address: no source NAT\n"
    )


def test_failure_says_what_to_look_at() -> None:
    assert probe_text(REFUSED) == (
        "pod1 → pod3:81   pod-to-pod\n"
        "  ping      ✔ 10.244.0.3 answers in 0.050 ms\n"
        "  curl      ✘ REFUSED  10.244.0.3:81  0.20 ms\n"
        "  look at   pod3 is there, but nothing listens on port 81; it listens on 8080 (web)\n"
        "  trace     kns trace pod1 pod3:81\n"
    )


def test_nobody_is_blamed_when_the_server_does_not_say_who_it_is() -> None:
    nameless = Attempt(Outcome.CONNECTED, "", ip_address("198.51.100.1"), None, 404, 0.5)
    assert probe_text(replace(SHARED, attempts=(nameless,) * 2, notes=())) == (
        "pod1 → svc-a   pod-to-service\n"
        "  curl      ! CONNECTED, but HTTP 404  2 of 2  10.96.0.10:80"
        "  median 0.50 ms (0.50 to 0.50)\n"
        "  answered  a server that doesn't say who it is at 198.51.100.1 with HTTP 404\n"
    )


def test_long_reasons_are_folded_under_their_label() -> None:
    lines = probe_text(REFUSED, width=60).splitlines()
    assert [line[:12] for line in lines[-3:-1]] == ["  look at   ", "            "]
    assert max(len(line) for line in lines) <= 60


def test_colours_only_on_demand() -> None:
    assert "\x1b[" not in probe_text(SHARED)
    assert "\x1b[32m" in probe_text(SHARED, colour=True)
