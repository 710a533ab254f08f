"""Proving a lab that changes meanwhile: how long it waits, what it asks again, what it reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from kns.cluster.model import Cluster
from kns.compile.paths import LabPaths
from kns.engine.labs import RunningLab
from kns.errors import UsageError
from kns.probe import verify_lab as module
from kns.probe.verify import CheckResult, Progress, VerifyReport, choose
from kns.probe.verify_lab import Observer, verify_lab
from kns.promise.check import CheckSet
from kns.promise.checks import cluster_checks
from tests.probe.scenes import four_paths

WHOLE = four_paths()
#: another lab, which promises the same of svc-web
RENAMED = replace(WHOLE, pods=(*WHOLE.pods[:-1], replace(WHOLE.pods[-1], labels={"app": "x"})))
WEB = "pod-to-service/.*svc-web"
WITHOUT_WEB = replace(
    WHOLE,
    services=tuple(s for s in WHOLE.services if s.name != "svc-web"),
    endpoint_slices=tuple(s for s in WHOLE.endpoint_slices if s.service != "svc-web"),
)


@dataclass
class FakeLab:
    """A lab that is another one with each run of checks; a run takes 10 s, waiting `waits` s."""

    clusters: Sequence[Cluster]
    #: of each run: whether its checks pass
    passes: Sequence[bool]
    waits: float = 0.0
    left: tuple[str, ...] = ()
    now: float = 1000.0
    timeouts: list[float] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    def running(self, _name: str) -> RunningLab:
        number = min(len(self.asked), len(self.clusters) - 1)
        return RunningLab("lab", self.clusters[number], LabPaths("lab"))

    def await_pods(
        self, _lab: str, timeout: float, _tell: Callable[[str], None]
    ) -> tuple[str, ...]:
        self.timeouts.append(timeout)
        self.now += self.waits
        return self.left

    def verify(
        self,
        cluster: Cluster,
        _places: object,
        *,
        only: str = "",
        checks: CheckSet | None = None,
        report: Callable[[Progress], None],
    ) -> VerifyReport:
        chosen = choose(checks or cluster_checks(cluster), only)
        ok = self.passes[len(self.asked)]
        self.asked.append(len(chosen.checks))
        self.now += 10.0
        report(Progress(0, 0, len(chosen.checks)))
        results = tuple(
            CheckResult(c.id, c.path, "", c.target, c.expected, "", ok, "", started=1.0)
            for c in chosen.checks
        )
        return VerifyReport(cluster.name, results, chosen.skips, 10.0)


def proved(
    fake: FakeLab, patch: pytest.MonkeyPatch, *, only: str = WEB, timeout: float = 60.0
) -> tuple[VerifyReport, list[str]]:
    patch.setattr(module, "choose_lab", lambda _lab: "lab")
    patch.setattr(module, "settle", lambda _lab: ())
    patch.setattr(module, "places_of", lambda *_: None)
    patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: fake.now), raising=False)
    for name in ("running", "await_pods", "verify"):
        patch.setattr(module, name, getattr(fake, name))
    left: list[str] = []
    observer = Observer(lambda _: None, left.append, lambda _: None)
    return verify_lab(None, only, timeout, observer)[1], left


def test_a_check_that_fails_of_the_same_lab_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeLab((WHOLE,), (False,))
    assert proved(fake, monkeypatch)[0].failed == fake.asked[0] > 0
    assert fake.timeouts == [60.0]


def test_the_timeout_is_that_of_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeLab((WHOLE, RENAMED, WHOLE), (False, False, True), waits=25.0, left=("pod/a: x",))
    report, left = proved(fake, monkeypatch)
    # 25 s waited and 10 s asked each time; the third is over already
    assert fake.timeouts == [60.0, 25.0, -10.0]
    assert left == ["pod/a: x"]
    assert report.failed == 0


def test_who_does_not_wait_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeLab((WHOLE, RENAMED), (False, True))
    proved(fake, monkeypatch, timeout=0.0)
    assert fake.timeouts == [0.0, 0.0]


def test_what_was_asked_again_began_after_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeLab((WHOLE, RENAMED, WHOLE), (False, False, True))
    report, _ = proved(fake, monkeypatch)
    assert {check.started for check in report.checks} == {21.0}
    assert report.seconds == 30.0


def test_checks_that_are_promised_no_more_leave_an_empty_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeLab((WHOLE, WITHOUT_WEB), (False, True))
    report, _ = proved(fake, monkeypatch)
    assert (report.checks, report.failed) == ((), 0)
    assert [skip.reason for skip in report.skips] == [f"--only {WEB}"]


def test_an_expression_that_never_matched_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="matches no check"):
        proved(FakeLab((WHOLE,), (True,)), monkeypatch, only="nonsense")
