"""The verbs that change a running lab's objects, as whole processes on the running kernel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.engine.labs import agent_pid
from tests.cli.process import KNS, Done, kns, lab_text

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("lab")]

LAB = "cli-live"
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
NEVER_READY = """\
apiVersion: v1
kind: Pod
metadata: {name: slow}
spec:
  containers: [{name: c, ports: [{containerPort: 8080}], readinessProbe: {tcpSocket: {port: 9}}}]
"""


@pytest.fixture(scope="module", name="lab")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("lab") / "lab.yaml"
    file.write_text(lab_text(LAB), encoding="utf-8")
    try:
        assert kns("up", str(file)).returncode == 0
        yield file
        status = json.loads(kns("status", LAB, "-o", "json").stdout)
        assert (status["healthy"], status["changed"]) == (True, [])
    finally:
        kns("down", LAB)


@pytest.fixture(autouse=True)
def _web(lab: Path) -> Iterator[None]:
    """Two pods and their Service, applied, and gone again."""
    assert kns("apply", "-", "-l", LAB, stdin=WEB).returncode == 0
    yield
    assert kns("up", str(lab)).returncode == 0


def changed(*words: str, stdin: str = "") -> dict[str, list[dict[str, object]]]:
    """What a command says of the network, as JSON; it must succeed."""
    done = kns(*words, "-l", LAB, "-o", "json", stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
    assert found["waitsFor"] == []
    return found


def names(found: dict[str, list[dict[str, object]]], change: str) -> list[object]:
    return [item["pod"] for item in found["pods"] if item["change"] == change]


def text(*words: str) -> list[str]:
    done = kns(*words, "-l", LAB)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def refused(done: Done, code: int = 2) -> str:
    assert (done.returncode, done.stdout) == (code, "")
    return done.stderr


def answers(*pods: str) -> None:
    """The Service leads to these pods: each of them is asked by its address, too."""
    slices = json.loads(kns("get", "endpoints", "web", "-l", LAB, "-o", "json").stdout)["items"]
    found = {e["targetRef"]["name"] for item in slices for e in item.get("endpoints") or ()}
    assert found == set(pods)
    url = "http://web/hostname"
    asked = kns("exec", "-l", LAB, "pod1", "--", "curl", "-s", "-m", "20", *[url] * 8)
    assert set(asked.stdout.split("web-")[1:]) <= {name.removeprefix("web-") for name in pods}


def test_apply_tells_what_came_and_delete_what_went() -> None:
    gone = changed("delete", "deploy/web", "svc/web")
    assert [(item["kind"], item["result"]) for item in gone["objects"]] == [
        ("Deployment", "deleted"),
        ("Service", "deleted"),
    ]
    assert names(gone, "gone") == ["default/web-1", "default/web-2"]
    done = kns("apply", "-", "-l", LAB, stdin=WEB)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["deployment.apps/web created", "service/web created"]
    assert [line.split(":")[0] for line in lines[2:4]] == [
        "  + pod web-1 on node1",
        "  + pod web-2 on node2",
    ]
    assert lines[4].startswith("  + svc web: 10.96.")
    assert [line.rpartition(" ")[2] for line in lines[5:7]] == ["(web-1)", "(web-2)"]
    assert lines[7].startswith("  rules of node1, node2 (iptables): ")


def test_pods_come_and_go_and_the_service_stays() -> None:
    found = changed("scale", "web=3")
    assert names(found, "new") == ["default/web-3"]
    (endpoint,) = found["endpoints"]
    assert (endpoint["service"], endpoint["pod"]) == ("default/web", "default/web-3")
    assert [item["node"] for item in found["rules"]] == ["node1", "node2"]
    found = changed("delete", "pod", "web-1")
    assert (names(found, "new"), names(found, "gone")) == (["default/web-4"], ["default/web-1"])
    assert len({str(item["addresses"]) for item in found["pods"]}) == 2
    answers("web-2", "web-3", "web-4")
    assert len(names(changed("scale", "web=1"), "gone")) == 2


def test_drain_and_uncordon() -> None:
    assert "pods that nobody makes again: pod2" in refused(kns("drain", "node2", "-l", LAB))
    found = changed("drain", "node2", "--force")
    assert set(names(found, "gone")) == {"default/pod2", "default/web-2"}
    assert {item["node"] for item in found["pods"] if item["change"] == "new"} == {"node1"}
    assert text("cordon", "node2", "node1") == [
        "node/node2 already cordoned",
        "node/node1 cordoned",
    ]
    assert [row.split()[1] for row in text("get", "nodes")[1:]] == ["Ready,SchedulingDisabled"] * 2
    assert text("uncordon", "node2", "node1") == ["node/node2 uncordoned", "node/node1 uncordoned"]
    answers("web-1", "web-3")


def test_rollout() -> None:
    assert text("rollout", "history", "web") == ["REVISION   CHANGE-CAUSE", "1          <none>"]
    found = changed("rollout", "restart", "web")
    assert names(found, "gone") == ["default/web-1", "default/web-2"]
    assert text("rollout", "status", "web")[-1] == "deployment.apps/web is rolled out"
    done = json.loads("\n".join(text("rollout", "status", "web", "-o", "json")))
    assert done == {"complete": True, "progress": ["deployment.apps/web is rolled out"]}
    listed = json.loads("\n".join(text("get", "deploy,pods", "-o", "json")))
    assert {item["kind"] for item in listed["items"]} == {"Deployment", "Pod"}
    assert len(text("get", "pods", "--selector", "app=web")) == 3
    revisions = json.loads(kns("rollout", "history", "web", "-l", LAB, "-o", "json").stdout)
    assert [item["revision"] for item in revisions["revisions"]] == [1, 2]
    assert "restartedAt" in str(revisions["revisions"][1]["template"])
    (undone,) = changed("rollout", "undo", "web")["objects"]
    assert undone["result"] == "rolled back to revision 1"


def test_what_is_not_so_in_time() -> None:
    done = kns("apply", "-", "-l", LAB, "--timeout", "0.1", stdin=NEVER_READY)
    assert done.returncode == 1
    assert done.stdout.startswith("pod/slow created\n  + pod slow on node")
    assert done.stderr == (
        "not so after 0.1 s: pod/slow: it is not ready\n"
        "hint: kns events tells why; --timeout 0 does not wait\n"
    )
    assert changed("scale", "web=3", "--timeout", "0")["objects"]
    # what was not ready before keeps nobody waiting
    assert names(changed("delete", "pod", "slow"), "gone") == ["default/slow"]
    container = "ports: [{containerPort: 8080}]"
    bad = WEB.replace(container, f"{container}, readinessProbe: {{tcpSocket: {{port: 9}}}}")
    assert kns("apply", "-", "-l", LAB, "--timeout", "0", stdin=bad).returncode == 0
    as_json = kns("rollout", "status", "web", "-l", LAB, "--timeout", "0", "-o", "json")
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["complete"] is False
    stuck = kns("rollout", "status", "web", "-l", LAB, "--timeout", "0")
    assert (stuck.returncode, len(stuck.stdout.splitlines())) == (1, 1)


def test_errors_have_their_place() -> None:
    bad = WEB.replace("port: 80,", "prt: 80,").replace("replicas", "replcas")
    said = refused(kns("apply", "-", "-l", LAB, stdin=bad))
    assert said.splitlines()[:3] == [
        "<stdin>:14:38: spec.ports[0].port: Required value",
        "  hint: add `port: …` here",
        '<stdin>:14:44: spec.ports[0].prt: unknown field "prt"',
    ]
    assert "there is no pod 'web-9'" in refused(kns("delete", "pod", "web-9", "-l", LAB))
    assert "no lab named nope" in refused(kns("scale", "web=1", "-l", "nope"))
    assert "no file is named" in refused(kns("apply", "-l", LAB))
    assert refused(kns("scale", "web", "-l", LAB)).endswith("hint: kns scale web=5\n")


def test_an_agent_that_was_killed_is_started_again() -> None:
    pid = agent_pid(LAB)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert names(changed("scale", "web=3"), "new") == ["default/web-3"]
    assert agent_pid(LAB) not in {None, pid}


def test_events() -> None:
    table = kns("events", "-l", LAB).stdout.splitlines()
    assert table[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    with subprocess.Popen(
        [*KNS, "events", "-f", "-l", LAB], stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        try:
            assert following.stdout.readline() != ""
            changed("delete", "pod", "web-2")
            assert any("Killing" in line and "Pod/web-2" in line for line in following.stdout)
        finally:
            following.terminate()
    items = json.loads(kns("events", "-l", LAB, "-o", "json").stdout)["items"]
    assert "Killing" in {item["reason"] for item in items}
    # kubectl's other word for it
    assert "pod/web-2" in kns("get", "events", "-l", LAB).stdout
    assert kns("get", "events", "-A", "-l", LAB).stdout.startswith("NAMESPACE")
    assert "pod/web-2" in kns("get", "deployments,events", "-l", LAB).stdout


def test_a_container_that_was_killed_is_counted() -> None:
    def restarts() -> list[str]:
        return [line.split()[3] for line in text("get", "pods", "web-1", "web-2")[1:]]

    assert restarts() == ["0", "0"]
    text("kill", "web-2")
    deadline = time.monotonic() + 60
    while restarts() != ["0", "1"] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert restarts() == ["0", "1"]
    assert text("rollout", "status", "web")[-1] == "deployment.apps/web is rolled out"
    head, row = text("get", "deploy", "web")
    assert head.split()[:4] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE"]
    assert row.split()[:2] == ["web", "2/2"]


def test_names_are_completed() -> None:
    for words, found in (
        ("kns delete po", {"pod", "poddisruptionbudget"}),
        ("kns delete pod web", {"web-1", "web-2"}),
        ("kns delete svc/w", {"svc/web"}),
        ("kns rollout restart w", {"web"}),
        ("kns cordon n", {"node1", "node2"}),
    ):
        count = str(len(words.split()) - 1)
        env = {"_KNS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": count}
        done = kns(KNS_LAB=LAB, **env)
        assert {line.partition(",")[2] for line in done.stdout.splitlines()} == found
