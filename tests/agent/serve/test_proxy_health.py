"""kube-proxy's health answers, compared with what the real one has said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kns.agent.serve.messages import JSON, Request
from kns.agent.serve.proxy_health import answer_proxy, answer_service
from kns.compile.listeners import ServiceHealth
from tests.kube_proxy_cases import CASES as KUBE_PROXY_CASES

LINE = re.compile(r"GET :\d+\S+ -> (\d+) (\{.*\})\n")
CASES = sorted(KUBE_PROXY_CASES.glob("*/*/*/healthcheck.txt"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: "-".join(path.parts[-4:-2]))
def test_service_answers_as_the_captured_kube_proxy(path: Path) -> None:
    text = path.read_text()
    for match in LINE.finditer(text):
        body = text[match.end() :].split("\nGET ")[0].rstrip("\n")
        expected = json.loads(body)
        name = expected["service"]
        count = expected["localEndpoints"]
        reply = answer_service(ServiceHealth(name["namespace"], name["name"], count))
        assert (reply.status, reply.body) == (int(match[1]), body)
        headers = {
            **dict(reply.headers),
            "Content-Type": reply.content_type,
            "Content-Length": str(len(reply.body)),
            "Connection": "close",  # the capturing client asked for that
        }
        assert headers == json.loads(match[2])


@pytest.mark.parametrize(("count", "status"), [(0, 503), (1, 200), (7, 200)])
def test_service_is_unavailable_without_local_endpoints(count: int, status: int) -> None:
    reply = answer_service(ServiceHealth("shop", "web", count))
    assert reply.status == status
    assert json.loads(reply.body) == {
        "service": {"namespace": "shop", "name": "web"},
        "localEndpoints": count,
        "serviceProxyHealthy": True,
    }
    assert ("X-Load-Balancing-Endpoint-Weight", str(count)) in reply.headers


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/healthz", ["lastUpdated", "currentTime", "nodeEligible"]),
        ("/livez", ["lastUpdated", "currentTime"]),
    ],
)
def test_proxy_is_healthy(path: str, keys: list[str]) -> None:
    reply = answer_proxy(Request("GET", path, path, {}, ()))
    page = json.loads(reply.body)
    assert (reply.status, reply.content_type, list(page)) == (200, JSON, keys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} \+0000 UTC", page["currentTime"])


def test_proxy_knows_no_other_page() -> None:
    reply = answer_proxy(Request("GET", "/metrics", "/metrics", {}, ()))
    assert (reply.status, reply.body) == (404, "404 page not found\n")
