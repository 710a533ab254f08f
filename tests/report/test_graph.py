"""The picture of a lab: everything is in it once, and every form is well-formed."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab_text
from kns.report.graph import Picture, picture
from kns.report.graph_layout import Layout, Rectangle, lay_out
from kns.report.graph_svg import html, svg
from kns.report.graph_text import dot, mermaid

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
- {name: nobody, selector: {app: nobody}, ports: [{port: 80}]}
- {name: elsewhere, type: ExternalName, externalName: www.example.com}
internet: [{name: internet}]
"""
ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return resolve(load_lab_text(TEXT, file="lab.yaml").spec).cluster


def test_picture_has_every_object(cluster: Cluster) -> None:
    drawn = picture(cluster)
    assert [node.box.name for node in drawn.nodes] == ["node1", "node2", "empty"]
    assert [[pod.box.name for pod in node.pods] for node in drawn.nodes] == [["a"], ["b", "c"], []]
    assert drawn.nodes[0].bridge == "cni0 10.244.0.1/24"
    assert [(item.box.name, item.backends, item.outer, item.note) for item in drawn.services] == [
        ("elsewhere", (), False, "another name for www.example.com"),
        ("nobody", (), False, "no endpoints"),
        ("svc", ("p0", "p1"), True, ""),
    ]


def test_ports_other_than_tcp_say_so(cluster: Cluster) -> None:
    lines = picture(cluster).nodes[1].pods[1].box.lines
    assert lines[1:] == ("x :53/UDP",)


def many(nodes: int, kinds: int, each: int) -> Picture:
    """So many kinds of pods, of each so many, spread over the nodes, each with its service."""
    pods = [
        f"- {{name: kind{number % kinds}-{number // kinds}, node: node{number % nodes},"
        f" labels: {{app: kind{number % kinds}}}}}"
        for number in range(kinds * each)
    ]
    services = [
        f"- {{name: svc{kind}, selector: {{app: kind{kind}}}, ports: [{{port: 80}}]}}"
        for kind in range(kinds)
    ]
    names = ", ".join(f"{{name: node{number}}}" for number in range(nodes))
    lines = [
        "apiVersion: kns/v1",
        "kind: Lab",
        "metadata: {name: many}",
        f"nodes: [{names}]",
        "pods:",
        *pods,
        "services:",
        *services,
    ]
    return picture(resolve(load_lab_text("\n".join(lines), file="lab.yaml").spec).cluster)


SIZES = [(2, 2, 2), (3, 10, 3), (5, 10, 10), (4, 50, 2)]


@pytest.mark.parametrize(("nodes", "kinds", "each"), SIZES)
def test_no_line_runs_behind_a_pod_and_each_ends_at_its_own(
    nodes: int, kinds: int, each: int
) -> None:
    layout = lay_out(many(nodes, kinds, each))
    pods = {pod.pod.box.id: pod.place for node in layout.nodes for pod in node.pods}
    for service in layout.services:
        ends = set()
        for line in service.lines:
            ends |= {name for name, place in pods.items() if touches(place, line[-1])}
            assert not [place for place in pods.values() if crossed(place, line)]
        assert ends == set(service.service.backends)
    for node in layout.nodes:
        for pod in node.pods:
            assert touches(pod.place, pod.link[-1])
            assert touches(node.bridge, pod.link[0])
            assert not [place for place in pods.values() if crossed(place, pod.link)]


def touches(place: Rectangle, point: tuple[float, float]) -> bool:
    x, y = point
    return place.x <= x <= place.right and place.y <= y <= place.bottom


def crossed(place: Rectangle, line: tuple[tuple[float, float], ...]) -> bool:
    """True if a piece of the line runs through the inside of the place."""
    for (x1, y1), (x2, y2) in itertools.pairwise(line):
        left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
        if left < place.right and right > place.x and top < place.bottom and bottom > place.y:
            return True
    return False


@pytest.mark.parametrize(("nodes", "kinds", "each"), SIZES)
def test_lines_of_two_services_never_lie_on_each_other(nodes: int, kinds: int, each: int) -> None:
    layout = lay_out(many(nodes, kinds, each))
    runs: dict[float, set[str]] = {}
    for service in layout.services:
        for line in service.lines:
            runs.setdefault(line[0][0], set()).add(service.service.box.id)
    assert [ids for ids in runs.values() if len(ids) > 1] == []


@pytest.mark.parametrize(("nodes", "kinds", "each"), SIZES)
def test_boxes_are_apart_and_inside(nodes: int, kinds: int, each: int) -> None:
    layout = lay_out(many(nodes, kinds, each))
    boxes = [place for place, _ in groups(layout)]
    for place in boxes:
        assert place.x >= 0
        assert place.right <= layout.width
        assert place.y >= 0
        assert place.bottom <= layout.height
    for _, pods in groups(layout):
        for number, one in enumerate(pods):
            for other in pods[number + 1 :]:
                apart = one.right <= other.x or other.right <= one.x
                assert apart or one.bottom <= other.y or other.bottom <= one.y


def groups(layout: Layout) -> list[tuple[Rectangle, list[Rectangle]]]:
    """The nodes, each with the boxes in it."""
    return [(node.place, [pod.place for pod in node.pods]) for node in layout.nodes]


