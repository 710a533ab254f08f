"""ping's words → results, captured from iputils 20221126; busybox' form by hand."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from kns.errors import ProbeError
from kns.probe.ask.ping import arguments, attempts, parse
from kns.probe.model import Attempt, PingResult
from kns.promise.flow import Outcome

ANSWERED = """\
PING 10.244.1.3 (10.244.1.3) 56(84) bytes of data.
64 bytes from 10.244.1.3: icmp_seq=1 ttl=64 time=0.238 ms
64 bytes from 10.244.1.3: icmp_seq=2 ttl=64 time=0.039 ms

--- 10.244.1.3 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time 104ms
rtt min/avg/max/mdev = 0.039/0.138/0.238/0.099 ms
"""
SILENT = """\
PING 10.244.1.3 (10.244.1.3) 56(84) bytes of data.

--- 10.244.1.3 ping statistics ---
1 packets transmitted, 0 received, 100% packet loss, time 0ms

"""
HOST_UNREACHABLE = """\
PING 10.244.9.9 (10.244.9.9) 56(84) bytes of data.
From 172.18.0.1 icmp_seq=1 Destination Net Unreachable

--- 10.244.9.9 ping statistics ---
1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms

"""
PORT_UNREACHABLE = HOST_UNREACHABLE.replace("Destination Net", "Destination Port")
BUSYBOX = """\
PING 10.244.1.3 (10.244.1.3): 56 data bytes
64 bytes from 10.244.1.3: seq=0 ttl=64 time=0.051 ms

--- 10.244.1.3 ping statistics ---
1 packets transmitted, 1 packets received, 0% packet loss
round-trip min/avg/max = 0.051/0.051/0.051 ms
"""
POD = ip_address("10.244.1.3")
LOSSY = ANSWERED.replace("2 packets transmitted, 2 received", "3 packets transmitted, 2 received")
NET_UNREACHABLE = "ping: connect: Network is unreachable\n"


@pytest.mark.parametrize(
    ("stdout", "stderr", "expected"),
    [
        (ANSWERED, "", PingResult(POD, Outcome.CONNECTED, 2, 2, 0.138)),
        (BUSYBOX, "", PingResult(POD, Outcome.CONNECTED, 1, 1, 0.051)),
        (LOSSY, "", PingResult(POD, Outcome.TIMEOUT, 3, 2, 0.138)),
        (SILENT, "", PingResult(POD, Outcome.TIMEOUT, 1, 0)),
        (
            HOST_UNREACHABLE,
            "",
            PingResult(POD, Outcome.UNREACHABLE, 1, 0, None, "Destination Net Unreachable"),
        ),
        (
            PORT_UNREACHABLE,
            "",
            PingResult(POD, Outcome.REFUSED, 1, 0, None, "Destination Port Unreachable"),
        ),
        (
            "",
            NET_UNREACHABLE,
            PingResult(POD, Outcome.UNREACHABLE, 0, 0, None, "Network is unreachable"),
        ),
    ],
)
def test_parse(stdout: str, stderr: str, expected: PingResult) -> None:
    assert parse(POD, stdout, stderr) == expected


def test_parse_of_an_unknown_error() -> None:
    with pytest.raises(ProbeError, match="socket: Operation not permitted"):
        parse(POD, "", "ping: socket: Operation not permitted\n")


@pytest.mark.parametrize(("address", "family"), [("10.0.0.1", "-4"), ("fd00::1", "-6")])
def test_arguments_name_the_family(address: str, family: str) -> None:
    assert arguments(ip_address(address))[:2] == ["ping", family]


def test_attempts_count_what_was_lost() -> None:
    found = attempts(parse(POD, LOSSY, ""), "pod2")
    assert [attempt.outcome for attempt in found] == [
        Outcome.CONNECTED,
        Outcome.CONNECTED,
        Outcome.TIMEOUT,
    ]
    assert found[0].backend == "pod2"


def test_attempts_of_a_ping_that_could_not_be_sent() -> None:
    found = attempts(parse(POD, "", NET_UNREACHABLE), "pod2")
    assert found == (Attempt(Outcome.UNREACHABLE, detail="Network is unreachable"),)
