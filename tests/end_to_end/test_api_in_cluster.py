"""The API inside the cluster: pods reach it by the Service `kubernetes`, and by nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.compile.paths import LabPaths
from kns.engine import enter
from kns.engine.down import down
from kns.engine.labs import agent_pid, running
from kns.engine.status import status
from kns.engine.up import up
from kns.kernel.processes import Completed, command_line, run
from kns.probe.ask.places import places_of
from kns.probe.probe import ProbeOptions, probe
from kns.probe.verify import verify
from kns.promise.flow import Outcome
from tests.end_to_end.api_client import APIClient, client_of, until
from tests.end_to_end.labfiles import leftovers, write_lab
from tests.kubectl import RELEASES, program

pytestmark = pytest.mark.kernel

LAB = "apipods"
TEXT = f"""\
apiVersion: kns/v1
kind: Lab
metadata: {{name: {LAB}}}
apiServer: {{node: node1}}
networking: {{dns: {{replicas: 1}}}}
nodes: [{{name: node1}}, {{name: node2}}]
pods:
- {{name: pod1, node: node1}}
- {{name: pod2, node: node2}}
- {{name: closed, node: node2, labels: {{app: closed}}}}
- {{name: reader, node: node2, serviceAccountName: reader}}
- {{name: bare, node: node1, automountServiceAccountToken: false}}
- {{name: program, node: node1, containers: [{{name: main, command: [sleep, infinity]}}]}}
- {{name: shy, node: node1, serviceAccountName: shy}}
- {{name: bold, node: node1, serviceAccountName: shy, automountServiceAccountToken: true}}
networkPolicies:
- {{name: no-way-out, podSelector: {{matchLabels: {{app: closed}}}}, policyTypes: [Egress]}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: shy}}
automountServiceAccountToken: false
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: reader}}
"""
URL = "https://kubernetes.default.svc.cluster.local"
PODS = "/api/v1/namespaces/default/pods"
FILES = "/var/run/secrets/kubernetes.io/serviceaccount"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
ROLE = {"group": "rbac.authorization.k8s.io", "name": "reads-pods"}
#: what a client library in a pod does
ASK = f"""\
cd {FILES}; curl -sS --cacert ca.crt -H "Authorization: Bearer $(cat token)" -w ' %{{http_code}}' \\
https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$(cat namespace)/pods
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The lab is up, and its API is there."""
    made = write_lab(tmp_path_factory.mktemp(LAB), TEXT)
    try:
        up(made)
        client_of(LAB)
        yield made
        assert until(lambda: status(LAB).drift == ())
    finally:
        down(LAB)
        assert leftovers(LAB) == {}


@pytest.fixture
def client(file: Path) -> APIClient:
    assert file.exists()
    return client_of(LAB)


def in_pod(name: str, *argv: str, seconds: float = 60) -> Completed:
    lab = running(LAB)
    pod = lab.cluster.pod("default", name)
    assert pod is not None
    return run(argv, context=enter.context_of(lab, pod), timeout=seconds)


def all_pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def curl(pod: str, url: str, *more: str, token: str = "") -> str:
    """The code of the answer, or curl's own, with what was said."""
    authority = str(LabPaths(LAB).tls / "ca.pem")
    header = ("-H", f"Authorization: Bearer {token}") if token else ()
    words = ("curl", "-sS", "--cacert", authority, "-w", " %{http_code}", *header, *more, url)
    done = in_pod(pod, *words)
    return f"exit {done.returncode}: {done.stderr}" if done.returncode else done.stdout


def test_pods_on_every_node_reach_it_by_its_names_with_a_token(client: APIClient) -> None:
    for pod in ("pod1", "pod2"):
        for url in (URL, "https://kubernetes", "https://10.96.0.1", "https://172.18.0.2:6443"):
            said = curl(pod, f"{url}{PODS}", token=client.token)
            assert said.endswith(" 200"), said
            assert '"pod1"' in said


def test_without_a_token_or_with_a_wrong_one_it_refuses(client: APIClient) -> None:
    assert client.token
    for token in ("", "wrong"):
        assert curl("pod2", f"{URL}{PODS}", token=token).endswith(" 401")


def test_the_port_of_the_machine_s_loopback_is_not_the_pods(client: APIClient) -> None:
    assert curl("pod1", f"https://127.0.0.1:{client.port}{PODS}").startswith("exit 7")


def test_a_policy_keeps_a_pod_from_it(client: APIClient) -> None:
    assert client.token
    said = curl("closed", "https://10.96.0.1/api", "--connect-timeout", "2")
    assert said.startswith("exit 28")


