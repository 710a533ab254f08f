"""Hosts of Ingresses as targets of a probe: where it connects, who may answer, what it notes."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab
from kns.probe.ingress import candidates, ingress_target, notes
from kns.probe.model import Attempt
from kns.probe.target import Target, TargetOptions
from kns.promise.flow import Outcome
from kns.promise.location import LocationKind
from kns.promise.lookup import Lookup
from tests.readme_console import PROJECT

CLUSTER = resolve(load_lab(PROJECT / "labs/ingress.yaml").spec).cluster
NO_WISH = TargetOptions()
ADDRESS = "198.51.100.1"


def target(text: str, wish: TargetOptions = NO_WISH, cluster: Cluster = CLUSTER) -> Target | None:
    return ingress_target(cluster, text, wish)


def sure(text: str) -> Target:
    found = target(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "wish", "url", "port"),
    [
        ("http://shop.example.com/cart", NO_WISH, "http://shop.example.com/cart", 80),
        ("https://shop.example.com/cart?a=1", NO_WISH, "https://shop.example.com/cart?a=1", 443),
        ("http://shop.example.com:80/", NO_WISH, "http://shop.example.com:80/", 80),
        ("shop.example.com", NO_WISH, "http://shop.example.com/whoami", 80),
        ("shop.example.com:443", NO_WISH, "https://shop.example.com/whoami", 443),
        ("shop.example.com", TargetOptions("443"), "https://shop.example.com/whoami", 443),
        ("http://x.apps.example.com/", NO_WISH, "http://x.apps.example.com/", 80),
    ],
)
def test_a_host_of_an_ingress_is_asked_at_the_controllers_door(
    text: str, wish: TargetOptions, url: str, port: int
) -> None:
    found = target(text, wish)
    assert found is not None
    assert (found.url, str(found.address), found.port) == (url, ADDRESS, port)
    assert (found.kind, found.by_ingress) == (LocationKind.SERVICE, True)


@pytest.mark.parametrize(
    "text",
    [
        "http://other.example.com/",
        "http://shop.example.com:8080/",
        "https://shop.example.com:80/",
        "http://two.labels.apps.example.com/",
        "http://[::1/",
        "ftp://shop.example.com/",
        "web",
        "web1:8080",
        "198.51.100.1",
    ],
)
def test_other_targets_are_none_of_its_business(text: str) -> None:
    assert target(text) is None


def test_a_node_port_door_is_a_node() -> None:
    text = (PROJECT / "labs/ingress.yaml").read_text(encoding="utf-8")
    from kns.kinds.load import load_lab_text

    text = text.replace("service: {externalTrafficPolicy: Local}", "service: {type: NodePort}")
    found = target("https://shop.example.com/", cluster=resolve(load_lab_text(text).spec).cluster)
    assert found is not None
    assert found.kind is LocationKind.NODE
    assert str(found.address) == "172.18.0.2"
    assert found.port in {port.node_port for port in (found.service.ports if found.service else ())}


def test_candidates_are_the_rules_backends() -> None:
    assert candidates(Lookup(CLUSTER), sure("https://shop.example.com/cart/1")) == (
        "cart1",
        "cart2",
    )
    # nobody but nginx answers a plain request there
    assert candidates(Lookup(CLUSTER), sure("http://shop.example.com/cart/1")) == ()
    assert candidates(Lookup(CLUSTER), sure("http://soon.example.com/")) == ()


def test_notes_tell_the_rule_and_the_client() -> None:
    headers = {"x-forwarded-for": "203.0.113.10"}
    body = json.dumps({"client_address": "10.244.0.5", "headers": headers})
    attempt = Attempt(
        Outcome.CONNECTED, client_address_seen=ip_address("10.244.0.5"), status=200, body=body
    )
    assert notes(CLUSTER, sure("https://shop.example.com/cart"), (attempt,)) == (
        "Ingress shop, Prefix /cart: service cart",
        "the server saw 10.244.0.5 (ingress-nginx/ingress-nginx-controller-1), which connects by"
        " itself; X-Forwarded-For: 203.0.113.10 (internet)",
    )


def test_notes_tell_what_nginx_answered_itself() -> None:
    attempt = Attempt(Outcome.CONNECTED, status=503, body="<html>")
    assert notes(CLUSTER, sure("http://soon.example.com/"), (attempt,)) == (
        "Ingress soon, Prefix /: service soon",
        "nginx itself answered 503: the service has no ready endpoint, or not that port",
    )


def test_notes_tell_where_a_redirect_leads() -> None:
    location = "https://shop.example.com/"
    attempt = Attempt(Outcome.CONNECTED, status=308, body="<html>", location=location)
    found = notes(CLUSTER, sure("http://shop.example.com/"), (attempt,))
    assert found[-1] == f"redirected to {location}"


def test_nothing_is_noted_of_a_failure() -> None:
    attempts = (Attempt(Outcome.REFUSED),)
    assert notes(CLUSTER, sure("http://shop.example.com/"), attempts) == ()
