"""The documented form of a probe's result."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from kns.probe.model import Attempt, ProbeResult, overall
from kns.promise.flow import Outcome

C, R, T = Outcome.CONNECTED, Outcome.REFUSED, Outcome.TIMEOUT


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((C,), C),
        ((C, C), C),
        ((C, T), T),
        ((T, R, R), R),
        ((C, C, C, R), R),
        ((), Outcome.OTHER),
    ],
)
def test_overall(outcomes: tuple[Outcome, ...], expected: Outcome) -> None:
    assert overall(outcomes) is expected


ADDRESS, SERVER, CLIENT = map(ip_address, ("10.96.0.10", "10.244.1.3", "10.244.0.2"))


def test_json() -> None:
    first = Attempt(C, "pod3", SERVER, CLIENT, 200, 0.4, body="…", container="web")
    attempts = (first, Attempt(C, "pod2"), first, Attempt(T, detail="…"))
    result = ProbeResult(
        "pod1", "svc-a", "pod-to-service", T, "some connections are lost", ADDRESS, attempts
    )
    found = result.to_json()
    assert list(found) == [
        "source",
        "target",
        "path",
        "ok",
        "outcome",
        "reason",
        "address",
        "attempts",
        "backends",
    ]
    assert found["ok"] is False
    assert found["backends"] == {"pod3": 2, "pod2": 1}
    assert found["attempts"][0] == {  # type: ignore[index]
        "outcome": "CONNECTED",
        "backend": "pod3",
        "server_address": "10.244.1.3",
        "client_address_seen": "10.244.0.2",
        "status": 200,
        "latency_ms": 0.4,
    }
    assert found["attempts"][3] == {  # type: ignore[index]
        "outcome": "TIMEOUT",
        "backend": None,
        "server_address": None,
        "client_address_seen": None,
        "status": None,
        "latency_ms": None,
    }
