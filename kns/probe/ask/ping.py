"""ICMP probes with the system's ping (iputils), parsed under LC_ALL=C."""

from __future__ import annotations

import re

from kns.addresses import IPAddress
from kns.errors import ProbeError
from kns.kernel import processes
from kns.probe.model import Attempt, PingResult
from kns.promise.flow import Outcome

_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) (?:packets )?received")
#: iputils "rtt min/avg/max/mdev = 0.039/0.138/…", busybox "round-trip min/avg/max = 0.039/0.138/…"
_AVERAGE = re.compile(r"min/avg/max(?:/mdev)? = [\d.]+/([\d.]+)/")
_UNREACHABLE = re.compile(
    r"(Network is unreachable|Destination \w+ Unreachable|No route to host)", re.I
)
_REFUSED = re.compile(r"Destination Port Unreachable|Destination Protocol Unreachable", re.I)


def ping(
    address: IPAddress, context: processes.Context, *, count: int = 1, wait: float = 1.0
) -> PingResult:
    """Send `count` echo requests from the context; waits `wait` seconds for the last reply."""
    done = processes.run(
        arguments(address, count=count, wait=wait), context=context, timeout=wait + count + 5.0
    )
    return parse(address, done.stdout, done.stderr)


def arguments(address: IPAddress, *, count: int = 1, wait: float = 1.0) -> list[str]:
    """The command line; -n: no reverse lookups. Replies are 10 ms apart, root may do that."""
    return [
        *("ping", f"-{address.version}", "-n"),
        *("-c", str(count)),
        *("-i", "0.01"),
        *("-W", f"{wait:g}"),
        str(address),
    ]


def parse(address: IPAddress, stdout: str, stderr: str) -> PingResult:
    """What ping's summary says; ProbeError when there is none and no known error either."""
    said = f"{stdout}\n{stderr}"
    summary = _SUMMARY.search(stdout)
    unreachable = _UNREACHABLE.search(said)
    if summary is None:
        if unreachable is None:
            raise ProbeError(f"ping {address}: {stderr.strip() or stdout.strip() or 'no output'}")
        return PingResult(address, Outcome.UNREACHABLE, 0, 0, None, unreachable.group(1))
    sent, received = int(summary.group(1)), int(summary.group(2))
    if received:
        average = _AVERAGE.search(stdout)
        return PingResult(
            address,
            Outcome.CONNECTED if received == sent else Outcome.TIMEOUT,
            sent,
            received,
            float(average.group(1)) if average else None,
        )
    refused = _REFUSED.search(said)
    if refused:
        return PingResult(address, Outcome.REFUSED, sent, 0, None, refused.group(0))
    if unreachable:
        return PingResult(address, Outcome.UNREACHABLE, sent, 0, None, unreachable.group(1))
    return PingResult(address, Outcome.TIMEOUT, sent, 0)


def attempts(result: PingResult, backend: str) -> tuple[Attempt, ...]:
    """The echo requests as attempts of a probe; the address' owner is who answered."""
    answered = Attempt(
        outcome=Outcome.CONNECTED,
        backend=backend,
        server_address=result.address,
        latency_ms=result.average_ms,
    )
    lost = result.outcome if result.outcome is not Outcome.CONNECTED else Outcome.TIMEOUT
    failed = Attempt(outcome=lost, detail=result.detail)
    missing = max(result.sent, 1) - result.received
    return (answered,) * result.received + (failed,) * missing
