"""`kns trace` for people."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from kns.kinds.networking import ProxyMode
from kns.probe.model import Attempt, ProbeResult
from kns.probe.trace.model import (
    Asked,
    ChangeKind,
    End,
    EndKind,
    Hop,
    HopChange,
    Journey,
    Remembered,
    RuleMet,
    Trace,
    Traversal,
)
from kns.probe.trace.packet import CapturedPacket, Outer
from kns.promise.flow import Outcome
from kns.report.trace import trace_text
from kns.state.connection import Connection, Tuple

CLIENT, SERVICE, POD = (ip_address(a) for a in ("10.244.0.2", "10.96.0.1", "10.244.1.2"))
ASKED = CapturedPacket("tcp", CLIENT, SERVICE, 40000, 80, ttl=64, flags=("SYN",))
SENT_ON = replace(ASKED, destination=POD, destination_port=8080)
SVC = "KUBE-SVC-PYUKQ5O736Y2HVUG"
DNAT = Traversal(
    "kns.x.node1",
    "prerouting",
    2,
    "nat",
    "PREROUTING",
    ASKED,
    (
        RuleMet("PREROUTING", "-j KUBE-CANARY", "jump", "KUBE-CANARY", 0, led_nowhere=True),
        RuleMet("PREROUTING", "-j KUBE-SERVICES", "jump", "KUBE-SERVICES"),
        RuleMet(
            "KUBE-SERVICES",
            f'-d 10.96.0.1/32 -p tcp -m comment --comment "default/a" -m tcp --dport 80 -j {SVC}',
            "jump",
            SVC,
            1,
        ),
        RuleMet(SVC, "-p tcp -j DNAT --to-destination 10.244.1.2:8080", "accept", "", 2),
    ),
    "accept",
)


def hop(place: str, link: str, packet: CapturedPacket, at: float, **fields: object) -> Hop:
    plain = Hop(place, f"kns.x.{place}", link, "", False, at, packet)
    return replace(plain, **fields)  # type: ignore[arg-type]


REQUEST = Journey(
    ASKED,
    (
        hop("pod1", "eth0", ASKED, 0.0, outgoing=True, route="default via 10.244.0.1 dev eth0"),
        hop("node1", "veth1", ASKED, 2.4, peer="pod1"),
        hop(
            "node1",
            "cni0",
            SENT_ON,
            31.0,
            rules=(DNAT,),
            changes=(HopChange(ChangeKind.DNAT, "10.96.0.1:80", "10.244.1.2:8080"),),
        ),
        hop(
            "node1",
            "eth0",
            replace(SENT_ON, outer=Outer(CLIENT, POD, 1)),
            1500.0,
            outgoing=True,
            changes=(
                HopChange(ChangeKind.ROUTED, "64", "63"),
                HopChange(ChangeKind.ENCAPSULATED, "", "172.18.0.2 → 172.18.0.3"),
            ),
            asked=(Asked("eth0", ip_address("172.18.0.3"), "02:00:00:00:00:09"),),
        ),
    ),
    End(EndKind.DELIVERED, "node1", "node1 takes it"),
)
CONNECTED = ProbeResult(
    "pod1",
    "svc-a",
    "pod-to-service",
    Outcome.CONNECTED,
    "",
    ip_address("10.96.0.1"),
    (Attempt(Outcome.CONNECTED, "pod2", latency_ms=1.5),),
)
TRACE = Trace(
    CONNECTED,
    REQUEST,
    replace(REQUEST, hops=REQUEST.hops[:2]),
    chains={("kns.x.node1", 2, "nat", SVC): ("-j KUBE-SEP-A", "-j KUBE-SEP-B")},
    owners={ip_address("10.244.1.2"): "pod2"},
    remembered=(
        Remembered(
            "node1",
            Connection(
                "tcp",
                Tuple(CLIENT, 40000, SERVICE, 80),
                Tuple(POD, 8080, CLIENT, 40000),
                "TIME_WAIT",
                answered=True,
                timeout=119,
            ),
        ),
    ),
)
TEXT = """\
pod1 → svc-a   pod-to-service   ✔ CONNECTED
pod2 answered after 1.50 ms

the first packet: SYN   4 hops in 1.5 ms
pod1
           │ route default via 10.244.0.1 dev eth0
     0 µs  out  eth0          10.244.0.2:40000 → 10.96.0.1:80
node1
     2 µs  in   veth1 (pod1)  10.244.0.2:40000 → 10.96.0.1:80
           │ nat PREROUTING
           │   nothing matches in KUBE-CANARY
           │   KUBE-SERVICES: finds the service by address, protocol and port
           │     -d 10.96.0.1/32 -p tcp --dport 80 -j KUBE-SVC-PYUKQ5O736Y2HVUG
           │   KUBE-SVC-PYUKQ5O736Y2HVUG: takes one of 2 endpoints by chance, of
           │       all endpoints (policy Cluster)
           │     -p tcp -j DNAT --to-destination 10.244.1.2:8080
           ▶ DNAT: 10.96.0.1:80 becomes 10.244.1.2:8080 (pod2)
    31 µs  in   cni0          10.244.0.2:40000 → 10.244.1.2:8080
           │ forwarded: TTL 64 becomes 63, MACs are new
           │ ARP: who has 172.18.0.3? 02:00:00:00:00:09
           ▶ wrapped into UDP: the network between the nodes knows no pods
   1.5 ms  out  eth0          10.244.0.2:40000 → 10.244.1.2:8080
                in VXLAN 1: 10.244.0.2 → 10.244.1.2
         ✔ node1 takes it

