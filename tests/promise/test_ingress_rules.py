"""The oracle for Ingresses against Kubernetes' own cases, and the checks that it leads to."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab
from kns.promise.check import Check, Http, Resolve, Skip
from kns.promise.ingress import ingress_checks
from kns.promise.ingress_rules import admits, backends_of, decide, has_tls, is_restricted, redirects
from kns.promise.lookup import Lookup
from tests.kinds.labs import lab
from tests.readme_console import PROJECT
from tests.vectors import read_vectors

VECTORS = read_vectors("ingress-paths")
LAB = PROJECT / "labs/ingress.yaml"


def cluster_of(*ingresses: dict[str, object], body: str = "") -> Cluster:
    return resolve(lab(f"ingresses: {json.dumps(ingresses)}\n{body}").spec).cluster


def ingress(
    host: str, *paths: tuple[str, str, str], default: str = "", name: str = "a"
) -> dict[str, object]:
    written = [
        {"pathType": kind, "path": path, "backend": {"service": service, "port": 80}}
        for kind, path, service in paths
    ]
    found: dict[str, object] = {"name": name, "rules": [{"host": host, "paths": written}]}
    if default:
        found["defaultBackend"] = {"service": default, "port": 80}
    return found


def answer(cluster: Cluster, host: str, path: str) -> str | int:
    backend = decide(cluster, host, path).backend
    return backend.service if backend is not None else 404


# -- Kubernetes' cases -----------------------------------------------------------------------------


def test_the_documentations_table() -> None:
    actual = []
    for row in VECTORS["docs_table"]:
        cluster = cluster_of(ingress("a.test", (row["pathType"], row["path"], "match")))
        matches = answer(cluster, "a.test", row["request"]) == "match"
        actual.append({**row, "matches": matches})
    assert actual == VECTORS["docs_table"]


def test_the_documentations_choices() -> None:
    actual = []
    for row in VECTORS["docs_multi"]:
        names = {f"s{number}": written for number, written in enumerate(row["paths"])}
        paths = [(*written.split(" "), name) for name, written in names.items()]
        cluster = cluster_of(ingress("a.test", *paths, default="default"))
        found = str(answer(cluster, "a.test", row["request"]))
        actual.append({**row, "selected": names.get(found, found.upper())})
    assert actual == VECTORS["docs_multi"]


def test_the_documentations_hosts() -> None:
    actual = []
    for row in VECTORS["hosts"]:
        cluster = cluster_of(ingress(row["rule"], ("Prefix", "/", "match")))
        actual.append({**row, "matches": answer(cluster, row["host"], "/") == "match"})
    assert actual == VECTORS["hosts"]


def test_the_conformance_tests_cases() -> None:
    found = VECTORS["conformance"]
    rules = [
        ingress(
            rule["host"],
            *((path["pathType"], path["path"], path["backend"]) for path in rule["paths"]),
            name=f"r{number}",
        )
        for number, rule in enumerate(found["rules"])
    ]
    cluster = cluster_of(*rules)
    actual = [
        {**case, "expect": answer(cluster, case["host"], case["path"])} for case in found["cases"]
    ]
    assert actual == found["cases"]


# -- beyond them -----------------------------------------------------------------------------------


def test_a_host_that_matches_leaves_the_rules_without_a_host_alone() -> None:
    cluster = cluster_of(
        ingress("a.test", ("Prefix", "/a", "own")), ingress("", ("Prefix", "/", "any"), name="b")
    )
    asked = (("a.test", "/a"), ("a.test", "/b"), ("b.test", "/b"))
    assert [answer(cluster, *item) for item in asked] == ["own", 404, "any"]


def test_the_first_of_two_equal_paths_counts() -> None:
    cluster = cluster_of(
        ingress("a.test", ("Prefix", "/a", "first")),
        ingress("a.test", ("Prefix", "/a/", "second"), name="b"),
    )
    assert answer(cluster, "a.test", "/a/") == "first"


def test_implementation_specific_is_a_prefix_of_characters() -> None:
    cluster = cluster_of(ingress("a.test", ("ImplementationSpecific", "/a", "web")))
    asked = ("/a", "/a/b", "/ab", "/A")
    assert [answer(cluster, "a.test", path) for path in asked] == ["web", "web", "web", 404]


def test_tls_of_a_host_redirects_unless_an_annotation_says_no() -> None:
    tls = {"tls": [{"hosts": ["a.test"]}]}
    off = {"annotations": {"nginx.ingress.kubernetes.io/ssl-redirect": "false"}}
    found = []
    for extra in ({}, tls, {**tls, **off}):
        cluster = cluster_of({**ingress("a.test", ("Prefix", "/", "web")), **extra})
        decision = decide(cluster, "a.test", "/")
        found.append((has_tls(cluster, "a.test"), redirects(cluster, "a.test", decision)))
    assert found == [(False, False), (True, True), (True, False)]


@pytest.mark.parametrize(
    ("lists", "client", "expected"),
    [
        ({}, "10.0.0.1", True),
        ({"whitelist-source-range": "10.0.0.0/8"}, "10.0.0.1", True),
        ({"whitelist-source-range": "10.0.0.0/8, 192.0.2.1"}, "192.0.2.1", True),
        ({"allowlist-source-range": "10.0.0.0/8"}, "192.0.2.1", False),
        ({"denylist-source-range": "10.0.0.1"}, "10.0.0.1", False),
        ({"denylist-source-range": "10.0.0.1"}, "10.0.0.2", True),
        (
            {"denylist-source-range": "10.0.0.1", "whitelist-source-range": "10.0.0.0/8"},
            "10.0.0.1",
            False,
        ),
        ({"whitelist-source-range": "2001:db8::/32"}, "10.0.0.1", False),
    ],
)
def test_lists_of_clients(lists: dict[str, str], client: str, expected: bool) -> None:  # noqa: FBT001
    annotations = {f"nginx.ingress.kubernetes.io/{key}": value for key, value in lists.items()}
    cluster = cluster_of({**ingress("a.test"), "annotations": annotations})
    assert admits(cluster.ingresses[0], ip_address(client)) is expected
    assert is_restricted(cluster.ingresses[0]) is bool(lists)


def test_backends_are_all_ready_endpoints_whatever_the_services_policies() -> None:
    cluster = cluster_of(
        ingress("a.test", ("Prefix", "/", "web")),
        body="""
