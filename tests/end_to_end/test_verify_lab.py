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
from kns.probe.verify_lab import Telling, verify_lab
from tests.end_to_end.labfiles import leftovers, small_lab, write_lab

pytestmark = pytest.mark.kernel

LAB = "verifylab"
#: ready seconds after `up` is done
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
        readinessProbe: {tcpSocket: {port: 8080}, initialDelaySeconds: 4, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
WAY = "pod-to-service/.*web"


@pytest.fixture
def _lab(tmp_path: Path) -> Iterator[None]:
    try:
        up(write_lab(tmp_path, small_lab(LAB, pods=2, nodes=2) + SLOW))
        yield
    finally:
        down(LAB)
        assert leftovers(LAB) == {}


def proved(
    only: str, waited: list[str], on_progress: Callable[[Progress], None] = lambda _: None
) -> VerifyReport:
    telling = Telling(waited.append, pytest.fail, on_progress)
    return verify_lab(LAB, only, 60.0, telling)[1]


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


@pytest.mark.usefixtures("_lab")
def test_a_lab_is_proved_as_it_is() -> None:
    waited: list[str] = []
    report = proved(WAY, waited)
    assert waited == ["pod/web-1: it is not ready"]
    assert (report.failed, leads_to_web(report)) == (0, True)
    # a pod that goes while it is proved, and one that comes
    report = proved(WAY, waited, scaled(0))
    assert (report.failed, leads_to_web(report)) == (0, False)
    report = proved(WAY, waited, scaled(1))
    assert (report.failed, leads_to_web(report)) == (0, True)
    # what is broken stays so, whatever else changes
    run(["ip", "route", "del", "10.244.1.0/24"], context=Context(f"kns.{LAB}.node1"))
    report = proved("pod-to-pod/.*pod1->pod2", waited, scaled(0))
    assert (report.passed, report.failed) == (0, 1)
    assert "route add" in str(report.drift)
