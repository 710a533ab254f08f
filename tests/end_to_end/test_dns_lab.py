"""labs/discovery.yaml, built and asked: cluster DNS behind kube-proxy's rules, real clients."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.cli.main import main
from kns.cluster.model import Cluster
from kns.compile.names import netns_of_pod
from kns.compile.paths import LabPaths
from kns.engine import etc
from kns.engine.down import down
from kns.engine.labs import running
from kns.engine.up import up
from kns.kernel.processes import Context, run
from kns.probe.ask.places import places_of
from kns.probe.verify import verify
from tests.end_to_end.labfiles import leftovers, write_lab

pytestmark = pytest.mark.kernel

LAB = "dnslab"
TEXT = (
    (Path(__file__).parents[2] / "labs" / "discovery.yaml")
    .read_text(encoding="utf-8")
    .replace("name: discovery", f"name: {LAB}")
)
KUBE_DNS = "10.96.0.10"


@pytest.fixture(scope="module", autouse=True)
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("dnslab")
    file = write_lab(folder, TEXT)
    try:
        up(file)
        yield file
    finally:
        down(LAB)
    assert leftovers(LAB) == {}


@pytest.fixture
def changed(lab: Path) -> Iterator[Path]:
    """The lab file, free to be changed; afterwards the lab is again as it was."""
    yield lab
    lab.write_text(TEXT, encoding="utf-8")
    up(lab)


@pytest.fixture
def cluster() -> Cluster:
    return running(LAB).cluster


def in_pod(name: str, *argv: str, namespace: str = "default") -> str:
    """What a program prints in the pod, with the pod's own files."""
    netns = netns_of_pod(LAB, namespace, name)
    context = Context(netns, etc=etc.folder(LabPaths(LAB), netns), hostname=name)
    return run(argv, context=context, timeout=30).stdout


def addresses_of(cluster: Cluster, *names: str) -> set[str]:
    return {str(a) for pod in cluster.pods if pod.name in names for a in pod.addresses}


def dig(pod: str, *arguments: str) -> list[str]:
    return in_pod(pod, "dig", "+short", "+search", "+time=2", *arguments).split()


# -- through the Service ---------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    "form", ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local."]
)
def test_every_legal_form_of_a_name_resolves(cluster: Cluster, form: str, transport: str) -> None:
    (web,) = (service for service in cluster.services if service.name == "web")
    found = [*dig("client", transport, form, "A"), *dig("client", transport, form, "AAAA")]
    assert found == [str(address) for address in web.cluster_ips]


def test_short_name_means_the_pods_own_namespace() -> None:
    assert in_pod("client", "getent", "hosts", "db") == ""
    assert len(in_pod("db-0", "getent", "ahostsv4", "db", namespace="data").split("\n")) > 1


def test_headless_name_is_the_ready_pods(cluster: Cluster) -> None:
    found = {*dig("client", "db.data", "A"), *dig("client", "db.data", "AAAA")}
    assert found == addresses_of(cluster, "db-0", "db-1")


def test_headless_name_with_not_ready_pods_published(cluster: Cluster) -> None:
    expected = {a for a in addresses_of(cluster, "db-0", "db-1", "db-2") if "." in a}
    assert set(dig("client", "db-all.data", "A")) == expected


def test_pod_of_a_headless_service_has_its_own_name(cluster: Cluster) -> None:
    found = {*dig("client", "db-1.db.data", "A"), *dig("client", "db-1.db.data", "AAAA")}
    assert found == addresses_of(cluster, "db-1")


def test_external_name_leads_to_the_internet() -> None:
    assert dig("client", "shop", "A") == ["www.example.com.", "203.0.113.10"]
    assert in_pod("client", "curl", "-s", "-m5", "http://shop/hostname") == "internet"


def test_reverse_names_of_service_endpoint_and_outside(cluster: Cluster) -> None:
    (pod,) = (pod for pod in cluster.pods if pod.name == "db-0")
    assert dig("client", "-x", KUBE_DNS) == ["kube-dns.kube-system.svc.cluster.local."]
    assert "db-0.db.data.svc.cluster.local." in dig("client", "-x", str(pod.addresses[0]))
    assert dig("client", "-x", "203.0.113.10") == ["www.example.com."]


def test_each_dns_pod_answers_on_each_of_its_addresses(cluster: Cluster) -> None:
    servers = sorted(addresses_of(cluster, "coredns-1", "coredns-2"))
    assert len(servers) == 4
    for server in servers:
        found = dig("client", f"@{server}", "web.default.svc.cluster.local", "A")
        assert len(found) == 1, server


def test_both_dns_pods_get_questions(cluster: Cluster) -> None:
    """By the node's conntrack table: each dig has a source port, so kube-proxy chooses anew."""
    for _ in range(24):
        assert dig("client", "web", "A")
    done = run(["conntrack", "-L", "-p", "udp"], context=Context(f"kns.{LAB}.node1"))
    servers = {a for a in addresses_of(cluster, "coredns-1", "coredns-2") if "." in a}
    lines = [line for line in done.stdout.splitlines() if f"dst={KUBE_DNS}" in line]
    assert {
        server for server in servers if any(f"src={server} " in line for line in lines)
    } == servers


# -- resolv.conf -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pod", "name", "resolves"),
    [
        ("client", "web", True),
        ("outsider", "web", False),
        ("outsider", "www.example.com", True),
        ("by-hand", "www", True),
        ("by-hand", "web", False),
        ("frugal", "web", True),
        ("frugal", "web.default", True),
    ],
)
def test_libc_resolves_by_the_pods_dns_policy(pod: str, name: str, *, resolves: bool) -> None:
    assert bool(in_pod(pod, "getent", "hosts", name)) is resolves


