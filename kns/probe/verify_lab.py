"""`kns verify` of a lab that lives: its pods come and go while it is proved.

settle ─▶ verify ─▶ if a check failed and the lab is another one: what failed or is new, again
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from kns.cluster.model import Cluster
from kns.engine.labs import RunningLab, choose_lab, running
from kns.engine.settling import await_pods, settle
from kns.probe.ask.places import places_of
from kns.probe.verify import Progress, VerifyReport, matching, verify
from kns.promise.check import Check, CheckSet
from kns.promise.checks import cluster_checks

#: times that a lab which changes while it is proved is looked at again
_AGAIN = 3


@dataclass(frozen=True, slots=True)
class Observer:
    """Who is told of what.

    `waiting` gets what is waited for, `left` what was waited for in vain, `progress` how far it is.
    """

    waiting: Callable[[str], None]
    left: Callable[[str], None]
    progress: Callable[[Progress], None]


def verify_lab(
    lab: str | None, only: str, timeout: float, observer: Observer
) -> tuple[RunningLab, VerifyReport]:
    """Prove everything that the lab promises once its pods are there, or `timeout` is over.

    Where the lab has changed in the meantime, what failed has to be so of the lab as it is then; it
    is waited for within the same `timeout`. UsageError if `only` matches nothing from the start.
    """
    name = choose_lab(lab)
    deadline = time.monotonic() + timeout
    told: set[str] = set()
    _await(name, timeout, observer, told)
    found = running(name)
    places = places_of(found.name, found.paths)
    report = verify(found.cluster, places, only=only, report=observer.progress)
    for _ in range(_AGAIN):
        if not report.failed:
            break
        settle(name)
        if running(name).cluster == found.cluster:
            break
        # what is left of 0, which is not to wait, is 0 too
        _await(name, deadline - time.monotonic() if timeout else 0.0, observer, told)
        now = running(name)
        wanted = matching(cluster_checks(now.cluster), only)
        left = _left(found.cluster, wanted, report, only)
        fresh = verify(now.cluster, places, checks=left, report=observer.progress)
        found, report = now, _joined(wanted, report, fresh)
    return found, report


def _await(name: str, timeout: float, observer: Observer, told: set[str]) -> None:
    """Wait for pods; what is left of them is told unless it was `told` before."""
    for waits in await_pods(name, timeout, observer.waiting):
        if waits not in told:
            told.add(waits)
            observer.left(waits)


def _left(before: Cluster, wanted: CheckSet, report: VerifyReport, only: str) -> CheckSet:
    """The checks that have failed, and those that the lab did not promise so before."""
    promised = {check.id: check for check in matching(cluster_checks(before), only).checks}
    kept = {result.id for result in report.checks if result.ok}

    def is_kept(check: Check) -> bool:
        return check.id in kept and promised.get(check.id) == check

    return CheckSet(tuple(c for c in wanted.checks if not is_kept(c)), wanted.skips)


def _joined(wanted: CheckSet, before: VerifyReport, fresh: VerifyReport) -> VerifyReport:
    """What is known of each check, the newest first; nothing of what is promised no more.

    The fresh ones began when those before were done.
    """
    shifted = (replace(item, started=before.seconds + item.started) for item in fresh.checks)
    results = {result.id: result for result in (*before.checks, *shifted)}
    return replace(
        fresh,
        checks=tuple(results[check.id] for check in wanted.checks),
        seconds=before.seconds + fresh.seconds,
    )
