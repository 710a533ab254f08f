"""`kns trace` on running labs: the way of a packet, and for each fault what stopped it where."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kns.kernel import netns, nftrace, packets
from kns.kernel.connections import list_connections
from tests.cli.process import KNS, kns
from tests.legacy_iptables import legacy_path

pytestmark = pytest.mark.kernel

TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {{name: {name}}}
networking: {{dns: {{enabled: false}}, kubeProxyMode: {mode}, podNetwork: {network}}}
nodes: [{{name: node1}}, {{name: node2}}]
pods:
- name: pod1
  node: node1
  containers:
  - {{name: web, port: 8080}}
  - {{name: sidecar, ports: [{{name: sidecar-port, port: 9090}}]}}
- {{name: near, node: node1, labels: {{app: near}}}}
- name: far
  node: node2
  labels: {{app: far}}
  containers: [{{name: c, ports: [{{port: 8080}}, {{port: 8081, protocol: UDP}}]}}]
services:
- {{name: svc-near, selector: {{app: near}}, ports: [{{port: 80, targetPort: 8080}}]}}
- name: svc-far
  selector: {{app: far}}
  type: NodePort
  ports:
  - {{name: t, port: 80, targetPort: 8080, nodePort: 30080}}
  - {{name: u, port: 53, targetPort: 8081, protocol: UDP}}
- {{name: svc-empty, selector: {{app: x}}, ports: [{{port: 80, targetPort: 8080}}]}}
internet: [{{name: internet}}]
"""
IPTABLES, NFTABLES = "trace-iptables", "trace-nftables"
ACROSS = ["pod1", "node1", "fabric", "node2", "far"]
LABS = {IPTABLES: ("iptables", "vxlan"), NFTABLES: ("nftables", "host-gw")}


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("labs")
    files = {name: folder / f"{name}.yaml" for name in LABS}
    try:
        for name, (mode, network) in LABS.items():
            text = TEXT.format(name=name, mode=mode, network=network)
            files[name].write_text(text, encoding="utf-8")
            done = kns("up", str(files[name]))
            assert done.returncode == 0, done.stderr
        yield files
    finally:
        for name in LABS:
            kns("down", name)


def trace(lab: str, *arguments: str) -> dict[str, Any]:
    done = kns("trace", "-l", lab, *arguments, "-o", "json")
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 1)
    return found


def places(journey: dict[str, Any]) -> list[str]:
    """The places in the order in which the packet came to them."""
    found: list[str] = []
    for hop in journey["hops"]:
        if found[-1:] != [hop["place"]]:
            found.append(hop["place"])
    return found


def changes(journey: dict[str, Any]) -> list[str]:
    return [change["kind"] for hop in journey["hops"] for change in hop["changes"]]


def rules(journey: dict[str, Any]) -> list[str]:
    """`place rule` of every rule met, those after the last hop too."""
    met = [(hop["place"], item) for hop in journey["hops"] for item in hop["rules"]]
    met += [(journey["end"]["place"], item) for item in journey["end"]["rules"]]
    return [f"{place} {rule['rule']}" for place, item in met for rule in item["rules"]]


def end(journey: dict[str, Any]) -> tuple[str, str]:
    return journey["end"]["kind"], journey["end"]["place"]


def inside(lab: str, place: str, *argv: str) -> str:
    command = ["ip", "netns", "exec", f"kns.{lab}.{place}", *argv]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


@contextlib.contextmanager
def mended(labs: dict[str, Path], lab: str) -> Iterator[None]:
    """Whatever the block breaks, `up` repairs."""
    try:
        yield
    finally:
        done = kns("up", str(labs[lab]))
        assert done.returncode == 0, done.stderr


# -- the way of a packet ---------------------------------------------------------------------------


