"""A lab in several files, and in plain manifests without a Lab document."""

from __future__ import annotations

import json

import pytest

from kns.errors import SpecError
from kns.kinds.load import LoadedLab, load_files, load_lab_text
from tests.kinds.labs import HEAD, NODES

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n"
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c}]}\n"


def load(*texts: str) -> LoadedLab:
    return load_files([(f"{name}.yaml", text) for name, text in zip("abcd", texts, strict=False)])


def errors(*texts: str) -> list[tuple[str, str, str]]:
    with pytest.raises(SpecError) as caught:
        load(*texts)
    return [(f"{p.file}:{p.line}", p.message, p.hint) for p in caught.value.problems]


def test_several_files_are_one_lab() -> None:
    loaded = load(f"{HEAD}{NODES}", SERVICE, POD)
    assert [item.name for item in loaded.spec.services] == ["web"]
    assert [item.template.name for item in loaded.spec.workloads] == ["web"]
    assert loaded.notes == ()


@pytest.mark.parametrize(
    "texts",
    [
        (f"{HEAD}{NODES}", SERVICE, POD),
        (SERVICE, f"---\n{HEAD}{NODES}"),
        (f"%YAML 1.2\n---\n{HEAD}{NODES}...\n", f"%YAML 1.2\n---\n{SERVICE}"),
        (f"\ufeff{HEAD}{NODES}", f"\ufeff{SERVICE}", ""),
        (
            f"{HEAD}{NODES}# the end",
            '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}',
        ),
        (SERVICE, POD),
        (f"{SERVICE}---\n{POD}",),
    ],
)
def test_the_text_that_is_kept_is_the_same_lab(texts: tuple[str, ...]) -> None:
    """`up` writes it down, and every other command reads it."""
    loaded = load(*texts)
    assert load_lab_text(loaded.text).spec == loaded.spec


def test_one_file_is_kept_as_it_is() -> None:
    assert load(f"{HEAD}{NODES}").text == f"{HEAD}{NODES}"


def test_messages_name_the_file_and_duplicates_both_places() -> None:
    assert errors(f"{HEAD}{NODES}", SERVICE, f"\n{SERVICE}") == [
        ("c.yaml:4", 'Duplicate value: "web"', "the first is at b.yaml:1")
    ]
    assert errors(f"{HEAD}{NODES}---\n{SERVICE}---\n{SERVICE}") == [
        ("a.yaml:13", 'Duplicate value: "web"', "the first is on line 6")
    ]


def test_two_labs_are_none() -> None:
    message = "several files are one lab, and this is its second Lab document"
    assert errors(f"{HEAD}{NODES}", f"{HEAD}{NODES}") == [
        ("b.yaml:2", message, "the first is a.yaml:1")
    ]


def test_plain_manifests_get_a_lab_of_two_nodes() -> None:
    loaded = load_files([("deploy/My App.v2.yaml", SERVICE)])
    assert (loaded.spec.name, [node.name for node in loaded.spec.nodes]) == (
        "my-app-v2",
        ["node1", "node2"],
    )
    assert loaded.notes == (
        "deploy/My App.v2.yaml has no Lab document: made for it is the lab my-app-v2, node1, node2",
    )


def test_nodes_that_pods_name_are_the_labs() -> None:
    pods = "---\n".join(
        POD.replace("web", name).replace("containers", f"nodeName: {node}, containers", 1)
        for name, node in (("a", "worker-1"), ("b", "worker-2"), ("c", "worker-3"))
    )
    assert [n.name for n in load(pods).spec.nodes] == ["worker-1", "worker-2", "worker-3"]
    one = POD.replace("containers", "nodeName: worker, containers", 1)
    assert [n.name for n in load(one).spec.nodes] == ["worker", "node1"]


@pytest.mark.parametrize(
    "place", ["nodeName: worker", 'nodeSelector: {"kubernetes.io/hostname": worker}']
)
def test_nodes_that_pods_of_workloads_name_are_the_labs(place: str) -> None:
    text = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{{place}, containers: [{{name: c, image: nginx}}]}}
