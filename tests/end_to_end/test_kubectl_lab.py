"""The real kubectl on a running lab: what it asks for is so in the kernel."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.compile.paths import LabPaths
from kns.engine.down import down
from kns.engine.kubeconfig import wait_for_api, write_kubeconfig
from kns.engine.status import status
from kns.engine.up import up
from kns.kernel.processes import Context, run
from tests.end_to_end.api_client import PATIENCE, until
from tests.end_to_end.labfiles import leftovers, small_lab, write_lab
from tests.kubectl import RELEASES, Kubectl

pytestmark = pytest.mark.kernel

LAB = "kubectltest"
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: server, image: agnhost, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
WAIT = f"--timeout={PATIENCE:.0f}s"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the kubeconfig of a lab of two nodes is."""
    made = tmp_path_factory.mktemp("kubectl")
    try:
        up(write_lab(made, small_lab(LAB, pods=2, nodes=2)))
        wait_for_api(LabPaths(LAB))
        yield made
        assert until(lambda: status(LAB).drift == ())
    finally:
        down(LAB)
        assert leftovers(LAB) == {}


@pytest.fixture
def kubectl(request: pytest.FixtureRequest, folder: Path) -> Kubectl:
    release = getattr(request, "param", max(RELEASES))
    return Kubectl(release, write_kubeconfig(LabPaths(LAB)), folder)


#: for what is carried otherwise than plain requests: streams
each_release = pytest.mark.parametrize("kubectl", RELEASES, indirect=True)


