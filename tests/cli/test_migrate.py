"""`kns migrate`: files, stdin, a lab; its forms and exit codes; its claims, on the kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kns.cli.main import main
from tests.cli.test_render import OBJECTS

LAB = str(Path(__file__).parents[2] / "labs" / "migration.yaml")
SETTINGS = ("--from", "iptables@1.30", "--to", "nftables@1.37")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["migrate", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_what_kubectl_prints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text(OBJECTS)
    code, out, _ = run(capsys, str(file), *SETTINGS)
    assert code == 1
    assert "default/web: 127.0.0.1:30080; for the node itself (node1)" in out
    code, out, _ = run(capsys, str(file), *SETTINGS, "--iptables-localhost-nodeports=false")
    assert "127.0.0.1" not in out
    code, out, _ = run(capsys, str(file), *SETTINGS, "--nodeport-addresses", "192.168.50.0/24")
    assert "another address" not in out


def test_a_shipped_lab_goes_by_its_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, by_path, _ = run(capsys, LAB, *SETTINGS)
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "migration", *SETTINGS)
    assert (code, out) == (1, by_path)


def test_exit_code_is_0_where_nothing_differs(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, LAB, "--from", "nftables@1.37", "--to", "nftables")
    assert (code, out.splitlines()[0]) == (
        0,
        "nftables@1.37 → nftables@1.37: nothing differs for 5 services",
    )


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ((LAB, "--from", "iptables"), "Missing option '--to'", ""),
        ((LAB, "--from", "iptables@9", "--to", "nftables"), "kube-proxy 9", "1.30, 1.31"),
        ((LAB, *SETTINGS, "--node", "node9"), "no node 'node9'", "nodes: node1, node2"),
        (("nosuch.yaml", *SETTINGS), "nosuch.yaml: no such file", ""),
    ],
)
def test_errors_say_what_there_is(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str, hint: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert hint in err


def test_prove_needs_a_lab_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text(OBJECTS)
    code, _, err = run(capsys, str(file), *SETTINGS, "--prove")
    assert (code, "--prove builds a lab" in err) == (2, True)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("before", "after"), [("iptables@1.30", "nftables@1.37"), ("nftables@1.33", "nftables@1.36")]
)
def test_each_difference_shows_in_real_traffic(
    capsys: pytest.CaptureFixture[str], before: str, after: str
) -> None:
    code, out, _ = run(capsys, LAB, "--from", before, "--to", after, "--prove", "-o", "json")
    told = json.loads(out)
    assert code == 1
    assert [proof["setting"] for proof in told["proofs"]] == [before, after]
    for proof in told["proofs"]:
        wrong = [check for check in proof["checks"] if not check["ok"]]
        assert (proof["failed"], wrong) == (0, [])
        assert proof["checks"]
        pings = [check for check in proof["checks"] if check["id"].startswith("migrate/ping/")]
        assert len(pings) == (before == "iptables@1.30")
        # from outside nothing leads to cni0's address
        assert proof["untried"] == (["node-port-address"] if before == "iptables@1.30" else [])
