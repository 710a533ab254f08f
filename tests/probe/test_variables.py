"""What a pod's variables must be: those of now for a young pod, of its start for an old one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kns.cluster.environment import service_environment
from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab_text
from kns.probe.ask.places import Places
from kns.probe.judge import judge
from kns.probe.model import Attempt
from kns.probe.variables import as_at_start
from kns.promise.check import Expectation, Variables
from kns.promise.flow import Outcome
from kns.promise.location import Location

LAB = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: x}
networking: {dns: {enabled: false}}
nodes: [{name: node1}]
pods: [{name: pod1, labels: {app: a}, containers: [{name: web, port: 8080}]}]
services:
- {name: web, clusterIP: 10.96.0.20, selector: {app: a}, ports: [{port: 80, targetPort: 8080}]}
"""
PROMISE = Expectation(
    variables=(
        Variables((("OWN", "1"),), optional=False),
        Variables((("WEB_SERVICE_HOST", "10.96.0.20"), ("WEB_SERVICE_PORT", "80"))),
    )
)
CLUSTER = resolve(load_lab_text(LAB).spec).cluster
POD = next(pod for pod in CLUSTER.pods if pod.name == "pod1")
NOW = dict(service_environment(CLUSTER, POD))


def ok(folder: Path | None, noted: object, has: dict[str, str]) -> bool:
    """Whether a container with these variables keeps the promise, by what `up` noted down."""
    if folder is not None:
        (folder / "env").write_text(json.dumps(noted), encoding="utf-8")
    places = Places(lambda _: "", lambda _: folder)
    expectation = as_at_start(PROMISE, CLUSTER, places, Location(POD))
    body = "".join(f"{name}={value}\n" for name, value in {"OWN": "1", **has}.items())
    return judge(expectation, (Attempt(Outcome.CONNECTED, body=body),)).ok


def test_young_pod_has_the_values_of_now(tmp_path: Path) -> None:
    noted = list(NOW.items())
    assert ok(tmp_path, noted, NOW)
    assert not ok(tmp_path, noted, {**NOW, "WEB_SERVICE_PORT": "81"})
    assert not ok(tmp_path, noted, {**NOW, "OWN": "2"})


def test_old_pod_keeps_those_of_its_start(tmp_path: Path) -> None:
    old = {**NOW, "WEB_SERVICE_PORT": "79", "WEB_SERVICE_HOST": "10.96.0.9"}
    assert ok(tmp_path, list(old.items()), old)
    assert not ok(tmp_path, list(old.items()), NOW)
    assert not ok(tmp_path, list(old.items()), {**old, "OWN": "2"})


def test_pod_older_than_the_service_knows_none_of_it(tmp_path: Path) -> None:
    assert ok(tmp_path, [], {})


def test_wrong_note_excuses_no_wrong_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kns itself would write now counts as no older state."""
    wrong = (("WEB_SERVICE_HOST", "10.96.0.99"),)
    monkeypatch.setattr("kns.probe.variables.service_environment", lambda *_: wrong)
    assert not ok(tmp_path, wrong, dict(wrong))


def test_without_a_note_the_promise_is_that_of_now() -> None:
    assert ok(None, None, NOW)
    assert not ok(None, None, {**NOW, "WEB_SERVICE_HOST": "10.96.0.9"})
