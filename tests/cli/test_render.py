"""`kns render`: kube-proxy's flags in its own forms, files and stdin, errors and exit codes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kns.cli.main import main
from tests.readme_console import PROJECT

OBJECTS = """\
kind: Node
metadata: {name: node1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.50.11}]}
---
kind: Service
metadata: {name: web, namespace: default}
spec: {type: NodePort, clusterIP: 10.96.10.1, ports: [{name: http, port: 80, nodePort: 30080}]}
---
kind: EndpointSlice
metadata: {name: web-a, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.1.10], nodeName: node1}]
"""
LAST = "kubernetes service nodeports"


@pytest.fixture
def objects(tmp_path: Path) -> str:
    file = tmp_path / "objects.yaml"
    file.write_text(OBJECTS)
    return str(file)


def render(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["render", "--node", "node1", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["render", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_nothing_but_rules_is_printed(objects: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = render(capsys, objects).splitlines()
    assert lines[0] == "# kube-proxy 1.37, iptables mode, node node1"
    assert lines[1] == "*nat"
    assert lines[-1] == "COMMIT"
    assert {line[:1] for line in lines[1:]} == {"*", ":", "-", "C"}
    assert not any("CANARY" in line for line in lines)


def test_a_dash_is_stdin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, objects: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(OBJECTS.encode())))
    assert render(capsys, "-") == render(capsys, objects)


@pytest.mark.parametrize(
    ("flags", "masquerades_all"),
    [
        (["--masquerade-all"], True),
        (["--masquerade-all=true"], True),
        (["--masquerade-all=false"], False),
        (["--masquerade-all", "--masquerade-all=false"], False),
        ([], False),
    ],
)
def test_a_boolean_takes_its_value_by_equals_sign_only(
    objects: str, capsys: pytest.CaptureFixture[str], flags: list[str], *, masquerades_all: bool
) -> None:
    """`--masquerade-all FILE` names a file: pflag's booleans never take the next word."""
    text = render(capsys, *flags, objects)
    assert ('cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ' in text) is masquerades_all


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--cluster-cidr=10.244.0.0/16"], "! -s 10.244.0.0/16 -d 10.96.10.1/32"),
        (["--cluster-cidr", "fd00::/56,10.9.0.0/16"], "! -s 10.9.0.0/16 -d 10.96.10.1/32"),
        (["--cluster-cidr=10.1.0.0/16", "--cluster-cidr=10.2.0.0/16"], "! -s 10.2.0.0/16 -d"),
        (["--detect-local-mode=NodeCIDR"], "! -s 10.244.1.0/24 -d"),
        (
            ["--detect-local-mode=BridgeInterface", "--pod-bridge-interface=cni0"],
            "-d 10.96.10.1/32 ! -i cni0 -p",
        ),
        (
            ["--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=veth"],
            "-d 10.96.10.1/32 ! -i veth+ -p",
        ),
        (["--iptables-masquerade-bit=15"], "--set-xmark 0x8000/0x8000"),
        (
            ["--iptables-localhost-nodeports=false"],
            f'! -d 127.0.0.0/8 -m comment --comment "{LAST}',
        ),
        (
            ["--nodeport-addresses=172.16.0.0/12,192.168.50.0/24"],
            f'-d 192.168.50.11/32 -m comment --comment "{LAST}',
        ),
        (["--nodeport-addresses=primary"], f'-d 192.168.50.11/32 -m comment --comment "{LAST}'),
        (
            ["--nodeport-addresses=172.16.0.0/12", "--nodeport-addresses=10.0.0.0/8"],
            f'-d 10.244.1.1/32 -m comment --comment "{LAST}',
        ),
        (
            ["--nodeport-addresses=172.16.0.0/12", "--host-address=172.16.0.9"],
            f'-d 172.16.0.9/32 -m comment --comment "{LAST}',
        ),
    ],
)
def test_kube_proxys_flags_change_the_rules(
    objects: str, capsys: pytest.CaptureFixture[str], flags: list[str], expected: str
) -> None:
    assert expected not in render(capsys, objects)
    assert expected in render(capsys, *flags, objects)


