"""The status of a pod that its containers' reports make."""

from __future__ import annotations

import pytest

from kns.agent.controllers import meta
from kns.agent.kubelet.reports import ContainerReport, Ended, PodReport, with_report
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.pod import RestartPolicy

NOW = 1_800_000_000.0
RUNNING = ContainerReport("c", ready=True, started=True, running=NOW)
FAILED = ContainerReport("c", ended=Ended(1, NOW - 9, NOW))
DONE = ContainerReport("c", ended=Ended(0, NOW - 9, NOW))
CRASHED = ContainerReport(
    "c", restarts=3, waiting=("CrashLoopBackOff", "back-off 40s"), ended=Ended(1, NOW - 9, NOW)
)


def status(*containers: ContainerReport, spec: Object | None = None) -> Object:
    pod: Object = {"metadata": {"name": "web"}, "spec": spec or {}, "status": {}}
    report = PodReport("default", "web", containers)
    return with_report(pod, report, NOW)


@pytest.mark.parametrize(
    ("policy", "containers", "phase"),
    [
        ("Always", (ContainerReport("c"),), "Pending"),
        ("Always", (RUNNING,), "Running"),
        ("Always", (CRASHED,), "Running"),
        ("Never", (RUNNING, FAILED), "Running"),
        ("Never", (FAILED,), "Failed"),
        ("Never", (DONE,), "Succeeded"),
        ("Never", (DONE, FAILED), "Failed"),
        ("OnFailure", (DONE,), "Succeeded"),
    ],
)
def test_the_phase(policy: str, containers: tuple[ContainerReport, ...], phase: str) -> None:
    assert PodReport("default", "web", containers, RestartPolicy(policy)).phase == phase


def test_a_pod_is_ready_with_all_its_containers() -> None:
    assert meta.is_true(status(RUNNING), "Ready")
    found = status(RUNNING, ContainerReport("d", running=NOW))
    ready = meta.condition(found, "Ready") or {}
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [d]"
    assert not meta.is_true(found, "ContainersReady")


def test_a_readiness_gate_holds_the_pod_and_not_its_containers() -> None:
    found = status(RUNNING, spec={"readinessGates": [{"conditionType": "example.com/x"}]})
    assert meta.is_true(found, "ContainersReady")
    assert (meta.condition(found, "Ready") or {})["reason"] == "ReadinessGatesNotReady"
    opened = meta.with_condition(found, {"type": "example.com/x", "status": "True"}, NOW)
    again = with_report(opened, PodReport("default", "web", (RUNNING,)), NOW)
    ready = meta.condition(again, "Ready") or {}
    assert ready["status"] == "True"
    assert "reason" not in ready


def test_a_container_in_its_back_off_says_so() -> None:
    (found,) = objects.mappings(status(CRASHED), "status", "containerStatuses")
    assert objects.text(found, "state", "waiting", "reason") == "CrashLoopBackOff"
    assert objects.number(found, "lastState", "terminated", "exitCode") == 1
    assert found["restartCount"] == 3


def test_the_same_report_again_changes_nothing() -> None:
    first = status(RUNNING)
    assert with_report(first, PodReport("default", "web", (RUNNING,)), NOW + 60) == first