@pytest.mark.parametrize("lab", LABS)
def test_pod_to_service_on_another_node(labs: dict[str, Path], lab: str) -> None:
    assert labs[lab].exists()
    found = trace(lab, "pod1", "svc-far")
    request, answer = found["request"], found["answer"]
    assert (found["path"], found["backend"]) == ("pod-to-service", "far")
    assert places(request) == ACROSS
    assert places(answer) == ACROSS[::-1]
    tunnelled = LABS[lab][1] == "vxlan"
    way = ["DNAT", "routed", *["encapsulated", "decapsulated"] * tunnelled, "routed"]
    assert changes(request) == way
    assert changes(answer).count("undo DNAT") == 1
    assert (end(request), end(answer)) == (("delivered", "far"), ("delivered", "pod1"))
    assert (request["packet"], answer["packet"]) == ("SYN", "SYN+ACK")
    times = [hop["microseconds"] for hop in (*request["hops"], *answer["hops"])]
    assert times == sorted(times)


def test_rules_of_iptables_mode(labs: dict[str, Path]) -> None:
    assert labs
    found = trace(IPTABLES, "pod1", "svc-far")
    chains = [
        (hop["link"], rule["chain"])
        for hop in found["request"]["hops"]
        if hop["place"] == "node1"
        for item in hop["rules"]
        if item["table"] == "nat"
        for rule in item["rules"]
    ]
    names = [re.sub(r"-[A-Z0-9]{16}$", "", chain) for _, chain in chains]
    assert names == [
        *("PREROUTING", "KUBE-SERVICES", "KUBE-SVC", "KUBE-SEP"),
        *("POSTROUTING", "KUBE-POSTROUTING", "POSTROUTING", "FLANNEL-POSTRTG"),
    ]
    # br_netfilter: cni0 sees the translated address already
    assert [link for link, _ in chains] == ["cni0"] * 4 + ["flannel.1"] * 4


def test_rules_of_nftables_mode(labs: dict[str, Path]) -> None:
    assert labs
    met = rules(trace(NFTABLES, "pod1", "svc-far")["request"])
    assert any(
        text.startswith("node1 ip daddr . meta l4proto . th dport vmap @service-ips")
        for text in met
    )
    assert any(re.fullmatch(r"node1 meta l4proto tcp dnat to [\d.]+:8080", text) for text in met)


def test_conntrack_of_both_nodes(labs: dict[str, Path]) -> None:
    assert labs
    first, second = trace(IPTABLES, "pod1", "svc-far")["conntrack"]
    assert (first["node"], second["node"]) == ("node1", "node2")
    assert first["original"]["destination_port"] == 80
    assert first["reply"]["source"] == second["original"]["destination"]
    assert first["state"] in ("TIME_WAIT", "LAST_ACK", "FIN_WAIT", "CLOSE")


@pytest.mark.parametrize("lab", LABS)
def test_node_port_from_outside(labs: dict[str, Path], lab: str) -> None:
    assert labs[lab].exists()
    found = trace(lab, "internet", "node1:30080")
    assert places(found["request"])[:3] == ["internet", "fabric", "node1"]
    assert changes(found["request"])[:2] == ["routed", "DNAT"]
    assert "SNAT" in changes(found["request"])
    assert {"undo SNAT", "undo DNAT"} < set(changes(found["answer"]))
    assert end(found["answer"]) == ("delivered", "internet")


@pytest.mark.parametrize("lab", LABS)
def test_a_node_translates_its_own_packet(labs: dict[str, Path], lab: str) -> None:
    """Even the client's port is another one when the packet comes to its first link."""
    assert labs[lab].exists()
    found = trace(lab, "node1", "svc-far")
    assert places(found["request"]) == ["node1", "fabric", "node2", "far"]
    assert changes(found["request"])[:2] == ["DNAT", "SNAT"]
    assert end(found["answer"]) == ("delivered", "node1")


