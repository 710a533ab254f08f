"""Each claimed difference tried with real traffic, in a lab of the one setting, then the other.

up ─▶ for each difference the flow that shows it, as a check of `kns verify` ─▶ down
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kns.cluster.model import Cluster
from kns.compile.paths import LabPaths
from kns.engine.down import down
from kns.engine.labs import lab_netns
from kns.engine.up import up
from kns.errors import UsageError
from kns.experiment.migrate.kinds import DifferenceKind
from kns.experiment.migrate.migrate import Migration
from kns.experiment.setting import ProxySetting
from kns.probe.ask.places import places_of
from kns.probe.verify import CheckResult, verify
from kns.promise.check import Check, CheckSet, Echo, Expectation, Step
from kns.promise.flow import Promise
from kns.promise.lookup import Lookup
from kns.promise.promise import promise
from kns.promise.steps import Title, service_check, title_check


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of the flows under one setting."""

    setting: ProxySetting
    checks: tuple[CheckResult, ...]
    #: the kinds of which something was not tried, as no one flow of the lab shows it
    untried: tuple[DifferenceKind, ...] = ()

    @property
    def failed(self) -> int:
        """Claims that were wrong."""
        return sum(not check.ok for check in self.checks)


def prove(
    path: Path,
    cluster: Cluster,
    found: Migration,
    progress: Callable[[str], None] = lambda _line: None,
) -> tuple[Proof, ...]:
    """Build the lab in both settings and try every difference that a flow of the lab shows.

    `cluster` is the one that `found` tells of. Raises UsageError if the lab is up, PlatformError if
    this machine lacks a mode.
    """
    _require_down(cluster)
    proofs = []
    for setting in (found.before, found.after):
        progress(f"{setting}: building")
        result = up(path, proxy_mode=setting.mode, release=setting.release)
        try:
            places = places_of(cluster.name, LabPaths(cluster.name))
            progress(f"{setting}: trying")
            checks = CheckSet(tuple(_checks(setting.cluster(cluster), found)), ())
            tried = verify(result.cluster, places, checks=checks).checks
            proofs.append(Proof(setting, tried, _untried(found)))
        finally:
            down(result.lab)
    return tuple(proofs)


def _require_down(cluster: Cluster) -> None:
    """UsageError if the lab is up: proving builds and removes it."""
    if lab_netns(cluster.name):
        raise UsageError(
            f"lab {cluster.name} is up; proving would build and remove it",
            hint=f"kns down {cluster.name}",
        )


def _untried(found: Migration) -> tuple[DifferenceKind, ...]:
    return tuple(dict.fromkeys(item.kind for item in found.differences if item.flow is None))


def _checks(cluster: Cluster, found: Migration) -> Iterator[Check]:
    lookup = Lookup(cluster)
    for item in found.differences:
        if item.flow is None:
            continue
        title, promised = Title("migrate", item.kind, item.frontend), promise(lookup, item.flow)
        if item.flow.port is None:
            yield _ping(title, promised)
            continue
        check = service_check(cluster, title, promised)
        if isinstance(check, Check):
            yield check


def _ping(title: Title, promised: Promise) -> Check:
    stop = promised.stop
    expected = "answers ping" if stop is None else f"no answer: {stop.reason}"
    step = Step(Echo(promised.flow.destination), Expectation(outcomes=promised.outcomes))
    return title_check(title, promised.flow, expected, step)