"""
    loaded = load(text)
    assert [node.name for node in loaded.spec.nodes] == ["worker", "node1"]
    assert loaded.warnings == ()


def service_at(name: str, *addresses: str, more: str = "") -> str:
    at = f", clusterIP: {addresses[0]!r}, clusterIPs: {list(addresses)}" if addresses else ""
    return (
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        f"spec: {{ports: [{{port: 80}}]{at}{more}}}\n"
    )


@pytest.mark.parametrize(
    ("services", "family", "subnets"),
    [
        (service_at("a", "10.96.3.4"), "ipv4", ()),
        # kubeadm's, and the networks of EKS and of k3s
        (service_at("a", "10.100.3.4"), "ipv4", ("10.96.0.0/12",)),
        (
            service_at("a", "172.20.5.5"),
            "ipv4",
            ("172.20.0.0/16",),
        ),
        (service_at("a", "10.43.0.10") + service_at("b", "10.42.7.7"), "ipv4", ("10.42.0.0/15",)),
        (service_at("a", "10.96.3.4", "fd00:10:96::1234"), "dual", ()),
        (service_at("a", "fd12::99"), "ipv6", ("fd12::/112",)),
        (service_at("a", more=", ipFamilyPolicy: RequireDualStack"), "dual", ()),
        # of two subnets the first one tells the primary family
        (service_at("a", "10.96.0.5", "fd12::5"), "dual", ("10.96.0.0/16", "fd12::/112")),
        (service_at("a", "fd12::5", "10.96.0.5"), "dual", ("fd12::/112", "10.96.0.0/16")),
        (
            service_at("a", "fd00:10:96::5") + service_at("b", "10.96.0.5", "fd00:10:96::6"),
            "dual",
            ("fd00:10:96::/112", "10.96.0.0/16"),
        ),
        (
            service_at("a", more=", ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4]"),
            "dual",
            ("fd00:10:96::/112", "10.96.0.0/16"),
        ),
    ],
)
def test_the_lab_of_manifests_has_room_for_their_cluster_ips(
    services: str, family: str, subnets: tuple[str, ...]
) -> None:
    """As those that kubectl prints of a running cluster have them."""
    loaded = load(services)
    networking = loaded.spec.networking
    assert (networking.ip_family, tuple(map(str, networking.service_subnet))) == (family, subnets)
    assert all(subnet in loaded.notes[0] for subnet in subnets)


@pytest.mark.parametrize("stem", ["13", "true", "null", "1e3", "0x1f"])
def test_the_lab_of_a_file_may_be_named_as_a_number(stem: str) -> None:
    assert load_files([(f"{stem}.yaml", SERVICE)]).spec.name == stem


@pytest.mark.parametrize("indent", [None, 2, "\t"])
@pytest.mark.parametrize("between", ["\n", "", "\n---\n"])
def test_json_one_after_another(indent: int | str | None, between: str) -> None:
    """What jq prints; kubectl takes it, too."""
    spec = {"ports": [{"port": 80}]}
    objects = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
        for name in ("a", "b")
    ]
    text = between.join(json.dumps(item, indent=indent) for item in objects)
    for written in (text, f"\t{text}\n", f"\ufeff{text}"):
        loaded = load(written)
        assert [item.name for item in loaded.spec.services] == ["a", "b"]
        assert load_lab_text(loaded.text).spec == loaded.spec


def test_places_in_json_one_after_another() -> None:
    text = '{\n\t"apiVersion": "v1",\n\t"kind": "Service",\n\t"metadata": {"name": "1"}\n}\n'
    found = errors(f"{HEAD}{NODES}", text * 2)
    assert {place for place, _, _ in found} == {"b.yaml:4", "b.yaml:9"}


def test_json_nested_deeply_is_refused() -> None:
    assert len(errors('{"a":' * 100_000)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"x-common: &c {{app: web}}\n---\n{SERVICE}", "Required value"),
        (f"[]\n---\n{SERVICE}", "must be a mapping, as every Kubernetes object is"),
        (f"{SERVICE}---\nkind: [\n", "not valid YAML: did not find expected node content"),
    ],
)
def test_manifests_with_a_fault_want_no_lab_document(text: str, message: str) -> None:
    [(_, said, _)] = errors(text)
    assert said.startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "services: {web: {image: nginx}}\n",
        "metadata: {name: x}\n",
        "apiVersion: example.com/v1\nkind: Thing\n",
        "",
    ],
)
def test_what_is_no_manifest_needs_a_lab_document(text: str) -> None:
    assert len(errors(text)) == 1
