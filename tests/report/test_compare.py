"""The comparison of modes as text and JSON, and how differences are found."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_network

from kns.addresses import IPFamily
from kns.cluster.model import Cluster, Network
from kns.experiment.bench.model import Latency, SyncTime
from kns.experiment.compare import (
    CompareReport,
    Difference,
    Missing,
    ModeResult,
    differences,
    subject_of,
)
from kns.experiment.setting import ProxyVariant
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.networking import ProxyMode
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.release import NEWEST, Release
from kns.kinds.service import Service, ServicePort, TrafficPolicy
from kns.plan.size import RulesetSize
from kns.probe.verify import CheckResult, VerifyReport
from kns.report.compare import compare_text

IPTABLES, NFTABLES = ProxyMode.IPTABLES, ProxyMode.NFTABLES


def check(name: str, expected: str, *, ok: bool = True) -> CheckResult:
    return CheckResult(name, "pod-to-service", "a", "b", expected, f"saw {expected}", ok, "")


def result(mode: ProxyMode, *checks: CheckResult, release: Release | None = None) -> ModeResult:
    return ModeResult(
        variant=ProxyVariant(mode, release),
        release=release or NEWEST,
        up_seconds=0.5,
        ruleset=RulesetSize(100, 2, 2048),
        full=SyncTime(0.01, 0.02),
        change=SyncTime(0.001, 0.002),
        latency=Latency(50, 100),
        backends={"web2": 3, "web1": 1},
        report=VerifyReport("demo", checks, (), 1.0),
    )


SAME = check("same", "answers")
REPORT = CompareReport(
    "demo",
    "node1",
    "client → web:80",
    (
        result(IPTABLES, SAME, check("wrong-port", "no answer")),
        result(NFTABLES, SAME, check("wrong-port", "refused"), check("extra", "refused", ok=False)),
    ),
    (Missing(ProxyVariant(ProxyMode.IPVS), "ip_vs is missing", "modprobe ip_vs"),),
)


def test_differences_are_checks_that_promise_something_else() -> None:
    assert differences(REPORT.results) == (
        Difference(
            "wrong-port",
            {IPTABLES: "no answer", NFTABLES: "refused"},
            {IPTABLES: "saw no answer", NFTABLES: "saw refused"},
        ),
        Difference(
            "extra", {IPTABLES: "", NFTABLES: "refused"}, {IPTABLES: "", NFTABLES: "saw refused"}
        ),
    )


def test_text_shows_the_modes_side_by_side() -> None:
    head = "new connection client → web:80, p50/p99"
    rows = (
        ("demo", "iptables", "nftables"),
        ("time to build the lab", "0.500 s", "0.500 s"),
        ("rules of node1", "100", "100"),
        ("  elements of sets, servers", "2", "2"),
        ("  size as text", "2.0 KiB", "2.0 KiB"),
        ("  full sync", "0.030 s", "0.030 s"),
        ("  sync of one endpoint", "0.003 s", "0.003 s"),
        (head, "50/100 µs", "50/100 µs"),
        ("  who answered", "web1 1, web2 3", "web1 1, web2 3"),
        ("promises kept", "2 of 2", "2 of 3"),
    )
    expected = [f"{a:<{len(head)}}   {b:<14}   {c}" for a, b, c in rows]
    assert compare_text(REPORT).splitlines()[: len(rows)] == expected


def test_text_names_the_differences_by_mode() -> None:
    text = compare_text(REPORT)
    assert (
        "Where the modes differ, as promised and as seen:\n"
        "  wrong-port\n"
        "    iptables  no answer — saw no answer\n"
        "    nftables  refused — saw refused\n"
        "  extra\n"
        "    iptables  –\n"
        "    nftables  refused — saw refused\n"
    ) in text


def test_text_names_a_mode_that_this_machine_lacks() -> None:
    assert compare_text(REPORT).endswith(
        "ipvs: not compared: ip_vs is missing\n  hint: modprobe ip_vs\n"
    )


def test_text_says_so_when_the_modes_promise_the_same() -> None:
    same = replace(REPORT, results=(result(IPTABLES, SAME), result(NFTABLES, SAME)), missing=())
    assert compare_text(same).endswith("\nThe modes promise the same for this lab.\n")


def test_releases_of_one_mode_are_told_apart() -> None:
    older = result(NFTABLES, check("wrong-port", "dropped"), release=Release.V1_30)
    newer = result(NFTABLES, check("wrong-port", "refused"), release=Release.V1_37)
    report = replace(REPORT, results=(older, newer), missing=())
    assert report.differences[0].expected == {
        "nftables@1.30": "dropped",
        "nftables@1.37": "refused",
    }
    text = compare_text(report)
    assert text.splitlines()[0].split() == ["demo", "nftables@1.30", "nftables@1.37"]
    assert (
        "Where the settings differ, as promised and as seen:\n"
        "  wrong-port\n"
        "    nftables@1.30  dropped — saw dropped\n"
    ) in text


def test_failed_checks_count_over_all_modes() -> None:
    assert REPORT.failed == 1


def test_json_has_a_mode_each_with_plain_numbers() -> None:
    found = REPORT.to_json()
    modes = found["modes"]
    assert isinstance(modes, list)
    assert modes[0] == {
        "setting": "iptables",
        "mode": "iptables",
        "version": "1.37",
        "up_s": 0.5,
        "rules": 100,
        "elements": 2,
        "bytes": 2048,
        "full_sync_s": 0.03,
        "endpoint_sync_s": 0.003,
        "latency": {"p50_us": 50, "p99_us": 100},
        "backends": {"web2": 3, "web1": 1},
        "passed": 2,
        "failed": 0,
    }
    assert found["missing"] == [
        {
            "setting": "ipvs",
            "mode": "ipvs",
            "reason": "ip_vs is missing",
            "hint": "modprobe ip_vs",
        }
    ]


# -- which service is called -----------------------------------------------------------------------


def pod(name: str, node: str, host: int) -> Pod:
    return Pod("default", name, node, (IPv4Address(f"10.244.1.{host}"),))


def service(
    name: str,
    protocol: Protocol = Protocol.TCP,
    internal: TrafficPolicy = TrafficPolicy.CLUSTER,
) -> Service:
    return Service(
        "default",
        name,
        cluster_ips=(IPv4Address("10.96.0.1"),),
        ports=(ServicePort(80, protocol=protocol),),
        internal_traffic_policy=internal,
    )


def endpoints(name: str, *pods: Pod) -> EndpointSlice:
    return EndpointSlice(
        "default",
        f"{name}-1",
        name,
        IPFamily.IPV4,
        (EndpointPort(8080),),
        tuple(Endpoint(item.addresses, ready=True, pod=item.full_name) for item in pods),
    )


CLIENT, WEB1, WEB2 = pod("client", "node1", 2), pod("web1", "node1", 3), pod("web2", "node2", 4)


def cluster(services: tuple[Service, ...], slices: tuple[EndpointSlice, ...]) -> Cluster:
    network = Network(
        (IPFamily.IPV4,),
        (ip_network("10.244.0.0/16"),),
        (ip_network("10.96.0.0/16"),),
        (ip_network("172.18.0.0/24"),),
        (ip_network("203.0.113.0/24"),),
    )
    nodes = tuple(Node(f"node{i}", (IPv4Address(f"172.18.0.{i + 1}"),)) for i in (1, 2))
    return Cluster("demo", network, nodes, (WEB1, CLIENT, WEB2), services, slices)


def test_subject_is_the_service_with_most_endpoints_called_by_no_backend() -> None:
    found = subject_of(
        cluster((service("a"), service("b")), (endpoints("a", WEB1), endpoints("b", WEB1, WEB2)))
    )
    assert found is not None
    assert found.label == "client → b:80"


def test_subject_is_no_service_that_is_local_or_not_tcp() -> None:
    local = service("a", internal=TrafficPolicy.LOCAL)
    udp = service("b", Protocol.UDP)
    slices = (endpoints("a", WEB1), endpoints("b", WEB2))
    assert subject_of(cluster((local, udp), slices)) is None