def test_a_liberal_conntrack_drops_nothing(
    objects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "ctstate INVALID" in render(capsys, objects)
    assert "ctstate INVALID" not in render(capsys, "--conntrack-tcp-be-liberal", objects)


def test_the_other_family_has_its_own_rules(
    objects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = render(capsys, "--family", "ipv6", objects)
    assert "! -d ::1/128" in text
    assert "10.96.10.1" not in text


def test_nftables_prints_both_families(objects: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = render(capsys, "--proxy-mode", "nftables", objects)
    assert [line for line in text.splitlines() if line.startswith("table ")] == [
        "table ip kube-proxy {",
        "table ip6 kube-proxy {",
    ]


def test_a_name_that_nft_refuses_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to 1.36 kube-proxy doesn't cut the comment, and no rule of the family is loaded."""
    name, namespace = "w" * 63, "n" * 63
    text = OBJECTS.partition("---\nkind: EndpointSlice")[0]
    text = text.replace("name: web, namespace: default", f"name: {name}, namespace: {namespace}")
    file = tmp_path / "objects.yaml"
    file.write_text(text.replace("name: http", f"name: {'p' * 15}"))
    arguments = ["render", "--node=node1", "--proxy-mode=nftables", str(file)]
    assert main([*arguments, "--kube-proxy-version=1.36"]) == 0
    refused = capsys.readouterr()
    assert "table ip kube-proxy" not in refused.out
    assert f"warning: Service {namespace}/{name}: spec.ports[0].name: " in refused.err
    assert "143 bytes, and nft takes 128" in refused.err
    assert main([*arguments, "--kube-proxy-version=1.37"]) == 0
    cut = capsys.readouterr()
    assert "table ip kube-proxy" in cut.out
    assert cut.err == ""


def test_ipvs_prints_a_part_for_each_program(
    objects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = render(capsys, "--proxy-mode=ipvs", objects).splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# kube-proxy 1.37, ipvs mode, node node1",
        "# sysctl -p -",
        "# ipset restore",
        "# iptables-restore",
        "# ip6tables-restore",
        "# ip",
        "# ipvsadm -R",
    ]
    assert "-a -t 10.96.10.1:80 -r 10.244.1.10:8080 -m -w 1" in lines


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--node", "node9"], "there is no node 'node9' in the files", "nodes in the files: node1"),
        (
            ["--node", "node1", "--detect-local-mode=BridgeInterface"],
            "--detect-local-mode=BridgeInterface needs --pod-bridge-interface",
            "add --pod-bridge-interface=NAME",
        ),
        (
            ["--node", "node1", "--nodeport-addresses=primary,10.0.0.0/8"],
            "Invalid value for '--nodeport-addresses': primary stands alone",
            "kns render --help",
        ),
        (
            ["--node", "node1", "--cluster-cidr=10.244.0.0"],
            "Invalid value for '--cluster-cidr': '10.244.0.0' is no CIDR: it lacks a prefix length",
            "kns render --help",
        ),
        (
            ["--node", "node1", "--cluster-cidr="],
            "--cluster-cidr: kube-proxy 1.37 refuses an empty value",
            "leave the option out",
        ),
        *(
            (
                ["--node", "node1", f"--kube-proxy-version={release}", f"--cluster-cidr={cidrs}"],
                "--cluster-cidr: neither a single CIDR nor one of each family",
                "kube-proxy refuses it; leave a CIDR out",
            )
            for release in ("1.31", "1.32")
            for cidrs in ("10.1.0.0/16,10.2.0.0/16", "10.1.0.0/16,fd00::/56,10.2.0.0/16")
        ),
        (
            ["--node", "node1", "--ipvs-udp-timeout=5x"],
            "Invalid value for '--ipvs-udp-timeout': '5x' is no duration such as 15m or 90s",
            "kns render --help",
        ),
    ],
)
def test_what_can_not_be_is_refused_with_a_hint(
    objects: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
    hint: str,
) -> None:
    assert refused(capsys, objects, *arguments) == f"error: {message}\nhint: {hint}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kube-proxy-version=1.31", "--cluster-cidr="],
        ["--cluster-cidr=", "--detect-local-mode=NodeCIDR"],
        ["--cluster-cidr=10.1.0.0/16,10.2.0.0/16", "--detect-local-mode=NodeCIDR"],
    ],
)
def test_a_cluster_cidr_that_nobody_reads_is_not_refused(
    objects: str, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert "KUBE-SERVICES" in render(capsys, objects, *arguments)


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    assert refused(capsys, str(file), "--node", "node1") == f"error: {file}: no such file\n"


def test_bad_objects_are_shown_with_their_lines(
    objects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(objects).write_text(OBJECTS.replace("port: 80,", "port: x,").replace("10.96.10.1", "x"))
    error = refused(capsys, objects, "--node", "node1")
    assert f"{objects}:8:35: spec.clusterIP: Invalid value" in error
    assert f"{objects}:8:65: spec.ports[0].port: Invalid value" in error
    assert error.endswith("error: 2 problems in the file\n")


@pytest.mark.parametrize("words", [(), ("--node", "node1")])
def test_a_lab_file_is_told_from_objects(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = str(PROJECT / "labs/four-paths.yaml")
    assert main(["render", lab, *words]) == 2
    error = capsys.readouterr().err
    assert "is a lab file, not what kubectl get prints" in error
    assert f"kns script {lab}" in error


def test_without_a_node_those_of_the_files_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text("apiVersion: v1\nkind: Node\nmetadata: {name: node7}\n")
    assert main(["render", str(file)]) == 2
    error = capsys.readouterr().err
    assert "--node is missing" in error
    assert "nodes in the files: node7" in error