def test_a_picture_fits_on_a_slide() -> None:
    for size in SIZES[:3]:
        layout = lay_out(many(*size))
        assert 1.2 < layout.width / layout.height < 2.6


def test_equal_pods_are_one_box_where_they_are_many() -> None:
    drawn = many(2, 5, 10)
    assert sorted(p.box.name for p in drawn.nodes[0].pods if "coredns" not in p.box.name) == [
        f"kind{number} × 5" for number in range(5)
    ]
    own = [item for item in drawn.services if "/" not in item.box.name]
    assert [len(service.backends) for service in own] == [2] * 5
    assert "<title>kind0-0 kind0-2 kind0-4" in svg(drawn)


def test_what_is_not_shown_is_left_out() -> None:
    text = TEXT.replace("networking: {dns: {enabled: false}}\n", "")
    whole = resolve(load_lab_text(text, file="lab.yaml").spec).cluster
    assert "kube-system/kube-dns" in svg(picture(whole))
    assert "kube-system" not in svg(picture(whole, lambda name: name == "default"))


def test_svg_shows_each_name_once(cluster: Cluster) -> None:
    root = ElementTree.fromstring(svg(picture(cluster)))
    names = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "name"]
    expected = ["internet", "router", "node1", "node2", "empty", "a", "b", "c", "svc"]
    assert sorted(map(str, names)) == sorted([*expected, "elsewhere", "nobody"])


def test_no_text_is_smaller_than_twelve_pixels_and_both_themes_are_there(
    cluster: Cluster,
) -> None:
    text = svg(picture(cluster))
    sizes = [int(size) for size in re.findall(r"(?:font-size|font): (\d+)px", text)]
    assert min(sizes) >= 12
    assert "prefers-color-scheme: dark" in text
    assert 'width="100%"' in text


def test_a_long_name_is_cut_and_told_whole_in_its_title(cluster: Cluster) -> None:
    long = "n" * 60
    text = TEXT.replace("name: c,", f"name: {long},")
    drawn = picture(resolve(load_lab_text(text, file="lab.yaml").spec).cluster)
    shown = svg(drawn)
    assert f"<title>{long}</title>" in shown
    assert lay_out(drawn).width == lay_out(picture(cluster)).width


def test_text_in_svg_is_escaped(cluster: Cluster) -> None:
    from dataclasses import replace

    drawn = replace(picture(cluster), title="<script>&")
    assert "<script>" not in svg(drawn)
    assert "<script>" not in html(drawn)


def test_mermaid_links_services_to_their_pods(cluster: Cluster) -> None:
    lines = mermaid(picture(cluster)).splitlines()
    assert lines[0] == "flowchart TB"
    assert [line.strip() for line in lines if "-.->" in line] == ["s2 -.-> p0", "s2 -.-> p1"]
    assert sum(line.strip().startswith("subgraph") for line in lines) == 3


def test_dot_braces_and_quotes_are_balanced(cluster: Cluster) -> None:
    text = dot(picture(cluster))
    assert text.count("{") == text.count("}")
    assert all(line.count('"') % 2 == 0 for line in text.splitlines())
    assert len(re.findall(r"s2 -- p\d", text)) == 2


def test_the_picture_of_the_readme_is_the_shipped_labs() -> None:
    """kns graph -f labs/four-paths.yaml > docs/four-paths.svg"""
    lab = ROOT / "labs" / "four-paths.yaml"
    drawn = picture(resolve(load_lab_text(lab.read_text(), file=str(lab)).spec).cluster)
    assert (ROOT / "docs" / "four-paths.svg").read_text() == svg(drawn)
    assert "docs/four-paths.svg" in (ROOT / "README.md").read_text()


def test_an_external_address_is_told_and_where_ingresses_lead() -> None:
    lab = ROOT / "labs" / "ingress.yaml"
    drawn = picture(resolve(load_lab_text(lab.read_text(), file=str(lab)).spec).cluster)
    (outer,) = (item for item in drawn.services if item.outer)
    assert f"← {outer.addresses[0]}" in svg(drawn)
    names = {item.box.id: item.box.name for item in drawn.services}
    goals = {item.box.name: [names[goal] for goal in item.services] for item in drawn.ingresses}
    assert goals["admin"] == ["admin"]
    layout = lay_out(drawn)
    places = {item.service.box.id: item.place for item in layout.services}
    lines = iter(layout.ingress_lines)
    for item, place in zip(drawn.ingresses, layout.ingresses, strict=True):
        for goal in item.services:
            line = next(lines)
            assert touches(place, line[0])
            assert touches(places[goal], line[-1])


def test_isolated_pods_are_marked() -> None:
    text = f"{TEXT}networkPolicies: [{{name: p, podSelector: {{matchLabels: {{app: a}}}}}}]\n"
    drawn = picture(resolve(load_lab_text(text).spec).cluster)
    marked = {pod.members for node in drawn.nodes for pod in node.pods if pod.isolated}
    assert marked == {("a",), ("b",)}
    for form in (svg(drawn), mermaid(drawn), dot(drawn)):
        assert form.count("isolated: ingress") == 2
    plain = picture(resolve(load_lab_text(TEXT).spec).cluster)
    assert not any(pod.isolated for node in plain.nodes for pod in node.pods)
