"""The picture of a lab: everything is in it once, and every form is well-formed."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab_text
from kns.report.graph import dot, mermaid, picture
from kns.report.graph_svg import html, svg

TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: drawn}
networking: {dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}, {name: empty}]
pods:
- {name: a, node: node1, labels: {app: a}}
- {name: b, node: node2, labels: {app: a}}
- {name: c, node: node2, containers: [{name: x, ports: [{port: 53, protocol: UDP}]}]}
services:
- {name: svc, type: NodePort, selector: {app: a}, ports: [{port: 80, nodePort: 30080}]}
- {name: elsewhere, type: ExternalName, externalName: www.example.com}
internet: [{name: internet}]
"""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return resolve(load_lab_text(TEXT, file="lab.yaml").spec).cluster


def test_picture_has_every_object(cluster: Cluster) -> None:
    drawn = picture(cluster)
    assert [node.box.name for node in drawn.nodes] == ["node1", "node2", "empty"]
    assert [[pod.name for pod in node.pods] for node in drawn.nodes] == [["a"], ["b", "c"], []]
    assert [(item.box.name, item.backends, item.outer) for item in drawn.services] == [
        ("elsewhere", (), False),
        ("svc", ("p0", "p1"), True),
    ]


def test_ports_other_than_tcp_say_so(cluster: Cluster) -> None:
    lines = picture(cluster).nodes[1].pods[1].lines
    assert lines[1:] == ("x :53/UDP",)


def test_svg_shows_each_name_once_and_stays_inside(cluster: Cluster) -> None:
    root = ElementTree.fromstring(svg(picture(cluster)))
    names = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "name"]
    expected = ["internet", "fabric", "node1", "node2", "empty", "a", "b", "c", "svc", "elsewhere"]
    assert sorted(map(str, names)) == sorted(expected)
    assert sum(path.get("class") == "backend" for path in root.iter(f"{SVG}path")) == 2
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) + float(box.get("width", 0)) <= float(root.get("width", 0))
        assert float(box.get("y", 0)) + float(box.get("height", 0)) <= float(root.get("height", 0))


def test_svg_boxes_of_pods_do_not_overlap(cluster: Cluster) -> None:
    root = ElementTree.fromstring(svg(picture(cluster)))
    boxes = [
        tuple(float(box.get(key, 0)) for key in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
        if box.get("class") == "pod"
    ]
    for number, (x, y, width, height) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            apart = x + width <= other[0] or other[0] + other[2] <= x
            assert apart or y + height <= other[1] or other[1] + other[3] <= y


def test_text_in_svg_is_escaped(cluster: Cluster) -> None:
    from dataclasses import replace

    drawn = replace(picture(cluster), title="<script>&")
    assert "<script>" not in svg(drawn)
    assert "<script>" not in html(drawn)


def test_mermaid_links_services_to_their_pods(cluster: Cluster) -> None:
    lines = mermaid(picture(cluster)).splitlines()
    assert lines[0] == "flowchart TB"
    assert [line.strip() for line in lines if "-.->" in line] == ["s1 -.-> p0", "s1 -.-> p1"]
    assert sum(line.strip().startswith("subgraph") for line in lines) == 3


def test_dot_braces_and_quotes_are_balanced(cluster: Cluster) -> None:
    text = dot(picture(cluster))
    assert text.count("{") == text.count("}")
    assert all(line.count('"') % 2 == 0 for line in text.splitlines())
    assert len(re.findall(r"s1 -- p\d", text)) == 2