def test_verify_tries_it_and_probe_says_what_it_answers(client: APIClient) -> None:
    assert client.token
    lab = running(LAB)
    places = places_of(LAB, lab.paths)
    report = verify(lab.cluster, places, only="->kubernetes")
    assert [check for check in report.checks if not check.ok] == []
    answered = {check.id for check in report.checks if check.evidence == "HTTP 401"}
    assert {f"pod-to-service/cluster-ip/{pod}->kubernetes" for pod in ("pod1", "pod2")} <= answered
    found = probe(lab.cluster, places, "pod2", "kubernetes", ProbeOptions(timeout=20))
    assert (found.outcome, found.attempts[0].status) == (Outcome.CONNECTED, 401)


def test_the_api_has_its_service_slice_and_endpoints(client: APIClient) -> None:
    code, service = client.ask("/api/v1/namespaces/default/services/kubernetes")
    assert (code, service["spec"]["clusterIP"]) == (200, "10.96.0.1")
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
    code, made = client.ask(path)
    assert code == 200
    assert made["metadata"]["labels"] == {"kubernetes.io/service-name": "kubernetes"}
    assert made["endpoints"] == [{"addresses": ["172.18.0.2"], "conditions": {"ready": True}}]
    code, endpoints = client.ask("/api/v1/namespaces/default/endpoints/kubernetes")
    assert code == 200
    assert endpoints["metadata"]["labels"] == {"endpointslice.kubernetes.io/skip-mirror": "true"}
    ports = [{"name": "https", "port": 6443, "protocol": "TCP"}]
    assert endpoints["subsets"] == [{"addresses": [{"ip": "172.18.0.2"}], "ports": ports}]


def test_pods_find_the_files_of_their_service_account(client: APIClient) -> None:
    assert client.token
    listed = in_pod("pod1", "ls", FILES).stdout.split()
    assert listed == ["ca.crt", "namespace", "token"]
    assert in_pod("pod1", "cat", f"{FILES}/namespace").stdout == "default"
    assert in_pod("reader", "cat", f"{FILES}/token").stdout.startswith("default.reader.")
    # the pod's word counts before its account's
    assert in_pod("bare", "ls", FILES).returncode != 0
    assert in_pod("shy", "ls", FILES).returncode != 0
    assert in_pod("bold", "cat", f"{FILES}/token").stdout.startswith("default.shy.")
    assert not Path(FILES).exists()
    code, account = client.ask("/api/v1/namespaces/default/serviceaccounts/default")
    assert (code, account["metadata"]["name"]) == (200, "default")
    assert status(LAB).changed == ()


def test_each_namespace_has_the_certificate_whoever_takes_it_away(client: APIClient) -> None:
    path = "/api/v1/namespaces/{}/configmaps/kube-root-ca.crt"
    authority = in_pod("pod1", "cat", f"{FILES}/ca.crt").stdout
    assert client.ask("/api/v1/namespaces", "POST", {"metadata": {"name": "more"}})[0] == 201

    def certificate(namespace: str) -> str:
        code, found = client.ask(path.format(namespace))
        return str(found["data"]["ca.crt"]) if code == 200 else ""

    def are_right() -> bool:
        return {certificate(name) for name in ("default", "kube-system", "more")} == {authority}

    assert until(are_right)
    assert client.ask(path.format("default"), "DELETE")[0] == 200
    assert until(are_right)
    kind = "application/merge-patch+json"
    assert client.ask(path.format("more"), "PATCH", {"data": {"ca.crt": "x"}}, kind)[0] == 200
    assert until(are_right)
    assert client.ask("/api/v1/namespaces/more", "DELETE")[0] == 200
    assert until(lambda: client.ask("/api/v1/namespaces/more")[0] == 404)
    assert status(LAB).changed == ()


@pytest.mark.parametrize("plural", ["services", "endpointslices"])
def test_the_service_kubernetes_comes_back(client: APIClient, plural: str) -> None:
    group = {"services": "api/v1", "endpointslices": "apis/discovery.k8s.io/v1"}[plural]
    path = f"/{group}/namespaces/default/{plural}/kubernetes"
    code, before = client.ask(path)
    assert code == 200
    assert client.ask(path, "DELETE")[0] == 200

    def uid() -> str:
        return str(client.ask(path)[1].get("metadata", {}).get("uid", ""))

    assert until(lambda: uid() not in {"", before["metadata"]["uid"]})
    assert client.ask(path)[1].get("spec") == before.get("spec")
    assert curl("pod2", f"{URL}{PODS}", token=client.token).endswith(" 200")
    assert until(lambda: status(LAB).changed == ())


def test_a_container_s_own_program_finds_them_too(client: APIClient) -> None:
    assert client.token
    (pid,) = (pid for pid in all_pids() if b"\0infinity\0" in command_line(pid))
    root = Path(f"/proc/{pid}/root")
    token = (root / "run" / FILES.removeprefix("/var/run/") / "token").read_text(encoding="ascii")
    assert token.startswith("default.default.")


