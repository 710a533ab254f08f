"""Thins out checks that expect a refusal, where one client would be refused too often at once.

REJECT answers with an ICMP error, and Linux sends one peer six at once and one a second after
that. A lab with many empty services would keep verify waiting for its own error messages.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from kns.promise.check import Check, Expectations, Skip
from kns.promise.flow import Outcome
from kns.promise.location import LocationKind

#: what one client is refused at once without waiting, one less than the kernel allows
AT_ONCE = 5


def thin_out(found: Expectations) -> None:
    """Leave one client a door, in turn, if any pod would be refused more than five times."""
    refused = [check for check in found.checks if _is_refused_pod(check)]
    per_client = Counter(check.source.label for check in refused)
    if max(per_client.values(), default=0) <= AT_ONCE:
        return
    doors: dict[str, list[Check]] = defaultdict(list)
    for check in refused:
        doors[_door(check)].append(check)
    dropped: set[str] = set()
    for number, checks in enumerate(doors.values()):
        dropped |= {check.id for check in checks} - {checks[number % len(checks)].id}
    found.checks = [check for check in found.checks if check.id not in dropped]
    if dropped:
        reason = "one pod tries each door: Linux sends one client few ICMP errors a second"
        found.skips.append(Skip("refusals", reason, len(dropped)))


def _door(check: Check) -> str:
    """The same for all clients of a service's door; a node port is one door on every node."""
    kind = check.id.partition(f"/{check.source.label}->")[0]
    host, colon, port = check.target.rpartition(":")
    return f"{kind} {port if kind.endswith('/node-port') and colon else f'{host}{colon}{port}'}"


def _is_refused_pod(check: Check) -> bool:
    return check.source.kind is LocationKind.POD and any(
        step.want.outcomes == (Outcome.REFUSED,) for step in check.steps
    )