@pytest.fixture
def web(kubectl: Kubectl) -> Iterator[str]:
    """A Deployment of two pods behind a Service; its cluster IP."""
    kubectl.ok("apply", "-f", "-", text=WEB)
    kubectl.ok("rollout", "status", "deployment/web", WAIT)
    yield kubectl.ok("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    kubectl.ok("delete", "deployment/web", "service/web", WAIT)


def curl(source: str, url: str) -> str:
    context = Context(f"kns.{LAB}.{source}")
    return run(["curl", "-s", "-m", "20", url], context=context, timeout=30).stdout


def all_answer(names: list[str], source: str, address: str) -> bool:
    """True as soon as each of the pods has answered at the Service's address."""
    left = set(names)

    def one_more() -> bool:
        left.discard(curl(source, f"http://{address}/hostname"))
        return not left

    return until(one_more)


def pods(kubectl: Kubectl) -> list[str]:
    names = kubectl.ok("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}")
    return sorted(names.split())


def test_a_deployment_scales_behind_its_service(kubectl: Kubectl, web: str) -> None:
    before = pods(kubectl)
    kubectl.ok("scale", "deployment", "web", "--replicas=4")
    kubectl.ok("rollout", "status", "deployment/web", WAIT)
    after = pods(kubectl)
    assert (len(before), len(after), set(before) <= set(after)) == (2, 4, True)
    assert all_answer(after, "pod1", web)
    slices = kubectl.ok(
        "get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "json"
    )
    assert sum(len(item["endpoints"]) for item in json.loads(slices)["items"]) == 4


def test_a_pod_that_comes_back_by_its_own_name_was_deleted(kubectl: Kubectl) -> None:
    stateful = WEB.replace("Deployment", "StatefulSet").replace("name: web", "name: db")
    stateful = stateful.replace("app: web", "app: db").replace("replicas: 2", "serviceName: db")
    kubectl.ok("apply", "-f", "-", text=stateful)
    kubectl.ok("rollout", "status", "statefulset/db", WAIT)
    uid = ("get", "pod", "db-0", "-o", "jsonpath={.metadata.uid}")
    before = kubectl.ok(*uid)
    kubectl.ok("delete", "pod", "db-0", WAIT)
    assert kubectl.ok(*uid) != before
    kubectl.ok("delete", "statefulset/db", "service/db", WAIT)


def test_what_describes_the_lab_is_whole(kubectl: Kubectl) -> None:
    address = kubectl.ok("get", "pod", "pod1", "-o", "jsonpath={.status.podIP}")
    assert f"{address}:8080" in kubectl.ok("get", "endpoints", "svc-a")
    described = kubectl.ok("describe", "node", "node1")
    assert "pod1" in described
    assert "-9223372036854775808" not in described
    assert "Endpoints:" in kubectl.ok("describe", "service", "svc-a")


def test_a_deleted_pod_is_replaced(kubectl: Kubectl, web: str) -> None:
    before = pods(kubectl)
    kubectl.ok("delete", "pod", before[0], WAIT)
    kubectl.ok("rollout", "status", "deployment/web", WAIT)
    until(lambda: len(pods(kubectl)) == 2)
    after = pods(kubectl)
    assert before[0] not in after
    assert all_answer(after, "node2", web)


def test_a_rollout_makes_every_pod_anew(kubectl: Kubectl, web: str) -> None:
    before = pods(kubectl)
    kubectl.ok("rollout", "restart", "deployment/web")
    kubectl.ok("rollout", "status", "deployment/web", WAIT)
    until(lambda: len(pods(kubectl)) == 2)
    assert set(before).isdisjoint(pods(kubectl))
    assert all_answer(pods(kubectl), "pod1", web)


def test_a_drained_node_keeps_no_pod(kubectl: Kubectl, web: str) -> None:
    assert web
    kubectl.ok("drain", "node2", "--force", "--ignore-daemonsets", WAIT)
    try:
        kubectl.ok("rollout", "status", "deployment/web", WAIT)
        nodes = kubectl.ok(
            "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}"
        )
        assert set(nodes.split()) == {"node1"}
    finally:
        kubectl.ok("uncordon", "node2")
        if kubectl.run("get", "pod", "pod2")[0]:
            kubectl.ok("run", "pod2", "--image=agnhost", "--port=8080", "--labels=app=a",
                       '--overrides={"spec":{"nodeName":"node2"}}')  # fmt: skip
    kubectl.ok("wait", "--for=condition=Ready", "pod/pod2", WAIT)


@each_release
def test_programs_run_in_pods_and_files_get_there(kubectl: Kubectl, folder: Path) -> None:
    assert kubectl.ok("exec", "pod1", "--", "hostname").strip() == "pod1"
    assert kubectl.run("exec", "pod1", "--", "sh", "-c", "exit 3")[0] == 3
    echoed = kubectl.ok("exec", "-i", "pod1", "--", "cat", text="there and back")
    assert echoed == "there and back"
    source, target = folder / "source", folder / "target"
    source.write_text("content")
    kubectl.ok("cp", str(source), f"pod1:{target}")
    assert target.read_text() == "content"


@each_release
def test_logs_tell_what_a_server_answered(kubectl: Kubectl) -> None:
    address = kubectl.ok("get", "pod", "pod1", "-o", "jsonpath={.status.podIP}")
    assert curl("node2", f"http://{address}:8080/hostname") == "pod1"
    assert "/hostname" in kubectl.ok("logs", "pod1")


@each_release
def test_a_port_is_forwarded(kubectl: Kubectl) -> None:
    with kubectl.start("port-forward", "service/svc-a", ":80") as forwarding:
        try:
            assert forwarding.stdout is not None
            line = forwarding.stdout.readline()
            port = int(line.split(" -> ")[0].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
                sock.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda: sock.recv(4096), b""))
        finally:
            forwarding.terminate()
    assert answer.endswith((b"pod1", b"pod2"))


def test_what_is_wrong_is_refused_and_stops_nothing(kubectl: Kubectl) -> None:
    wrong = WEB.replace("port: 80,", "port: 80000,")
    code, said = kubectl.run("apply", "-f", "-", text=wrong)
    assert code == 1
    assert 'The Service "web" is invalid' in said
    assert "must be between 1 and 65535" in said
    kubectl.ok("delete", "deployment", "web", WAIT)
    assert kubectl.run("get", "service", "web")[0] == 1
    assert kubectl.ok("get", "pod", "pod1", "-o", "name") == "pod/pod1\n"
