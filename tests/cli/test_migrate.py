"""`kns migrate`: files, stdin, a lab; its forms and exit codes; its claims, on the kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kns.addresses import IPAddress
from kns.cli.main import main
from kns.cluster.model import Cluster
from kns.compile.paths import LabPaths
from kns.engine.down import down
from kns.engine.up import up
from kns.experiment.migrate.kinds import DifferenceKind
from kns.experiment.migrate.trial import Affinity, BackendChoice, HeldConnections, HeldFlow, Trial
from kns.experiment.migrate.trying import Claim, carry_out
from kns.kinds.common import Protocol
from kns.kinds.networking import ProxyMode
from kns.kinds.release import Release
from kns.probe.addresses import owners
from kns.probe.ask.asking import Asker
from kns.probe.ask.places import places_of
from kns.probe.verify import CheckResult
from kns.promise.flow import Flow
from kns.promise.location import Location
from tests.cli.test_render import OBJECTS
from tests.experiment.test_trial import LAB as TRIALS

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


def test_flags_mean_what_they_mean_in_each_release(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The one --masquerade-all since 1.32, the gate since 1.36, an empty CIDR until 1.31."""
    file = tmp_path / "objects.yaml"
    file.write_text(OBJECTS.replace("spec: {type", "spec: {externalIPs: [198.51.100.7], type"))

    def told(before: str, after: str, flag: str) -> tuple[int, set[str], str]:
        settings = ("--from", before, "--to", after, flag, "-o", "json")
        code, out, err = run(capsys, str(file), *settings)
        found = json.loads(out)["differences"] if out else ()
        return code, {item["kind"] for item in found}, err

    assert told("nftables@1.31", "nftables@1.32", "--masquerade-all")[:2] == (
        1,
        {"source-address"},
    )
    assert "source-address" not in told("nftables@1.32", "iptables@1.32", "--masquerade-all")[1]
    gate = "--feature-gates=AllowServiceExternalIPs=false"
    assert told("iptables@1.35", "iptables@1.36", gate)[:2] == (1, {"external-ips"})
    assert told("iptables@1.36", "iptables@1.37", gate)[:2] == (0, set())
    code, _, err = told("iptables@1.34", "iptables@1.35", gate)
    assert (code, "no gate AllowServiceExternalIPs" in err) == (2, True)
    code, _, err = told("iptables@1.31", "iptables@1.32", "--cluster-cidr=")
    assert (code, "kube-proxy 1.32 refuses an empty value" in err) == (2, True)


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
        (
            (LAB, *SETTINGS, "--masquerade-all"),
            "--masquerade-all is not for a lab file, which says so itself",
            "networking.kubeProxy",
        ),
    ],
)
def test_errors_say_what_there_is(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str, hint: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert hint in err


def test_a_lab_comes_in_several_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lab, *manifests = Path(LAB).read_text(encoding="utf-8").split("---\n")
    files = tmp_path / "lab.yaml", tmp_path / "manifests.yaml"
    files[0].write_text(lab, encoding="utf-8")
    files[1].write_text("---\n".join(manifests), encoding="utf-8")
    code, out, _ = run(capsys, *map(str, files), *SETTINGS)
    assert (code, out) == run(capsys, LAB, *SETTINGS)[:2]
    assert "[endpoint-choice]" in out


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


def proved(
    capsys: pytest.CaptureFixture[str], file: Path, before: str, after: str
) -> dict[str, dict[str, str]]:
    """What was seen of each check, by setting; none of them failed."""
    settings = ("--from", before, "--to", after)
    code, out, err = run(capsys, str(file), *settings, "--prove", "-o", "json")
    assert code == 1, err
    found = {}
    for proof in json.loads(out)["proofs"]:
        assert [check for check in proof["checks"] if not check["ok"]] == []
        found[proof["setting"]] = {check["id"]: check["actual"] for check in proof["checks"]}
    return found


@pytest.mark.kernel
def test_a_udp_socket_is_led_to_endpoints_that_are_gone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "trials.yaml"
    file.write_text(TRIALS, encoding="utf-8")
    found = proved(capsys, file, "iptables@1.34", "nftables@1.37")
    name = "migrate/stale-udp/client->udp"
    assert found["iptables@1.34"][name].startswith("still led to web-")
    assert found["nftables@1.37"][name] == "refused"


@pytest.mark.ipvs
@pytest.mark.parametrize(
    ("scheduler", "chosen", "kept"),
    [
        (
            "rr",
            "one endpoint after the other, in turn",
            "client has another backend by each address",
        ),
        ("sh", "always the same endpoint", "client has one backend by both addresses"),
    ],
)
def test_what_ipvs_does_otherwise_shows_in_real_traffic(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scheduler: str, chosen: str, kept: str
) -> None:
    file = tmp_path / "trials.yaml"
    file.write_text(TRIALS.replace("scheduler: rr", f"scheduler: {scheduler}"), encoding="utf-8")
    found = proved(capsys, file, "ipvs@1.37", "iptables@1.37")
    names = ("migrate/scheduler/client->plain", "migrate/session-affinity/client->sticky")
    assert [found["ipvs@1.37"][name] for name in names] == [chosen, kept]
    assert [found["iptables@1.37"][name] for name in names] == [
        "endpoints in no order",
        "client has one backend by both addresses",
    ]


@pytest.mark.kernel
@pytest.mark.parametrize("mode", [ProxyMode.IPTABLES, ProxyMode.NFTABLES])
def test_a_claim_that_is_wrong_fails_its_trial(tmp_path: Path, mode: ProxyMode) -> None:
    """Each trial with what holds in the lab, and with what does not."""
    file = tmp_path / "trials.yaml"
    file.write_text(TRIALS, encoding="utf-8")
    built = up(file, proxy_mode=mode, release=Release.V1_36).cluster
    try:
        plain, sticky, port, other, udp = (Flow(*flow) for flow in _flows(built))
        service = next(item for item in built.services if item.name == "udp")
        pairs: list[tuple[Trial, Trial]] = [
            (
                HeldConnections(plain, BackendChoice.BY_CHANCE),
                HeldConnections(plain, BackendChoice.IN_TURN),
            ),
            (
                Affinity(sticky, port, other, follows=True, is_moved=False),
                Affinity(sticky, port, other, follows=False, is_moved=True),
            ),
            (
                HeldFlow(udp, service, is_refused=False),
                HeldFlow(udp, service, is_refused=True),
            ),
        ]
        for right, wrong in pairs:
            seen = _tried(built, right)
            assert seen.ok, seen
            assert not _tried(built, wrong).ok
        # without affinity a client has several backends
        loose = _tried(built, Affinity(plain, plain, plain, follows=True, is_moved=False))
        assert (loose.ok, loose.actual) == (False, "several backends for one client at one address")
    finally:
        down(built.name)


def _flows(cluster: Cluster) -> list[tuple[Location, IPAddress, int, Protocol]]:
    """To each Service, and to the node port of the sticky one, by two clients."""
    client = Location(next(pod for pod in cluster.pods if pod.name == "client"))
    node = next(item for item in cluster.nodes if item.name == "node1")
    ips = {service.name: service.cluster_ips[0] for service in cluster.services}
    return [
        (client, ips["plain"], 80, Protocol.TCP),
        (client, ips["sticky"], 80, Protocol.TCP),
        (client, node.addresses[0], 30080, Protocol.TCP),
        (Location(node), node.addresses[0], 30080, Protocol.TCP),
        (client, ips["udp"], 53, Protocol.UDP),
    ]


def _tried(cluster: Cluster, trial: Trial) -> CheckResult:
    asker = Asker(places_of(cluster.name, LabPaths(cluster.name)), owners(cluster))
    return carry_out(asker, cluster, trial, Claim(DifferenceKind.OTHER, "a Service", "so"))
