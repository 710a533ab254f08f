"""A lab that lives is proved as it is: pods become ready, come and go meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kns.engine.api_client import connect
from kns.engine.down import down
from kns.engine.labs import running
from kns.engine.live_change import LiveChange
from kns.engine.up import up
from kns.engine.workload_verbs import scale
from kns.kernel.processes import Context, run
from kns.probe.verify import Progress, VerifyReport
from kns.probe.verify_lab import Observer, verify_lab
from tests.end_to_end.labfiles import leftovers, small_lab, write_lab

pytestmark = pytest.mark.kernel

LAB = "verifylab"
#: web is ready once the file is there; seconds that it has until then are many
SLOW = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: server
        ports: [{containerPort: 8080}]
        startupProbe: {exec: {command: [test, -e, FILE]}, periodSeconds: 1, failureThreshold: 600}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
WAY = "pod-to-service/.*web"


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Path]:
    """The file for which web waits, in a lab that has just come up."""
    file = tmp_path / "released"
    try:
        slow = SLOW.replace("FILE", str(file))
        up(write_lab(tmp_path, small_lab(LAB, pods=2, nodes=2) + slow))
        yield file
    finally:
        down(LAB)
        assert leftovers(LAB) == {}


def proved(
    only: str,
    waiting: Callable[[str], None],
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> VerifyReport:
    observer = Observer(waiting, pytest.fail, on_progress)
    return verify_lab(LAB, only, 60.0, observer)[1]


def scaled(replicas: int) -> Callable[[Progress], None]:
    """Scales when it is known what is to be asked, and before it is."""
    done: list[bool] = []

    def once(_progress: Progress) -> None:
        if not done:
            done.append(True)
            change = LiveChange(LAB)
            result = scale(connect(running(LAB)), "web", replicas, "default")
            assert change.finish([result.ref], 60.0).waits == ()

    return once


def leads_to_web(report: VerifyReport) -> bool:
    return any("web-" in check.expected for check in report.checks)


def test_a_lab_is_proved_as_it_is(release: Path) -> None:
    waited: list[str] = []

    def waiting(what: str) -> None:
        waited.append(what)
        if "web-1" in what:
            release.touch()

    report = proved(WAY, waiting)
    assert "pod/web-1: it is not ready" in waited
    assert (report.failed, leads_to_web(report)) == (0, True)
    # a pod that goes while it is proved, and one that comes
    report = proved(WAY, waiting, scaled(0))
    assert (report.failed, leads_to_web(report)) == (0, False)
    report = proved(WAY, waiting, scaled(1))
    assert (report.failed, leads_to_web(report)) == (0, True)
    # what is broken stays so, whatever else changes
    run(["ip", "route", "del", "10.244.1.0/24"], context=Context(f"kns.{LAB}.node1"))
    report = proved("pod-to-pod/.*pod1->pod2", waiting, scaled(0))
    assert (report.passed, report.failed) == (0, 1)
    assert "route add" in str(report.drift)
