"""`kns probe --for` for people."""

from __future__ import annotations

from ipaddress import ip_address

from kns.probe.watch_model import Sample, WatchResult
from kns.promise.flow import Outcome
from kns.report.watch import watch_text


def lost(number: int) -> bool:
    return 20 <= number < 30 or number in (31, 33)


CLIENT = ip_address("203.0.113.10")
SAMPLES = tuple(
    Sample(number / 10, Outcome.TIMEOUT)
    if lost(number)
    else Sample(number / 10, Outcome.CONNECTED, 2.0, "web1" if number < 20 else "web2", CLIENT)
    for number in range(60)
)


def text(samples: tuple[Sample, ...] = SAMPLES, address: str = "198.51.100.1") -> str:
    path = "internet-to-service"
    result = WatchResult(
        "internet", "svc", path, ip_address(address), 80, 10.0, 6.0, samples, ("web1", "web2")
    )
    return watch_text(result)


def test_it_shows_when_requests_were_lost_and_who_answered() -> None:
    assert text() == (
        "internet → svc   internet-to-service   198.51.100.1:80, 10 a second for 6.0 s\n"
        "  answered  48 of 60 (80.0%)  median 2.00 ms, 99% 2.00 ms, slowest 2.0 ms\n"
        "  timeline  ████████████████████··········█·█·██████████████████████████"
        "  0.10 s a column\n"
        "  lost      12 of 14 between 2.00 s and 3.40 s: 1.40 s\n"
        "  backends  web2  28  from 3.00 s to 5.90 s\n"
        "            web1  20  from 0.00 s to 1.90 s\n"
    )


def test_it_shows_who_answered_without_right() -> None:
    wrong = (Sample(0.0, Outcome.CONNECTED, 1.0, "other"),)
    assert "wrong     other answered 1 times and is no backend" in text(wrong)


def test_an_ipv6_address_goes_in_brackets() -> None:
    assert "[2001:db8::1]:80" in text(address="2001:db8::1")
