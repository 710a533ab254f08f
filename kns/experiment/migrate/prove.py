"""Each claimed difference tried with real traffic, in a lab of the one setting, then the other.

up ─▶ for each difference the flow that shows it, as a check of `kns verify`,
      or several connections where no single flow shows it (trial.py, trying.py) ─▶ down
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from kns.experiment.migrate.trial import trial_of
from kns.experiment.migrate.trying import Claim, carry_out
from kns.experiment.setting import ProxySetting
from kns.probe.addresses import owners
from kns.probe.ask.asking import Asker
from kns.probe.ask.places import Places, places_of
from kns.probe.verify import CheckResult, verify
from kns.promise.check import Check, CheckSet, Expectation, Step
from kns.promise.flow import Promise
from kns.promise.lookup import Lookup
from kns.promise.promise import promise
from kns.promise.steps import Title, ask_of, service_check, title_check


@dataclass(frozen=True, slots=True)
class Untried:
    """A kind of difference of which something was not tried, and why."""

    kind: DifferenceKind
    reason: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of the flows under one setting."""

    setting: ProxySetting
    checks: tuple[CheckResult, ...]
    untried: tuple[Untried, ...] = ()

    @property
    def failed(self) -> int:
        """Claims that were wrong."""
        return sum(not check.ok for check in self.checks)


def prove(
    files: Sequence[Path],
    cluster: Cluster,
    found: Migration,
    progress: Callable[[str], None] = lambda _line: None,
) -> tuple[Proof, ...]:
    """Build the lab in both settings and try every difference that the lab can show.

    `cluster` is the one of the files, which `found` tells of. Raises UsageError if the lab is up,
    PlatformError if this machine lacks a mode.
    """
    _require_down(cluster)
    first, *more = files
    proofs = []
    for setting in (found.before, found.after):
        progress(f"{setting}: building")
        result = up(first, more=more, proxy_mode=setting.mode, release=setting.release)
        try:
            places = places_of(cluster.name, LabPaths(cluster.name))
            progress(f"{setting}: trying")
            proofs.append(
                _prove(result.cluster, places, Lookup(setting.cluster(cluster)), setting, found)
            )
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


def _prove(
    built: Cluster, places: Places, lookup: Lookup, setting: ProxySetting, found: Migration
) -> Proof:
    """Try all in the lab as it was built; what no single flow shows first: nobody has asked yet."""
    asker = Asker(places, owners(built))
    tried: list[CheckResult] = []
    untried: dict[Untried, None] = {}
    for item in found.differences:
        if item.flow is not None:
            continue
        trial = trial_of(lookup, item)
        if isinstance(trial, str):
            untried[Untried(item.kind, trial)] = None
            continue
        words = item.before if setting == found.before else item.after
        tried.append(carry_out(asker, built, trial, Claim(item.kind, item.frontend, words)))
    checks = CheckSet(tuple(_checks(lookup, found)))
    tried += verify(built, places, checks=checks).checks
    return Proof(setting, tuple(tried), tuple(untried))


def _checks(lookup: Lookup, found: Migration) -> Iterator[Check]:
    for item in found.differences:
        if item.flow is None:
            continue
        title, promised = Title("migrate", item.kind, item.frontend), promise(lookup, item.flow)
        if item.flow.port is None:
            yield _ping(title, promised)
            continue
        check = service_check(lookup.cluster, title, promised)
        if isinstance(check, Check):
            yield check


def _ping(title: Title, promised: Promise) -> Check:
    stop = promised.stop
    expected = "answers ping" if stop is None else f"no answer: {stop.reason}"
    step = Step(ask_of(promised.flow), Expectation(outcomes=promised.outcomes))
    return title_check(title, promised.flow, expected, step)
