"""`kns policy`: a truth table of files and kubectl's output, explained and compared."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from kns.cli.main import main
from tests.readme_console import PROJECT

LAB = str(PROJECT / "labs/network-policy.yaml")


def pod(name: str, address: str, spec: str = "", *, ports: str = "", phase: str = "Running") -> str:
    return f"""\
- apiVersion: v1
  kind: Pod
  metadata: {{name: {name}, namespace: x, labels: {{app: {name}}}}}
  spec: {{nodeName: n1, {spec}containers: [{{name: c, image: i, ports: [{ports}]}}]}}
  status: {{phase: {phase}, hostIP: 192.0.2.7, podIP: {address}, podIPs: [{{ip: {address}}}]}}
"""


PODS = "".join((
    pod("a", "10.0.0.1", ports="{name: http, containerPort: 80, protocol: TCP}"),
    pod("b", "10.0.0.2"),
    pod("done", "10.0.0.3", phase="Succeeded"),
    pod("agent", "192.0.2.1", "hostNetwork: true, "),
))  # fmt: skip
OBJECTS = f"""\
apiVersion: v1
kind: List
items:
- {{apiVersion: v1, kind: Namespace, metadata: {{name: x, labels: {{team: a}}}}}}
{PODS}\
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {{name: p, namespace: x}}
  spec:
    podSelector: {{matchLabels: {{app: a}}}}
    policyTypes: [Ingress]
    ingress:
    - from: [{{podSelector: {{matchLabels: {{app: client}}}}}}]
      ports: [{{protocol: TCP, port: http}}]
"""
LINES = OBJECTS.splitlines()
POLICY = LINES.index("- apiVersion: networking.k8s.io/v1") + 1
RULE = LINES.index("    ingress:") + 2


@pytest.fixture
def objects(tmp_path: Path) -> str:
    file = tmp_path / "objects.yaml"
    file.write_text(OBJECTS, encoding="utf-8")
    return str(file)


def policy(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["policy", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def test_the_table_of_a_lab_file(capsys: pytest.CaptureFixture[str]) -> None:
    rows = csv.DictReader(io.StringIO(policy(capsys, "matrix", LAB, "-o", "csv")))
    allowed = {(r["source"], r["destination"]) for r in rows if r["allowed"] == "true"}
    shop = {pair for pair in allowed if all(name.startswith("shop/") for name in pair)}
    assert shop == {("shop/frontend", "shop/api"), ("shop/api", "shop/db")}
    assert {source for source, to in allowed if to == "shop/db"} == {"shop/api", "ops/monitor"}
    assert ("ops/batch", "ops/monitor") in allowed
    lines = policy(capsys, "matrix", LAB).splitlines()
    assert lines[0].split()[:3] == ["shop/frontend", "shop/api", "shop/db"]
    assert lines[5].split()[:4] == ["ops/batch", "X", "X", "X"]
    assert lines[-1] == ". allowed, X denied"


def test_what_kubectl_prints(objects: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(policy(capsys, "matrix", objects, "-o", "json"))["contacts"]
    by_pair = {(item["source"], item["destination"]): item for item in found}
    assert set(by_pair) == {
        (one, other) for one in ("x/a", "x/b", "x/agent") for other in ("x/a", "x/b", "x/agent")
        if one != other
    }  # fmt: skip
    denied = by_pair["x/b", "x/a"]
    assert (denied["allowed"], denied["port"], denied["protocol"]) == (False, 80, "TCP")
    assert denied["egress"] is None
    assert denied["ingress"] == {
        "isolatedBy": [{"name": "x/p", "place": f"{objects}:{POLICY}"}],
        "allowedBy": None,
    }
    # a pod in the node's network, and the node's own pods
    assert by_pair["x/agent", "x/a"]["allowed"] is True


def test_a_port_of_its_own_and_csv(objects: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = policy(capsys, "matrix", objects, "--port", "53", "--proto", "udp", "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    (row,) = [row for row in rows if (row["source"], row["destination"]) == ("x/b", "x/a")]
    assert (row["port"], row["protocol"], row["allowed"]) == ("53", "UDP", "false")
    assert row["reason"].endswith("and no rule allows x/b on UDP 53")


def test_explain_tells_what_is_missing(objects: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = policy(capsys, "explain", "x/b", "x/a:81", "-f", objects)
    assert out == (
        "x/b -> x/a TCP 81: denied\n"
        "egress: no policy isolates x/b, so everything passes\n"
        "ingress: x/a is isolated\n"
        f"  x/p ({objects}:{POLICY})\n"
        f"    ingress[0] ({objects}:{RULE}) does not: from has no x/b and ports has no TCP 81\n"
        "  no rule allows it\n"
    )


def test_explain_tells_the_rule_that_allows(capsys: pytest.CaptureFixture[str]) -> None:
    out = policy(capsys, "explain", "shop/frontend", "shop/api:http", "-f", LAB)
    assert out.startswith("shop/frontend -> shop/api TCP 9000: allowed\n")
    lines = [line.strip() for line in out.splitlines() if line.endswith("allows it")]
    assert [line.partition(" ")[0] for line in lines] == ["egress[0]", "ingress[0]"]
    assert all(LAB in line for line in lines)


def test_explain_an_address_outside(capsys: pytest.CaptureFixture[str]) -> None:
    out = policy(capsys, "explain", "shop/api", "203.0.113.10", "--port", "443", "-f", LAB)
    assert out.startswith("shop/api -> 203.0.113.10 TCP 443: allowed\n")
    assert "ingress: 203.0.113.10 is no pod, and no policy is about it\n" in out
    looked = json.loads(
        policy(capsys, "explain", "shop/db", "203.0.113.10:443", "-f", LAB, "-o", "json")
    )
    assert (looked[0]["allowed"], looked[0]["rules"][0]["policy"]) == (False, "shop/allow-dns")


def test_explain_a_pod_and_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert policy(capsys, "explain", "shop/db", "shop/db", "-f", LAB) == (
        "shop/db -> shop/db TCP 5432: allowed\n"
        "egress: a pod reaches itself always\n"
        "ingress: a pod reaches itself always\n"
    )


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("node1", "172.18.0.2 -> shop/db TCP 5432: allowed"),
        ("10.244.0.1", "10.244.0.1 -> shop/db TCP 5432: allowed"),
        ("node2", "172.18.0.3 -> shop/db TCP 5432: denied"),
        ("internet", "203.0.113.10 -> shop/db TCP 5432: denied"),
    ],
)
def test_explain_nodes_and_the_internet(
    source: str, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pod is on node1."""
    out = policy(capsys, "explain", source, "shop/db", "-f", LAB)
    assert out.splitlines()[0] == verdict
    reaches = "ingress: a node and its own pods reach each other always" in out
    assert reaches is verdict.endswith("allowed")