def test_pod_knows_itself_by_its_hosts_file(cluster: Cluster) -> None:
    out = in_pod("db-0", "getent", "ahostsv4", "db-0", namespace="data").split()
    assert out[0] in addresses_of(cluster, "db-0")


# -- kns probe by name ----------------------------------------------------------------------------


def test_probe_tells_the_address_that_the_client_chose(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    # a name with A and AAAA: curl prefers IPv6
    (web,) = [service for service in cluster.services if service.name == "web"]
    (ipv6,) = [str(address) for address in web.cluster_ips if address.version == 6]
    assert main(["probe", "client", "web", "-l", LAB, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["address"] == ipv6


def test_probe_knows_whose_address_a_name_led_to(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://db-0.db.data:5432/"
    assert main(["probe", "client", url, "-l", LAB, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["path"], found["backends"]) == ("pod-to-pod", {"data/db-0": 1})
    assert found["address"] in addresses_of(cluster, "db-0")


# -- kns dns ---------------------------------------------------------------------------------------


def test_kns_dns_shows_the_eight_queries(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = [str(address) for address in cluster.internet[0].addresses]
    code = main(["dns", "client", "www.example.com", "-l", LAB, "-o", "json"])
    shape = json.loads(capsys.readouterr().out)
    assert (code, shape["ok"], shape["addresses"]) == (0, True, outside)
    assert [query["rcode"] for query in shape["queries"]] == ["NXDOMAIN"] * 6 + ["NOERROR"] * 2
    assert shape["resolver"]["options"] == ["ndots:5"]


def test_kns_dns_exits_1_when_the_name_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dns", "client", "nobody", "-l", LAB]) == 1
    assert "nobody does not exist (8 queries)" in capsys.readouterr().out


def test_kns_dns_refuses_what_is_no_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dns", "client", "web", "B", "-l", LAB]) == 2
    assert "hint: one of A, AAAA" in capsys.readouterr().err


# -- kns verify ------------------------------------------------------------------------------------


def broken(lab: str, only: str) -> list[str]:
    found = running(lab)
    report = verify(found.cluster, places_of(lab, found.paths), only=only)
    return [check.id for check in report.checks if not check.ok]


def up_again(lab: str) -> None:
    """Converge to the file that was applied: what was broken by hand is mended."""
    assert main(["up", str(LabPaths(lab).spec)]) == 0


def test_verify_finds_nothing_wrong() -> None:
    assert broken(LAB, "^(name-resolution|environment)/") == []


def test_verify_finds_the_dns_pod_that_is_cut_off() -> None:
    pod = Context(netns_of_pod(LAB, "kube-system", "coredns-2"))
    run(["ip", "link", "set", "eth0", "down"], context=pod)
    try:
        found = broken(LAB, "^name-resolution/server/")
    finally:
        up_again(LAB)
    assert found == ["name-resolution/server/client->kube-system/coredns-2"]
    assert broken(LAB, "^name-resolution/server/") == []


# -- the environment -------------------------------------------------------------------------------


def test_environment_seen_by_the_built_in_server() -> None:
    body = in_pod("client", "curl", "-s", "-m5", "http://127.0.0.1:8080/env")
    found = dict(line.partition("=")[::2] for line in body.splitlines() if "=" in line)
    assert found["WEB_SERVICE_PORT"] == "mine"
    assert found["WEB_URL"] == f"http://{found['WEB_SERVICE_HOST']}:80/"
    assert found["FOO_SERVICE_PORT"].startswith("tcp://")


def test_later_service_is_known_to_dns_but_not_to_the_environment(changed: Path) -> None:
    more = "- {name: late, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n"
    text = TEXT.replace("services:\n", f"services:\n{more}")
    pod = "- {name: young, node: node1, containers: [{name: main, port: 8080}]}\n"
    changed.write_text(text.replace("pods:\n", f"pods:\n{pod}", 1), encoding="utf-8")
    up(changed)
    start = time.monotonic()
    found = dig("client", "late", "A")
    assert time.monotonic() - start < 1.0
    assert len(found) == 1
    variables = {name: env_of(name) for name in ("client", "young")}
    assert "LATE_SERVICE_HOST" not in variables["client"]
    assert variables["young"]["LATE_SERVICE_HOST"] == found[0]


def env_of(pod: str) -> dict[str, str]:
    folder = etc.folder(LabPaths(LAB), netns_of_pod(LAB, "default", pod))
    assert folder is not None
    return dict(json.loads((folder / "env").read_text(encoding="utf-8")))


# -- change and loss -------------------------------------------------------------------------------


def test_records_follow_readiness(changed: Path, cluster: Cluster) -> None:
    changed.write_text(TEXT.replace("  ready: false\n", ""), encoding="utf-8")
    up(changed)
    expected = {a for a in addresses_of(cluster, "db-0", "db-1", "db-2") if "." in a}
    assert set(dig("client", "db.data", "A")) == expected


def test_names_resolve_with_one_dns_pod_gone(changed: Path) -> None:
    """From source ports that were used before too: their flows led to the pod that is gone."""
    ports = range(40_000, 40_016)
    answered = [len(dig_from(port)) for port in ports]
    text = TEXT.replace("ipFamily: dual\n", "ipFamily: dual\n  dns: {replicas: 1}\n", 1)
    changed.write_text(text, encoding="utf-8")
    up(changed)
    assert [len(dig_from(port)) for port in ports] == answered == [1] * len(ports)


def dig_from(port: int) -> list[str]:
    return dig("client", "-b", f"0.0.0.0#{port}", "+tries=1", "web", "A")