pods:
- {name: web, replicas: 3, labels: {app: web}}
- {name: slow, labels: {app: web}, ready: false}
services:
- name: web
  selector: {app: web}
  internalTrafficPolicy: Local
  ports: [{port: 80, targetPort: 8080}]
""",
    )
    found = backends_of(Lookup(cluster), decide(cluster, "a.test", "/"))
    assert [item.name for item in found] == ["web-1", "web-2", "web-3"]


# -- the checks of a lab ---------------------------------------------------------------------------


def checks(cluster: Cluster) -> dict[str, Check]:
    return {
        check.id.removeprefix("internet-to-ingress/"): check
        for check in ingress_checks(Lookup(cluster))
        if isinstance(check, Check)
    }


def test_the_checks_of_a_lab_cover_each_kind() -> None:
    found = checks(resolve(load_lab(LAB).spec).cluster)
    kinds = {name.partition("/")[0] for name in found}
    assert kinds == {"name", "route", "redirect", "denied", "no-endpoints", "no-rule"}
    denied = found["denied/internet->http://admin.example.com/"]
    assert "203.0.113.10" in denied.expected
    assert "route/office->http://admin.example.com/" in found


def test_a_route_proves_backends_headers_and_tls() -> None:
    found = checks(resolve(load_lab(LAB).spec).cluster)
    (step,) = found["route/internet->https://shop.example.com/cart"].steps
    assert isinstance(step.ask, Http)
    assert (step.ask.scheme, step.ask.host, step.ask.path) == ("https", "shop.example.com", "/cart")
    assert (step.expectation.status, step.expectation.backends) == (200, ("cart1", "cart2"))
    headers = dict(step.expectation.headers)
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == ("203.0.113.10",)
    assert headers["x-forwarded-proto"] == ("https",)


def test_with_policy_cluster_nginx_sees_a_node() -> None:
    text = LAB.read_text(encoding="utf-8").replace("externalTrafficPolicy: Local", "type: NodePort")
    from kns.kinds.load import load_lab_text

    found = checks(resolve(load_lab_text(text).spec).cluster)
    (step,) = found["route/internet->https://shop.example.com/cart"].steps
    # of the two controllers one is on the node by which the client enters
    assert dict(step.expectation.headers)["x-forwarded-for"] == ("10.244.0.1", "172.18.0.2")


def test_without_a_way_in_the_requests_are_left_out() -> None:
    text = "internet: []\n"
    cluster = cluster_of(ingress("a.test", ("Prefix", "/", "web")), body=text)
    found = tuple(ingress_checks(Lookup(cluster)))
    assert [item.reason for item in found if isinstance(item, Skip)] == [
        "nobody outside has a way to the controller's Service"
    ]
    assert not any(isinstance(item, Check) for item in found)


def test_names_are_looked_up_where_the_lab_has_the_upstream() -> None:
    cluster = cluster_of(ingress("a.test", ("Prefix", "/", "web")))
    (step,) = checks(cluster)["name/internet->a.test"].steps
    assert step.ask == Resolve("a.test.")
    assert step.expectation.records == ("172.18.0.2",)
    other = "networking: {dns: {upstream: [203.0.113.53]}}"
    assert not any(
        name.startswith("name/") for name in checks(cluster_of(ingress("a.test"), body=other))
    )