def test_explain_the_node_that_kubectl_tells_of_a_pod(
    objects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, verdict in (("192.0.2.7", "allowed"), ("192.0.2.8", "denied")):
        out = policy(capsys, "explain", source, "x/a", "-f", objects)
        assert out.startswith(f"{source} -> x/a TCP 80: {verdict}\n")
    assert policy(capsys, "explain", "n1", "x/a", "-f", objects).startswith("192.0.2.7 -> x/a")


def test_diff_lists_what_changes(
    objects: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert policy(capsys, "diff", objects, objects) == "no pair of pods is decided differently\n"
    other = tmp_path / "after.yaml"
    other.write_text(OBJECTS.replace("{app: client}", "{}"), encoding="utf-8")
    out = policy(capsys, "diff", objects, str(other))
    allowed = f"ingress of x/a allowed by x/p ingress[0] ({other}:{RULE})"
    assert out == f"+ x/b -> x/a TCP 80  ({allowed})\n"
    assert policy(capsys, "diff", str(other), objects).startswith("- x/b -> x/a TCP 80  (")
    (change,) = json.loads(policy(capsys, "diff", objects, str(other), "-o", "json"))["changes"]
    assert (change["before"]["allowed"], change["after"]["allowed"]) == (False, True)


DUAL = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: two}
networking: {ipFamily: dual, dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: a, node: node1, labels: {app: a}}
- {name: b, node: node2}
- {name: c, node: node2}
internet: []
networkPolicies:
- name: p
  podSelector: {matchLabels: {app: a}}
  ingress:
  - from: [{ipBlock: {cidr: 10.244.0.0/16}}]
    ports: [{port: 8080}]
"""


@pytest.fixture
def dual(tmp_path: Path) -> str:
    file = tmp_path / "dual.yaml"
    file.write_text(DUAL, encoding="utf-8")
    return str(file)


def test_both_families_of_a_pod(dual: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A block of one family allows nothing of the other."""
    lines = policy(capsys, "matrix", dual).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["a", "b", "c"],
        ["a", ".", "."],
        ["b", "4", "."],
        ["c", "4", "."],
    ]
    assert lines[-1] == ". allowed, 4 over IPv4 only"
    rows = list(csv.DictReader(io.StringIO(policy(capsys, "matrix", dual, "-o", "csv"))))
    found = {(r["family"], r["allowed"]) for r in rows if r["destination"] == "a"}
    assert found == {("IPv4", "true"), ("IPv6", "false")}
    contacts = json.loads(policy(capsys, "matrix", dual, "-o", "json"))["contacts"]
    assert [(c["family"], c["allowed"]) for c in contacts if c["destination"] == "a"] == [
        ("IPv4", True),
        ("IPv6", False),
    ] * 2


