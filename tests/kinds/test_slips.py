"""Slips that Kubernetes takes without a word, and what nobody takes: each told with its cure."""

from __future__ import annotations

import pytest

from kns.errors import SpecError
from kns.kinds.load import load_lab_text
from tests.kinds.labs import lab

STATEFUL_SET = """\
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: SERVICE
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: x}]}}
---
apiVersion: v1
kind: Service
metadata: {name: database}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
"""


def probed(kind: str, port: str, ports: str) -> str:
    probe = f"readinessProbe: {{{kind}: {{port: {port}}}}}"
    return f"pods: [{{name: a, containers: [{{name: c, ports: [{ports}], {probe}}}]}}]\n"


NAMED = "{name: http, port: 80}"
NO_PORT = 'the container has no port of the name "htpp": the probe fails'
A_NAME = "is taken for a DNS name, not for an address"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (probed("httpGet", "http", NAMED), []),
        (probed("httpGet", "80", NAMED), []),
        (probed("httpGet", "htpp", NAMED), [(NO_PORT, 'did you mean "http"?')]),
        (probed("tcpSocket", "htpp", NAMED), [(NO_PORT, 'did you mean "http"?')]),
        (probed("tcpSocket", "htpp", "{port: 80}"), [(NO_PORT, "")]),
        (
            "services: [{name: s, type: ExternalName, externalName: 10.0.0.1}]\n",
            [(A_NAME, "a Service without selector and an EndpointSlice lead to an address")],
        ),
        ("services: [{name: s, type: ExternalName, externalName: a.example}]\n", []),
        (STATEFUL_SET.replace("SERVICE", "database"), []),
        (
            STATEFUL_SET.replace("SERVICE", "databse"),
            [
                (
                    "there is no Service default/databse: its pods have no names in DNS",
                    'did you mean "database"?',
                )
            ],
        ),
    ],
)
def test_what_is_warned_of(body: str, expected: list[tuple[str, str]]) -> None:
    assert [(item.message, item.hint) for item in lab(body).warnings] == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "apiVersion: kns/v1\nkind: Lab\nmetadata: {name: a}\nnodes: [{name: n}]\n"
            "networking: {kubeProxy: {version: 1.30}}\n",
            'put it in quotes: "1.30"',
        ),
        (
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n",
            "give kns what `kubectl kustomize` prints: kubectl kustomize . | kns up -",
        ),
    ],
)
def test_what_is_refused(text: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_lab_text(text)
    assert [problem.hint for problem in caught.value.problems] == [hint]
