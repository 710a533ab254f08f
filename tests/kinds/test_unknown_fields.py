"""What Kubernetes does not have in a manifest is told, with its place and the likely word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kns.cluster.resolve import resolve
from kns.errors import SpecError
from kns.kinds import workload
from kns.kinds.api_types import FieldType, ObjectType, object_type, type_of
from kns.kinds.load import load_lab_text
from kns.kinds.resources import RESOURCES
from kns.kinds.workload import WorkloadKind
from kns.labfile.reader import ListOf, Type
from kns.labfile.shape import Shape

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
        (POD % "containers: [{name: c, port: 80}]", "spec.containers[0].port", "ports"),
        (
            POD % "containers: [{name: c, ports: [{port: 80}]}]",
            "spec.containers[0].ports[0].port",
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


def short_fields(shape: Shape[Any], known: ObjectType, path: str) -> Iterator[str]:
    """The fields that are read of an object, and that Kubernetes' type of it does not have."""
    for own in shape.fields:
        field = known.fields.get(own.name)
        if field is None:
            yield f"{path}.{own.name}"
        else:
            yield from short_below(own.type, field, f"{path}.{own.name}")


#: one shape reads the strategies of all workloads: what a kind has not is told all the same
SHARED = "rollingUpdate"


def short_below(read: Type[Any], field: FieldType, path: str) -> Iterator[str]:
    if isinstance(read, ListOf) and field.item is not None:
        yield from short_below(read.item, field.item, f"{path}[]")
    elif (
        isinstance(read, Shape) and SHARED not in path and (known := object_type(field)) is not None
    ):
        yield from short_fields(read, known, path)


@pytest.mark.parametrize("kind", WorkloadKind)
def test_no_short_form_is_read_in_a_manifest(kind: WorkloadKind) -> None:
    resource = next(item for item in RESOURCES if item.kind == str(kind))
    known = type_of(resource)
    assert known is not None
    form = workload.form(kind)
    found: list[str] = []
    for own in form.shape.fields:
        place = known
        *parents, last = map(str, form.paths[own.name])
        for step in parents:
            below = object_type(place.fields[step])
            assert below is not None
            place = below
        found += short_below(own.type, place.fields[last], ".".join(map(str, form.paths[own.name])))
    assert not found


def test_the_short_form_of_a_port_is_the_lab_document_s() -> None:
    short = (
        "pods: [{name: short, containers: [{name: c, port: 80}, {name: d, ports: [{port: 81}]}]}]\n"
    )
    text = LAB.replace("---\n", f"{short}---\n") + POD % "containers: [{name: c, port: 80}]"
    pods = {pod.name: pod for pod in resolve(load_lab_text(text).spec).cluster.pods}
    ports = {
        name: [port.port for container in pods[name].containers for port in container.ports]
        for name in ("short", "a")
    }
    assert ports == {"short": [80, 81], "a": []}
