"""Thins out checks that expect a refusal, where one client would be refused too often at once.

REJECT answers with an ICMP error, and Linux sends one peer six at once and one a second after
that. A lab with many empty services would keep verify waiting for its own error messages.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from kns.promise.check import Check, CheckSet, Datagrams, Http, Skip
from kns.promise.location import LocationKind

#: what one client is refused at once without waiting, one less than the kernel allows
AT_ONCE = 5


def thin_out(found: CheckSet) -> CheckSet:
    """Leave one client a frontend, in turn, if any pod would be refused more than five times."""
    refused = [check for check in found.checks if _is_refused_pod(check)]
    per_client = Counter(check.source.label for check in refused)
    if max(per_client.values(), default=0) <= AT_ONCE:
        return found
    frontends: dict[tuple[str, str, object], list[Check]] = defaultdict(list)
    for check in refused:
        frontends[_frontend(check)].append(check)
    dropped: set[str] = set()
    for number, checks in enumerate(frontends.values()):
        dropped |= {check.id for check in checks} - {checks[number % len(checks)].id}
    if not dropped:
        return found
    reason = "one pod tries each door: Linux sends one client few ICMP errors a second"
    kept = tuple(check for check in found.checks if check.id not in dropped)
    return CheckSet(kept, (*found.skips, Skip("refusals", reason, len(dropped))))


def _frontend(check: Check) -> tuple[str, str, object]:
    """The same for all clients of a frontend; a node port is one frontend on every node."""
    ask = check.steps[0].ask
    if check.kind == "node-port" and isinstance(ask, (Http, Datagrams)):
        protocol = ask.protocol if isinstance(ask, Datagrams) else ""
        return check.path, check.kind, (ask.port, protocol)
    return check.path, check.kind, check.target


def _is_refused_pod(check: Check) -> bool:
    return check.source.kind is LocationKind.POD and check.is_refused