@pytest.mark.parametrize(
    ("arguments", "packet", "way"),
    [
        (("pod1", "pod1:sidecar-port"), "SYN", ["pod1"]),
        (("pod1", "svc-near"), "SYN", ["pod1", "node1", "near"]),
        (("near", "svc-near"), "SYN", ["near", "node1", "near"]),
        (("pod1", "internet"), "SYN", ["pod1", "node1", "fabric", "internet"]),
        (("pod1", "far", "--proto", "icmp"), "echo request", ACROSS),
        (("pod1", "svc-far", "--proto", "udp"), "datagram", ACROSS),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lab", LABS)
def test_ways(
    labs: dict[str, Path], lab: str, arguments: tuple[str, ...], packet: str, way: list[str]
) -> None:
    assert labs[lab].exists()
    found = trace(lab, *arguments)
    assert found["ok"] is True
    assert (found["request"]["packet"], places(found["request"])) == (packet, way)
    assert end(found["answer"])[0] == "delivered"


# -- what stops a packet ---------------------------------------------------------------------------


@pytest.mark.parametrize("lab", LABS)
@pytest.mark.parametrize("source", ["pod1", "node1"])
def test_a_service_without_endpoints(labs: dict[str, Path], lab: str, source: str) -> None:
    assert labs[lab].exists()
    found = trace(lab, source, "svc-empty")
    assert end(found["request"]) == ("rejected", "node1")
    assert "REJECT" in found["request"]["end"]["rule"].upper()
    assert found["answer"]["packet"] == "ICMP port unreachable"
    assert end(found["answer"]) == ("delivered", source)


def test_from_outside_to_a_pod(labs: dict[str, Path]) -> None:
    assert labs
    found = trace(IPTABLES, "internet", "pod1")
    assert end(found["request"]) == ("unreachable", "fabric")
    assert found["answer"]["packet"] == "ICMP network unreachable"


def test_nobody_listens(labs: dict[str, Path]) -> None:
    assert labs
    found = trace(IPTABLES, "pod1", "far:81")
    assert (found["outcome"], end(found["request"])) == ("REFUSED", ("delivered", "far"))
    assert found["answer"]["packet"] == "RST+ACK"


def test_an_address_that_nobody_has(labs: dict[str, Path]) -> None:
    assert labs
    own = trace(IPTABLES, "pod1", "10.244.0.99:80", "--timeout", "0.3")["request"]
    assert (end(own), own["hops"]) == (("no-neighbor", "pod1"), [])
    far = trace(IPTABLES, "pod1", "10.244.1.99:80", "--timeout", "0.3")["request"]
    assert end(far) == ("no-neighbor", "node2")


def test_a_rule_drops_it(labs: dict[str, Path]) -> None:
    with mended(labs, IPTABLES):
        inside(IPTABLES, "node1", "iptables", "-I", "FORWARD", "-s", "10.244.0.2", "-j", "DROP")
        found = trace(IPTABLES, "pod1", "svc-far", "--timeout", "0.3")
    assert end(found["request"]) == ("dropped", "node1")
    assert found["request"]["end"]["rule"] == "-s 10.244.0.2/32 -j DROP"
    assert found["answer"] is None
    # the translated address, though no link has seen it after the drop
    assert found["request"]["hops"][-1]["destination"].endswith(":8080")


def test_a_policy_drops_it(labs: dict[str, Path]) -> None:
    try:
        with mended(labs, NFTABLES):
            inside(NFTABLES, "node2", "iptables", "-F", "FLANNEL-FWD")
            inside(NFTABLES, "node2", "iptables", "-P", "FORWARD", "DROP")
            found = trace(NFTABLES, "pod1", "far", "--timeout", "0.3")
    finally:
        inside(NFTABLES, "node2", "iptables", "-P", "FORWARD", "ACCEPT")
    assert end(found["request"]) == ("dropped", "node2")
    assert "policy of filter FORWARD" in found["request"]["end"]["text"]


def test_a_rule_of_a_pod_drops_it(labs: dict[str, Path]) -> None:
    assert labs
    table = (
        "table inet guard { chain in { type filter hook input priority 0; tcp dport 8080 drop; }; }"
    )
    inside(IPTABLES, "far", "nft", table)
    try:
        found = trace(IPTABLES, "pod1", "far", "--timeout", "0.3")
    finally:
        inside(IPTABLES, "far", "nft", "delete", "table", "inet", "guard")
    assert end(found["request"]) == ("dropped", "far")
    assert found["request"]["end"]["rule"] == "tcp dport 8080 drop"


def test_the_tunnels_packet_is_dropped(labs: dict[str, Path]) -> None:
    """Not the packet but what carries it: it was seen in the tunnel, and not behind it."""
    with mended(labs, IPTABLES):
        inside(IPTABLES, "node2", "iptables", "-I", "INPUT", "-p", "udp", "-j", "DROP")
        found = trace(IPTABLES, "pod1", "far", "--timeout", "0.3")
    assert end(found["request"]) == ("dropped", "node2")
    assert found["request"]["end"]["rule"] == "-p udp -j DROP"


def test_a_route_is_missing(labs: dict[str, Path]) -> None:
    with mended(labs, NFTABLES):
        inside(NFTABLES, "node2", "ip", "route", "del", "10.244.0.0/24")
        found = trace(NFTABLES, "pod1", "far", "--timeout", "0.3")
    assert end(found["request"]) == ("delivered", "far")
    assert end(found["answer"]) == ("unreachable", "fabric")


def test_forwarding_is_off(labs: dict[str, Path]) -> None:
    with mended(labs, IPTABLES):
        inside(IPTABLES, "node1", "sysctl", "-w", "net.ipv4.ip_forward=0")
        found = trace(IPTABLES, "pod1", "far", "--timeout", "0.3")
    assert end(found["request"]) == ("not-forwarded", "node1")


def test_a_cable_is_down(labs: dict[str, Path]) -> None:
    with mended(labs, IPTABLES):
        inside(IPTABLES, "far", "ip", "link", "set", "eth0", "down")
        found = trace(IPTABLES, "pod1", "far", "--timeout", "0.3")
    assert end(found["request"])[1] == "node2"
    assert end(found["request"])[0] in ("no-neighbor", "lost")


def test_the_answer_is_not_translated_back(labs: dict[str, Path]) -> None:
    """bridge-nf-call-iptables=0: the answer goes from port to port and meets no conntrack."""
    with mended(labs, IPTABLES):
        key = "net.bridge.bridge-nf-call-iptables"
        inside(IPTABLES, "node1", "sysctl", "-w", f"{key}=0")
        found = trace(IPTABLES, "pod1", "svc-near", "--timeout", "0.3")
    assert end(found["request"]) == ("delivered", "near")
    assert end(found["answer"]) == ("mismatch", "pod1")


def test_small_packets_pass_and_big_ones_do_not(labs: dict[str, Path]) -> None:
    with mended(labs, NFTABLES):
        inside(NFTABLES, "fabric", "ip", "link", "set", "node2", "mtu", "1200")
        url = f"http://far:8080/echo?msg={'x' * 1300}"
        found = trace(NFTABLES, "pod1", url, "--timeout", "0.3")
    assert (end(found["request"]), end(found["answer"])[0]) == (("delivered", "far"), "delivered")
    assert end(found["lost"]) == ("lost", "fabric")
    assert "node2 (1200)" in found["lost"]["end"]["text"]


# -- where rules can't be traced -------------------------------------------------------------------


@pytest.fixture
def legacy(tmp_path: Path) -> Iterator[str]:
    """A lab whose rules are those of the legacy programs; yields the PATH that has them."""
    path = legacy_path(tmp_path)
    file = tmp_path / "lab.yaml"
    text = TEXT.format(name="trace-legacy", mode="iptables", network="host-gw")
    file.write_text(text, encoding="utf-8")
    try:
        done = kns("up", str(file), PATH=path)
        assert done.returncode == 0, done.stderr
        yield path
    finally:
        kns("down", "trace-legacy", PATH=path)


@pytest.mark.parametrize(
    ("source", "target", "wanted", "kind"),
    [
        ("pod1", "svc-far", "-j DNAT --to-destination", "delivered"),
        ("node1", "svc-far", "-j DNAT --to-destination", "delivered"),
        ("pod1", "svc-empty", "-j REJECT", "rejected"),
    ],
)
def test_legacy_rules_are_told_by_their_counters(
    legacy: str, source: str, target: str, wanted: str, kind: str
) -> None:
    arguments = ("-l", "trace-legacy", source, target, "-o", "json")
    found = json.loads(kns("trace", *arguments, PATH=legacy).stdout)
    assert end(found["request"])[0] == kind
    assert any(wanted in text for text in rules(found["request"]))
    assert "told by their counters" in found["notes"][0]


# -- what a trace leaves behind --------------------------------------------------------------------


def tables(lab: str) -> dict[str, str]:
    names = netns.list_netns(f"kns.{lab}.")
    return {name: inside(lab, name.split(".", 2)[2], "nft", "list", "tables") for name in names}


def test_a_trace_leaves_nothing(labs: dict[str, Path]) -> None:
    assert labs
    before = tables(NFTABLES)
    trace(NFTABLES, "pod1", "svc-far")
    assert tables(NFTABLES) == before
    assert not any(nftrace.TABLE in text for text in before.values())
    assert json.loads(kns("status", NFTABLES, "-o", "json").stdout)["drift"] == []


def test_a_killed_trace_leaves_nothing(labs: dict[str, Path]) -> None:
    assert labs
    arguments = [*KNS, "trace", "-l", IPTABLES, "pod1", "10.244.1.98:80", "--timeout", "20"]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while nftrace.TABLE not in inside(IPTABLES, "node1", "nft", "list", "tables"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    while any(nftrace.TABLE in text for text in tables(IPTABLES).values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_traces_at_once(labs: dict[str, Path]) -> None:
    """Each has a table of its own, and finds its own packets."""
    assert labs
    arguments = [*KNS, "trace", "-l", IPTABLES, "pod1", "svc-far", "-o", "json"]
    running = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert [end(item["request"]) for item in found] == [("delivered", "far")] * 2
    for item in found:
        assert sum("-j DNAT" in text for text in rules(item["request"])) == 1
        assert item["notes"] == []


def test_text_is_readable_at_80_columns(labs: dict[str, Path]) -> None:
    assert labs
    for lab in LABS:
        for target in ("svc-far", "svc-empty"):
            text = kns("trace", "-l", lab, "pod1", target, COLUMNS="80").stdout
            assert max(len(line) for line in text.splitlines()) <= 80
            assert "\x1b" not in text


# -- the parts -------------------------------------------------------------------------------------


def test_tap_sees_both_directions_in_order(labs: dict[str, Path]) -> None:
    assert labs
    with contextlib.closing(packets.open_tap(f"kns.{IPTABLES}.pod1")) as tap:
        time.sleep(0.05)
        inside(IPTABLES, "pod1", "ping", "-c", "1", "-W", "1", "10.244.0.1")
        frames = [frame for frame in tap.read() if frame.data[12:14] == b"\x08\x00"]
    assert [(frame.link, frame.outgoing) for frame in frames] == [("eth0", True), ("eth0", False)]
    assert 0 < frames[0].nanoseconds <= frames[1].nanoseconds


def test_connections_are_listed(labs: dict[str, Path]) -> None:
    assert labs
    trace(IPTABLES, "pod1", "svc-far", "--proto", "udp")
    entries = list_connections(f"kns.{IPTABLES}.node1")
    found = [entry for entry in entries if entry.original.destination_port == 53]
    assert found
    assert (found[0].protocol, found[0].reply.source_port) == ("udp", 8081)
    assert found[0].original.reverse != found[0].reply


def test_unknown_names(labs: dict[str, Path]) -> None:
    assert labs
    done = kns("trace", "-l", IPTABLES, "pod1", "svc-fra")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "hint: did you mean svc-far?")