def test_a_token_may_what_its_account_s_roles_say(client: APIClient) -> None:
    assert in_pod("pod2", "sh", "-c", ASK).stdout.endswith(" 403")
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    role = {"metadata": {"name": ROLE["name"]}, "rules": rules}
    bound = {
        "metadata": {"name": "reads-pods"},
        "roleRef": {"apiGroup": ROLE["group"], "kind": "Role", "name": ROLE["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}],
    }
    try:
        assert client.ask(f"{RBAC}/roles", "POST", role)[0] == 201
        assert client.ask(f"{RBAC}/rolebindings", "POST", bound)[0] == 201
        said = in_pod("reader", "sh", "-c", ASK).stdout
        assert said.endswith(" 200"), said
        assert '"pod1"' in said
        assert in_pod("pod2", "sh", "-c", ASK).stdout.endswith(" 403")
    finally:
        for path in ("rolebindings", "roles"):
            client.ask(f"{RBAC}/{path}/reads-pods", "DELETE")


def test_a_token_is_refused_once_its_account_is_gone(client: APIClient) -> None:
    """And by one of the same name that comes after it, whose own is in the pods' files."""
    accounts = "/api/v1/namespaces/default/serviceaccounts"

    def asked(token: str) -> int:
        return APIClient(client.port, token, client.context).ask("/api/v1/pods")[0]

    def in_file() -> str:
        return in_pod("reader", "cat", f"{FILES}/token").stdout

    code, made = client.ask(f"{accounts}/reader/token", "POST", {"spec": {}})
    assert code == 201
    token = made["status"]["token"]
    assert (in_file(), asked(token)) == (token, 403)
    assert client.ask(f"{accounts}/reader", "DELETE")[0] == 200
    assert asked(token) == 401
    assert client.ask(accounts, "POST", {"metadata": {"name": "reader"}})[0] == 201
    assert asked(token) == 401
    assert until(lambda: asked(in_file()) == 403)


def test_the_roles_that_every_cluster_has(client: APIClient) -> None:
    """Bound in a namespace, `view` reads there, but no secrets, and writes nothing."""
    _code, roles = client.ask("/apis/rbac.authorization.k8s.io/v1/clusterroles")
    names = [role["metadata"]["name"] for role in roles["items"]]
    assert names == ["admin", "cluster-admin", "edit", "view"]
    token = in_pod("pod1", "cat", f"{FILES}/token").stdout
    space = "https://kubernetes/api/v1/namespaces/default"
    asked = {
        "reads": (f"{space}/services",),
        "elsewhere": ("https://kubernetes/api/v1/namespaces/kube-system/services",),
        "secrets": (f"{space}/secrets",),
        "writes": (f"{space}/pods/nobody", "-X", "DELETE"),
        "roles": (f"https://kubernetes{RBAC}/roles",),
        "nodes": ("https://kubernetes/api/v1/nodes",),
    }

    def answers() -> dict[str, str]:
        said = {what: curl("pod1", *words, token=token) for what, words in asked.items()}
        return {what: text.rpartition(" ")[2] for what, text in said.items()}

    def bound_to(role: str, path: str) -> dict[str, str]:
        binding = {
            "metadata": {"name": "built-in"},
            "roleRef": {"apiGroup": ROLE["group"], "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
        }
        assert client.ask(path, "POST", binding)[0] == 201
        try:
            return answers()
        finally:
            client.ask(f"{path}/built-in", "DELETE")

    nothing = dict.fromkeys(asked, "403")
    view = nothing | {"reads": "200"}
    edit = view | {"secrets": "200", "writes": "404"}
    admin = edit | {"roles": "200"}
    expected = {"view": view, "edit": edit, "admin": admin}
    for role, codes in expected.items():
        assert bound_to(role, f"{RBAC}/rolebindings") == codes, role
    everywhere = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    all_of_it = dict.fromkeys(asked, "200") | {"writes": "404"}
    assert bound_to("cluster-admin", everywhere) == all_of_it
    assert answers() == nothing
    assert status(LAB).changed == ()


def test_kubectl_in_a_pod_needs_no_kubeconfig(client: APIClient, tmp_path: Path) -> None:
    assert client.token
    done = in_pod("pod2", "env", f"HOME={tmp_path}", str(program(RELEASES[0])), "get", "pods")
    assert done.returncode == 1
    assert 'User "system:serviceaccount:default:default" cannot list resource "pods"' in done.stderr


def test_an_agent_that_was_killed_comes_back_and_serves_it(client: APIClient, file: Path) -> None:
    killed = agent_pid(LAB)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    until(lambda: agent_pid(LAB) != killed)
    result = up(file)
    assert (result.ops, result.undone) == ((), ())
    said = curl("pod2", f"https://10.96.0.1{PODS}", token=client.token)
    assert said.endswith(" 200"), said
    again = up(file)
    assert (again.ops, again.serving, again.undone) == ((), (), ())
