"""Why a Service has no endpoint, told in words."""

from __future__ import annotations

import pytest

from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab_text
from kns.probe.failed_probe import why_empty
from kns.promise.lookup import Lookup

LAB = """\
apiVersion: kns/v1
kind: Lab
metadata: {{name: lab}}
nodes: [{{name: node1}}]
---
apiVersion: v1
kind: Service
metadata: {{name: named}}
spec: {service}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: named-1, labels: {{kubernetes.io/service-name: named}}}}
addressType: IPv4
ports: {ports}
endpoints: [{{addresses: [203.0.113.10], conditions: {{ready: false}}}}]
"""
DIFFER = 'the port name "web" (TCP), the Service "http" (TCP): they must be equal'
NO_ENDPOINT = "it has no selector, and no EndpointSlice names a ready endpoint"


@pytest.mark.parametrize(
    ("service", "ports", "why"),
    [
        ("{ports: [{name: http, port: 80}]}", "[{name: web, port: 80}]", DIFFER),
        # one of the ports is joined: what is missing is a ready endpoint
        (
            "{ports: [{name: http, port: 80}]}",
            "[{name: web, port: 80}, {name: http, port: 81}]",
            NO_ENDPOINT,
        ),
        # a headless Service without ports has none that could differ
        ("{clusterIP: None}", "[{name: web, port: 80}]", NO_ENDPOINT),
    ],
)
def test_ports_are_named_where_none_is_joined(service: str, ports: str, why: str) -> None:
    cluster = resolve(load_lab_text(LAB.format(service=service, ports=ports)).spec).cluster
    found = next(each for each in cluster.services if each.name == "named")
    assert why in why_empty(Lookup(cluster), found)
