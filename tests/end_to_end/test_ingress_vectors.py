"""The rules for hosts and paths, as Kubernetes' documentation and conformance tests have them.

Every case of ingress-paths.json is asked of the running nginx. Sets of rules that would meddle with
each other get hosts of their own; the default backend for everything gets a lab of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kns.cluster.ingress import entrance
from tests.end_to_end.ingress_lab import Outside, lab_of
from tests.vectors import read_vectors

pytestmark = pytest.mark.kernel

VECTORS = read_vectors("ingress-paths")
HEAD = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: NAME}
networking: {dns: {enabled: false}}
nodes: [{name: node1}]
"""
NOBODY = 404


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and the backend or the status with which it must be answered."""

    name: str
    host: str
    path: str
    expect: str | int
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Rules:
    """One host's rules: path type, path, backend; and the Ingress' default backend."""

    host: str
    paths: tuple[tuple[str, str, str], ...]
    default: str = ""


def table() -> Iterator[tuple[Rules, Case]]:
    for number, row in enumerate(VECTORS["docs_table"]):
        host = f"table-{number}.test"
        expect = "match" if row["matches"] else NOBODY
        rule = Rules(host, ((row["pathType"], row["path"], "match"),))
        name = f"table: {row['pathType']} {row['path']} asked {row['request']}"
        yield rule, Case(name, host, row["request"], expect)


def multi() -> Iterator[tuple[Rules, Case]]:
    for number, row in enumerate(VECTORS["docs_multi"]):
        host = f"multi-{number}.test"
        paths = [(*written.split(" "), backend(written)) for written in row["paths"]]
        rule = Rules(host, tuple((kind, path, name) for kind, path, name in paths), "default")
        name = f"multi: {row['paths']} asked {row['request']}"
        yield rule, Case(name, host, row["request"], backend(row["selected"]))


def backend(written: str) -> str:
    """A service's name for `Prefix /aaa`."""
    return written.lower().replace(" ", "-").replace("/", "slash-").rstrip("-")


def hosts() -> Iterator[tuple[Rules, Case]]:
    for row in VECTORS["hosts"]:
        # below another domain than the conformance tests' *.foo.com
        rule, host = (f"{row[key]}.test" for key in ("rule", "host"))
        expect = "match" if row["matches"] else NOBODY
        name = f"host: {row['rule']} asked {row['host']}"
        yield Rules(rule, (("Prefix", "/", "match"),)), Case(name, host, "/", expect)


def conformance() -> tuple[tuple[Rules, ...], tuple[Case, ...]]:
    found = VECTORS["conformance"]
    rules = tuple(
        Rules(
            rule["host"],
            tuple((path["pathType"], path["path"], path["backend"]) for path in rule["paths"]),
        )
        for rule in found["rules"]
    )
    cases = tuple(
        Case(f"conformance: {row['host']}{row['path']}", row["host"], row["path"], row["expect"])
        for row in found["cases"]
    )
    return rules, cases


PAIRS = (*table(), *multi(), *hosts())
RULES = (*dict.fromkeys(rule for rule, _ in PAIRS), *conformance()[0])
CASES = (*(case for _, case in PAIRS), *conformance()[1])
DEFAULT_CASES = tuple(
    Case(f"default: {row['method']} {row['host']!r} {row['path']}",
         row["host"], row["path"], row["expect"], row["method"])
    for row in VECTORS["default_backend"]
)  # fmt: skip


def lab_text(rules: tuple[Rules, ...], default: str = "") -> str:
    """A lab with a container for each backend, all in one pod, and an Ingress for each host."""
    backends = sorted(
        {name for rule in rules for _, _, name in rule.paths}
        | {rule.default for rule in rules if rule.default}
        | ({default} if default else set())
    )
    containers = [{"name": name, "port": 8000 + n} for n, name in enumerate(backends)]
    services = [
        {"name": name, "selector": {"app": "all"}, "ports": [{"port": 80, "targetPort": 8000 + n}]}
        for n, name in enumerate(backends)
    ]
    ingresses: list[dict[str, object]] = [
        {
            "name": f"rules-{number}",
            "rules": [{"host": rule.host, "paths": [written(path) for path in rule.paths]}],
            **({"defaultBackend": to(rule.default)} if rule.default else {}),
        }
        for number, rule in enumerate(rules)
    ]
    if default:
        ingresses.append({"name": "default", "defaultBackend": to(default)})
    pods = [{"name": "pod1", "labels": {"app": "all"}, "containers": containers}]
    parts = {"pods": pods, "services": services, "ingresses": ingresses}
    return HEAD + "".join(f"{name}: {json.dumps(part)}\n" for name, part in parts.items())


def to(name: str) -> dict[str, object]:
    return {"service": name, "port": 80}


def written(path: tuple[str, str, str]) -> dict[str, object]:
    return {"pathType": path[0], "path": path[1], "backend": to(path[2])}


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with lab_of(lab_text(RULES), tmp_path_factory.mktemp("vectors")) as lab:
        found = Outside(lab)
        found.wait_for("http://nobody.test/", NOBODY)
        yield found


@pytest.fixture(scope="module")
def with_default(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    text = lab_text((), VECTORS["default_backend"][0]["defaultBackend"])
    with lab_of(text, tmp_path_factory.mktemp("default")) as lab:
        found = Outside(lab)
        found.wait_for("http://nobody.test/", 200)
        yield found


def check(outside: Outside, case: Case) -> None:
    # without a host the conformance tests' client sends the address of the door
    door = entrance(outside.lab.cluster)
    assert door is not None
    host = case.host or door.address
    answer = outside.ask(f"http://{host}{case.path}", "--request", case.method)
    actual: str | int = answer.server if answer.status == 200 else answer.status
    assert actual == case.expect, case.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_is_answered_as_kubernetes_says(outside: Outside, case: Case) -> None:
    check(outside, case)


@pytest.mark.parametrize("case", DEFAULT_CASES, ids=lambda case: case.name)
def test_what_no_rule_matches_is_the_default_backends(with_default: Outside, case: Case) -> None:
    check(with_default, case)