the answer: SYN   2 hops in 2 µs
     0 µs  pod1   out eth0
     2 µs  node1  in veth1 (pod1)
         ✔ node1 takes it, from 10.244.0.2:40000

node1 remembers: tcp TIME_WAIT, for 119 s more
           asked     10.244.0.2:40000 → 10.96.0.1:80
           answered  10.244.1.2:8080 → 10.244.0.2:40000
"""


def test_a_trace_as_text() -> None:
    assert trace_text(TRACE) == TEXT


def test_colours_change_nothing_but_colours() -> None:
    import re

    coloured = trace_text(TRACE, colour=True)
    assert "\x1b[33m10.244.1.2:8080\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == TEXT


def test_long_addresses_and_rules_stay_within_the_width() -> None:
    wide = ip_address("fd00:10:244:1111:2222:3333:4444:5555")
    long = RuleMet(
        "services",
        "meta l4proto tcp numgen random mod 40 vmap { 0 : goto endpoint-A, 1 : goto endpoint-B }",
        "goto",
        "endpoint-PYNLGKFY-default/svc-a/tcp/p80__10.244.1.2/8080",
    )
    rules = (replace(DNAT, table="kube-proxy", rules=(*DNAT.rules, long)),)
    hops = tuple(
        replace(item, rules=rules, packet=replace(item.packet, source=wide, destination=wide))
        for item in REQUEST.hops
    )
    text = trace_text(replace(TRACE, request=replace(REQUEST, hops=hops)))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "numgen random mod 40 vmap { … }" in text


def test_the_probes_guess_is_left_out_where_the_cause_was_seen() -> None:
    probe = replace(CONNECTED, outcome=Outcome.TIMEOUT, reason="look for the route")
    dropped = End(
        EndKind.DROPPED, "node1", "node1 dropped it by a rule of filter FORWARD", "-j DROP"
    )
    lost = End(EndKind.LOST, "node1", "node1 took it in and sent nothing on to 10.244.1.2")
    texts = [trace_text(Trace(probe, replace(REQUEST, end=end))) for end in (dropped, lost)]
    assert ["look for the route" in text for text in texts] == [False, True]
    assert "✘ node1 dropped it by a rule of filter FORWARD\n\nno answer came\n" in texts[0]


def test_a_name_that_does_not_resolve_sends_nothing() -> None:
    probe = replace(CONNECTED, outcome=Outcome.DNS, reason="svc-a does not resolve", attempts=())
    assert trace_text(Trace(probe, None)).splitlines()[1:] == [
        "no packet was sent",
        "",
        "look at    svc-a does not resolve",
    ]


def test_json_has_everything() -> None:
    found = TRACE.to_json()
    request = found["request"]
    assert isinstance(request, dict)
    last = request["hops"][3]
    assert last["tunnel"] == {"source": "10.244.0.2", "destination": "10.244.1.2", "vni": 1}
    assert last["neighbors"] == [
        {"link": "eth0", "address": "172.18.0.3", "mac": "02:00:00:00:00:09"}
    ]
    rules = request["hops"][2]["rules"][0]["rules"]
    assert [rule["chain"] for rule in rules][-2:] == ["KUBE-SERVICES", SVC]


def test_ipvs_stands_between_the_hooks_before_it_and_after_it() -> None:
    """It takes what arrived at INPUT, after the filter; what it sends meets POSTROUTING."""
    rule = RuleMet("X", "-j ACCEPT", "accept")
    met = [
        Traversal("kns.x.node1", hook, 2, table, hook.upper(), ASKED, (rule,), "accept")
        for hook, table in (("prerouting", "nat"), ("input", "filter"), ("postrouting", "nat"))
    ]
    hops = (REQUEST.hops[0], replace(REQUEST.hops[2], rules=tuple(met)))
    trace = replace(TRACE, request=replace(REQUEST, hops=hops), mode=ProxyMode.IPVS)
    lines = [line.strip(" │▶") for line in trace_text(trace, width=100).splitlines()]
    order = [
        "nat PREROUTING",
        "filter INPUT",
        "DNAT: 10.96.0.1:80 becomes 10.244.1.2:8080 (pod2)",
        "no rule did that: IPVS, at INPUT (the address is the node's own), took a real server of",
        "nat POSTROUTING",
    ]
    assert [line for line in lines if line in order] == order


def test_why_the_gateway_and_which_port_of_the_bridge_are_told() -> None:
    first, *rest = REQUEST.hops
    told = replace(first, not_in=(ip_network("10.244.0.0/24"),))
    bridged = replace(rest[0], outgoing=True, bridge="bridge cni0: 0a:58 is behind veth1")
    trace = replace(TRACE, request=replace(REQUEST, hops=(told, bridged)))
    text = trace_text(trace)
    assert max(map(len, text.splitlines())) <= 80
    joined = " ".join(text.replace("│", " ").split())
    assert "via 10.244.0.1 dev eth0: 10.96.0.1 is not in 10.244.0.0/24" in joined
    assert "bridge cni0: 0a:58 is behind veth1" in joined


def test_the_connection_behind_a_proxy_is_told_hop_by_hop() -> None:
    text = trace_text(replace(TRACE, onward=REQUEST))
    assert "the proxy's own connection: SYN   4 hops" in text
    assert replace(TRACE, onward=REQUEST).to_json()["onward"] is not None
    assert TRACE.to_json()["onward"] is None
