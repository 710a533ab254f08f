"""kubectl's everyday work against the API: what it is asked, and what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubectl import RELEASES, Kubectl

_CONFIG = """\
apiVersion: v1
kind: Config
current-context: lab
clusters: [{name: lab, cluster: {server: "http://127.0.0.1:PORT"}}]
contexts: [{name: lab, context: {cluster: lab, user: me}}]
users: [{name: me, user: {token: secret}}]
"""
_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: server, image: "nginx:1"}]}
"""
_UNKNOWN = """\
{apiVersion: v1, kind: Widget, metadata: {name: unknown}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: after}, data: {a: b}}
"""
#: in turn: the words, and what is in the answer; a bang before it: the command fails
TRANSCRIPT: tuple[tuple[str, str], ...] = (
    ("version", "Server Version: v1.37.1"),
    ("api-resources", "deployments              "),
    ("get nodes", "node1   Ready"),
    ("get pods -o wide", "web-1   1/1     Running   0"),
    ("get svc -A", "default     web    ClusterIP   10.96.0.20   <none>        80/TCP"),
    ("get all", "pod/web-2"),
    ("get pods -o name", "pod/web-1\npod/web-2\n"),
    ("get pods -l app=web --field-selector spec.nodeName=node1 -o name", "pod/web-1\n"),
    ("get pod web-1 -o jsonpath={.status.podIP}", "10.244.0.2"),
    ("get pods --chunk-size=1 -o name", "pod/web-1\npod/web-2\n"),
    ("get widgets", "!the server doesn't have a resource type"),
    ("get pod nope", '!Error from server (NotFound): pods "nope" not found'),
    ("describe pod web-1", "IP:               10.244.0.2"),
    ("describe node node1", "InternalIP:  172.18.0.2"),
    ("describe service web", "TargetPort:"),
    ("explain service.spec.ports", "targetPort"),
    ("explain lab", "KIND:       Lab"),
    ("auth can-i create pods", "yes"),
    ("create namespace shop", "namespace/shop created"),
    ("create configmap conf --from-literal=a=b", "configmap/conf created"),
    ("create secret generic key --from-literal=a=b", "secret/key created"),
    ("get secret key -o jsonpath={.data.a}", "Yg=="),
    ("create deployment dep --image=nginx --replicas=2", "deployment.apps/dep created"),
    ("create ingress in --rule=a.b/=web:80", "ingress.networking.k8s.io/in created"),
    ("create role r --verb=get --resource=pods", "role.rbac.authorization.k8s.io/r created"),
    ("run box --image=nginx --port=80", "pod/box created"),
    ("expose deployment dep --port=80", "service/dep exposed"),
    ("apply -f {two}", "deployment.apps/app created"),
    ("apply -f {two}", "deployment.apps/app unchanged"),
    ("diff -f {three}", "!+  replicas: 3"),
    ("apply -f {three}", "deployment.apps/app configured"),
    ("apply -f {two} --dry-run=server", "configured (server dry run)"),
    ("get deploy app -o jsonpath={.spec.replicas}", "3"),
    ("apply -f {typo}", '!unknown field "spec.replcas"'),
    ("apply --server-side -f {two}", "!Apply failed with 1 conflict"),
    ("apply --server-side --force-conflicts -f {two}", "serverside-applied"),
    ("scale deployment app --replicas=5", "deployment.apps/app scaled"),
    ("get deploy app", "app    0/5     0            0"),
    ("set image deployment/app server=nginx:2", "deployment.apps/app image updated"),
    ("rollout restart deployment/app", "deployment.apps/app restarted"),
    ("rollout history deployment/app", "deployment.apps/app"),
    ("label pod web-1 tier=front", "pod/web-1 labeled"),
    ("annotate pod web-1 note=x", "pod/web-1 annotated"),
    ("get pods -L tier", "front"),
    ('patch svc web -p {"spec":{"type":"NodePort"}}', "service/web patched"),
    ('patch svc web --type=merge -p {"spec":{"sessionAffinity":"ClientIP"}}', "patched"),
    ('patch svc web --type=json -p [{"op":"remove","path":"/spec/selector"}]', "patched"),
    ('patch svc web -p {"spec":{"type":"x"}}', '!Unsupported value: "x"'),
    ("wait --for=condition=Ready pod/web-1 --timeout=20s", "pod/web-1 condition met"),
    ("cordon node1", "node/node1 cordoned"),
    ("get node node1", "Ready,SchedulingDisabled"),
    ("uncordon node1", "node/node1 uncordoned"),
    ("events", "No events found"),
    ("delete pod web-2 --wait=false", '"web-2" deleted'),
    ("get pod web-2", "web-2   1/1     Terminating"),
    ("delete pod web-2 --grace-period=0 --force", '"web-2" force deleted'),
    ("delete -f {two}", '"app" deleted'),
    ("delete service dep", '"dep" deleted'),
    ("apply -f {unknown}", '!no matches for kind "Widget"'),
    ("get configmap after", "after   1"),
    ("create serviceaccount bob", "serviceaccount/bob created"),
    ("create token bob", "default.bob."),
    ("create token nobody", '!serviceaccounts "nobody" not found'),
    ("delete namespace default", "!this namespace may not be deleted"),
    ("get --raw /healthz", "ok"),
)


@pytest.fixture(params=RELEASES)
def kubectl(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kubectl]:
    config = tmp_path / "config"
    made = Kubectl(request.param, config, tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.agent.api.seeded"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as server:
        assert server.stdout is not None
        config.write_text(_CONFIG.replace("PORT", server.stdout.readline().strip()))
        yield made
        assert server.stdin is not None
        server.stdin.close()


def test_everyday_work(kubectl: Kubectl, tmp_path: Path) -> None:
    files = {"two": "2", "three": "3"}
    for name, replicas in files.items():
        (tmp_path / name).write_text(_DEPLOYMENT.replace("REPLICAS", replicas))
    typo = (tmp_path / "two").read_text().replace("replicas", "replcas")
    (tmp_path / "typo").write_text(typo)
    (tmp_path / "unknown").write_text(_UNKNOWN)
    places = {name: str(tmp_path / name) for name in (*files, "typo", "unknown")}
    for words, said in TRANSCRIPT:
        for name, place in places.items():
            words = words.replace(f"{{{name}}}", place)  # noqa: PLW2901 - a JSON patch has braces
        code, answer = kubectl.run(*words.split())
        assert said.lstrip("!") in answer, f"kubectl {words}\n{answer}"
        assert (code != 0) is said.startswith("!"), f"kubectl {words}\n{answer}"


def test_a_watch_tells_what_comes(kubectl: Kubectl) -> None:
    with kubectl.start("get", "configmaps", "-w", "-o", "name") as watching:
        assert watching.stdout is not None
        kubectl.run("create", "configmap", "one")
        assert watching.stdout.readline() == "configmap/one\n"
        kubectl.run("label", "configmap", "one", "a=b")
        assert watching.stdout.readline() == "configmap/one\n"
        watching.terminate()
