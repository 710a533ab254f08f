"""Sightings of a connection through a Service, as they come from the links of a lab."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from kns.probe.trace.atlas import Atlas
from kns.probe.trace.correlate import Sighting
from kns.probe.trace.model import RuleMet, Traversal
from kns.probe.trace.packet import CapturedPacket, IPAddress
from kns.probe.trace.stitch import Kernel, LinkLookup, RouteLookup, Scene

CLIENT, SERVICE, POD = (ip_address(a) for a in ("10.244.0.2", "10.96.0.1", "10.244.1.2"))
ATLAS = Atlas(
    places={"pod1": "pod1", "node1": "node1", "pod2": "pod2", "fabric": "fabric"},
    peers={("node1", "veth1"): "pod1"},
    owners={POD: "pod2"},
    nodes=frozenset({"node1"}),
    fabric="fabric",
)


def packet(
    source: IPAddress = CLIENT,
    destination: IPAddress = SERVICE,
    ports: tuple[int, int] = (40000, 80),
    **fields: object,
) -> CapturedPacket:
    found = CapturedPacket(
        "tcp", source, destination, *ports, ttl=64, ident=7, length=40, flags=("SYN",)
    )
    return replace(found, **fields)  # type: ignore[arg-type]


def seen(place: str, at: int, item: CapturedPacket) -> Sighting:
    """`netns link out` or `in`, so many microseconds after the start."""
    netns, link, direction = place.split()
    return Sighting(netns, link, direction == "out", at * 1000, item)


ASKED = packet()
SENT_ON = packet(destination=POD, ports=(40000, 8080))
ROUTED = replace(SENT_ON, ttl=63)
ANSWER = replace(
    packet(POD, CLIENT, (8080, 40000)), flags=("SYN", "ACK"), ident=0, sequence=9, acknowledged=1
)
UNDONE = replace(ANSWER, source=SERVICE, source_port=80)

REQUEST = (
    seen("pod1 eth0 out", 0, ASKED),
    seen("node1 veth1 in", 2, ASKED),
    seen("node1 cni0 in", 30, SENT_ON),
    seen("node1 eth0 out", 60, ROUTED),
    seen("pod2 eth0 in", 62, ROUTED),
)
REPLY = (
    seen("pod2 eth0 out", 80, ANSWER),
    seen("node1 eth0 in", 82, ANSWER),
    seen("node1 veth1 out", 90, UNDONE),
    seen("pod1 eth0 in", 92, UNDONE),
)


def rule(text: str, chain: str = "KUBE-SERVICES", verdict: str = "accept") -> RuleMet:
    return RuleMet(chain, text, verdict)


def traversal(
    hook: str, of: CapturedPacket, *rules: RuleMet, table: str = "nat", verdict: str = "accept"
) -> Traversal:
    return Traversal("node1", hook, 2, table, hook.upper(), of, rules, verdict)


def kernel(
    routes: Mapping[str, RouteLookup] | None = None,
    sysctls: Mapping[str, str] | None = None,
    silent: tuple[IPAddress, ...] = (),
    links: Mapping[str, LinkLookup] | None = None,
) -> Kernel:
    """Answers by netns; by default hosts take what comes, and nodes forward."""
    known = {
        "pod2": RouteLookup("local", is_local=True),
        "pod1": RouteLookup("local", is_local=True),
    }
    known |= dict(routes or {})
    values = {"bridge/bridge-nf-call-iptables": "1", "ipv4/ip_forward": "1"} | dict(sysctls or {})
    return Kernel(
        route=lambda netns, _source, _destination, _link: known.get(netns, RouteLookup("", "eth0")),
        sysctl=lambda _netns, key: values.get(key, ""),
        is_silent=lambda _netns, address: address in silent,
        links=lambda _netns: dict(links or {}),
    )


def scene(
    sightings: tuple[Sighting, ...],
    traversals: tuple[Traversal, ...] = (),
    asked: Kernel | None = None,
) -> Scene:
    return Scene(ATLAS, sightings, traversals, (), asked or kernel())
