"""What Kubernetes does not have in a manifest is told, with its place and the likely word."""

from __future__ import annotations

import pytest

from kns.errors import SpecError
from kns.kinds.api_types import type_of
from kns.kinds.load import load_lab_text
from kns.kinds.resources import RESOURCES

LAB = "apiVersion: kns/v1\nkind: Lab\nmetadata: {name: lab}\nnodes: [{name: node1}]\n---\n"
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {%s}\n"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  %s
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web}]}
"""
INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - hosts: a.example.com
"""


def warned(text: str) -> list[tuple[str, str]]:
    return [(item.path, item.hint) for item in load_lab_text(LAB + text).warnings]


@pytest.mark.parametrize(
    ("text", "path", "word"),
    [
        (DEPLOYMENT % "replica: 3", "spec.replica", "replicas"),
        (POD % "hostNetwrk: true, containers: [{name: c}]", "spec.hostNetwrk", "hostNetwork"),
        (
            POD % "containers: [{name: c, readynessProbe: {}}]",
            "spec.containers[0].readynessProbe",
            "readinessProbe",
        ),
        (
            POD % "containers: [{name: c, ports: [{containerPort: 80, hostport: 80}]}]",
            "spec.containers[0].ports[0].hostport",
            "hostPort",
        ),
        (INGRESS, "spec.rules[0].hosts", "host"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndate: {a: b}\n", "date", "data"),
    ],
)
def test_a_misspelt_field_is_told(text: str, path: str, word: str) -> None:
    assert (path, f'did you mean "{word}"?') in warned(text)


@pytest.mark.parametrize(
    "text",
    [
        POD % "containers: [{name: c, securityContext: {runAsUser: 0}}], priority: 1",
        POD % "containers: [{name: c}], volumes: [{name: v, csi: {driver: d, x: y}}]",
        DEPLOYMENT % "strategy: {rollingUpdate: {maxSurge: 1}}",
        # a kind that kns does not know may have any
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\nsize: 1\n",
    ],
)
def test_what_kubernetes_has_is_no_unknown_field(text: str) -> None:
    told = [item for item in load_lab_text(LAB + text).warnings if "unknown field" in item.message]
    assert not told


def test_an_error_is_not_told_again() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {typ: NodePort, ports: []}\n"
    with pytest.raises(SpecError) as refused:
        load_lab_text(LAB + text)
    assert [item.path for item in refused.value.problems].count("spec.typ") == 1
    assert not refused.value.warnings


def test_the_fields_of_each_served_kind_are_known() -> None:
    assert all(type_of(each) for each in RESOURCES if not each.group.startswith("kns"))