def test_explain_tells_the_families_apart_where_they_differ(
    dual: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = policy(capsys, "explain", "b", "a", "-f", dual)
    assert [line for line in out.splitlines() if " -> " in line] == [
        "b -> a TCP 8080 over IPv4: allowed",
        "b -> a TCP 8080 over IPv6: denied",
    ]
    assert policy(capsys, "explain", "b", "a:81", "-f", dual).startswith("b -> a TCP 81: denied")
    looked = json.loads(policy(capsys, "explain", "b", "a:81", "-f", dual, "-o", "json"))
    assert [item["family"] for item in looked] == ["IPv4", "IPv6"]
    looked = json.loads(policy(capsys, "explain", "node2", "a", "-f", dual, "-o", "json"))
    assert [item["source"] for item in looked] == ["172.18.0.3", "fc00:172:18::3"]


def test_diff_tells_the_family_that_changes(
    dual: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "after.yaml"
    other.write_text(DUAL.replace("10.244.0.0/16", "fd00:10:244::/56"), encoding="utf-8")
    signs = [
        line.partition("  (")[0] for line in policy(capsys, "diff", dual, str(other)).splitlines()
    ]
    assert sorted(signs) == sorted(
        f"{sign} {pod} -> a TCP 8080 over {family}"
        for sign, family in (("-", "IPv4"), ("+", "IPv6"))
        for pod in "bc"
    )
    other.write_text(DUAL.replace("- from: [{ipBlock: {cidr: 10.244.0.0/16}}]\n    ", "- "))
    (line, *_) = policy(capsys, "diff", dual, str(other)).splitlines()
    assert line.startswith("+ b -> a TCP 8080 over IPv6  (ingress of a allowed by default/p")
    both = tmp_path / "none.yaml"
    both.write_text(DUAL.partition("networkPolicies")[0], encoding="utf-8")
    nothing = tmp_path / "all.yaml"
    nothing.write_text(DUAL.partition("  ingress")[0], encoding="utf-8")
    assert [
        line.partition("  (")[0]
        for line in policy(capsys, "diff", str(both), str(nothing)).splitlines()
    ] == [
        "- b -> a TCP 8080",
        "- c -> a TCP 8080",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("matrix", "no-such-file.yaml"), "no-such-file.yaml: no such file"),
        (("explain", "x/nobody", "x/a", "-f", "FILE"), "there is no pod 'x/nobody'"),
        (("explain", "x/b", "svc/a", "-f", "FILE"), "'svc/a' is a Service"),
        (("explain", "198.51.100.1", "192.0.2.2", "-f", "FILE"), "neither is a pod"),
        (("explain", "x/a", "192.0.2.2", "-f", "FILE"), "which port of 192.0.2.2?"),
        (("explain", "x/b", "x/a:https", "-f", "FILE"), "x/a has no TCP port 'https'"),
        (("matrix", "FILE", "--port", "70000"), "70000 is no port"),
        (("matrix", "FILE", "--prove"), "--prove tries a running lab"),
        (("matrix", LAB, "FILE"), "a lab file stands alone"),
    ],
)
def test_mistakes_are_told(
    arguments: tuple[str, ...], message: str, objects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [objects if word == "FILE" else word for word in arguments]
    error = policy(capsys, *words, code=2)
    assert f"error: {message}" in error


def test_a_broken_object_is_a_problem_of_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(OBJECTS.replace("[Ingress]", "[Inwards]"), encoding="utf-8")
    assert 'Unsupported value: "Inwards"' in policy(capsys, "matrix", str(file), code=2)
    file.write_text(OBJECTS.replace("port: http}", "port: http, endPort: 90}"), encoding="utf-8")
    error = policy(capsys, "matrix", str(file), code=2)
    assert error.startswith(f"{file}:{RULE + 1}:")
    assert "endPort: Invalid value: 90: may not be specified when `port` is non-numeric" in error


MANIFESTS = """\
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: c}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db}
spec:
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, ports: [{containerPort: 5432}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-web}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]
"""


def test_pods_of_manifests_have_the_addresses_of_a_lab(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(MANIFESTS, encoding="utf-8")
    assert main(["policy", "matrix", str(file), "-o", "csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    (db,) = {word for row in rows for word in row if word.startswith("db-")}
    assert main(["policy", "explain", "web", f"{db}:5432", "-f", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"web -> {db} TCP 5432: allowed" in said
    assert f"default/only-web ({file}:16)" in said
