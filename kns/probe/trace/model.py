"""What a trace found: the way of a packet, hop by hop, the rules between the hops, and the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kns.addresses import IPNetwork
from kns.kinds.networking import ProxyMode
from kns.probe.model import ProbeResult, text_of
from kns.probe.trace.packet import CapturedPacket, IPAddress
from kns.state.connection import Connection, Tuple

#: netns, address family (2 or 10), table and chain: what names a chain of rules in a lab
ChainKey = tuple[str, int, str, str]


class ChangeKind(StrEnum):
    """What became of a packet between two hops."""

    DNAT = "DNAT"
    SNAT = "SNAT"
    #: conntrack undoes on the way back what was done on the way there
    UNDO_DNAT = "undo DNAT"
    UNDO_SNAT = "undo SNAT"
    #: the time to live went down by one, and both MAC addresses are new
    ROUTED = "routed"
    ENCAPSULATED = "encapsulated"
    DECAPSULATED = "decapsulated"


@dataclass(frozen=True, slots=True)
class HopChange:
    """One thing that is different from the hop before."""

    kind: ChangeKind
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RuleMet:
    """A rule that matched. `depth` counts the jumps that led to its chain.

    `led_nowhere` is true of a jump into a chain of which no rule matched.
    """

    chain: str
    text: str
    verdict: str
    target: str = ""
    depth: int = 0
    led_nowhere: bool = False


@dataclass(frozen=True, slots=True)
class Traversal:
    """A packet's way through one base chain (nat PREROUTING, …) and the chains below it."""

    netns: str
    hook: str
    family: int
    table: str
    chain: str
    packet: CapturedPacket
    rules: tuple[RuleMet, ...]
    #: accept, drop, …: what a rule or, if `by_policy`, the chain's policy said
    verdict: str
    by_policy: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """An ARP or NDP question before a hop. `mac` is empty if nobody answered."""

    link: str
    target: IPAddress
    mac: str = ""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Hop:
    """The packet on a link. All but the sighting itself is what came before it, since the last."""

    place: str
    netns: str
    link: str
    #: whose link it is at the other end, if that is not plain from the name
    peer: str
    outgoing: bool
    microseconds: float
    packet: CapturedPacket
    changes: tuple[HopChange, ...] = ()
    rules: tuple[Traversal, ...] = ()
    asked: tuple[Asked, ...] = ()
    #: the route that led out by this link, as `ip route` writes it
    route: str = ""
    #: networks on the link that the destination is in none of, where it leads to a gateway
    not_in: tuple[IPNetwork, ...] = ()
    #: the bridge that chose the link, in a plain sentence
    bridge: str = ""


class EndKind(StrEnum):
    """How a packet's way ended."""

    DELIVERED = "delivered"
    #: a rule or a policy threw it away
    DROPPED = "dropped"
    #: a rule threw it away and told the sender
    REJECTED = "rejected"
    #: a routing table has no way on
    UNREACHABLE = "unreachable"
    #: nobody answered the question for the next hop's MAC address
    NO_NEIGHBOR = "no-neighbor"
    #: the host is no router: ip_forward is 0
    NOT_FORWARDED = "not-forwarded"
    #: delivered, but as an answer to a question that was never asked
    MISMATCH = "mismatch"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class End:
    """Where and how a way ended. `text` says it in a plain sentence."""

    kind: EndKind
    place: str
    text: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Journey:
    """One packet's way. `first` is the packet before any rule of its own host changed it."""

    first: CapturedPacket
    hops: tuple[Hop, ...]
    end: End
    #: rules met, and questions asked, after the last hop
    rules: tuple[Traversal, ...] = ()
    asked: tuple[Asked, ...] = ()
    #: how often the sender sent it
    sent: int = 1

    @property
    def delivered(self) -> bool:
        """True if it came to where it was meant to."""
        return self.end.kind is EndKind.DELIVERED

    @property
    def traversals(self) -> tuple[Traversal, ...]:
        """All rules on the way, in order."""
        return (*(item for hop in self.hops for item in hop.rules), *self.rules)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the connection table of a node holds about the flow."""

    place: str
    connection: Connection


@dataclass(frozen=True, slots=True)
class Trace:
    """One `kns trace`. `request` is None if no packet was seen at all."""

    probe: ProbeResult
    request: Journey | None
    #: the first packet back, whoever sent it
    answer: Journey | None = None
    #: a later packet that did not arrive, where the first two did
    lost: Journey | None = None
    #: the first packet of the connection that a proxy opened to who answered
    onward: Journey | None = None
    #: packets of the flow that the source sent and got
    packets: int = 0
    remembered: tuple[Remembered, ...] = ()
    #: what could not be seen, and why
    notes: tuple[str, ...] = ()
    #: the rules of each chain that was met, so that it can be explained
    chains: Mapping[ChainKey, tuple[str, ...]] = field(default_factory=dict)
    owners: Mapping[IPAddress, str] = field(default_factory=dict)
    #: kube-proxy's: what translates without a rule
    mode: ProxyMode = ProxyMode.IPTABLES

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "source": self.probe.source,
            "target": self.probe.target,
            "path": self.probe.path,
            "protocol": self.probe.protocol,
            "ok": self.probe.ok,
            "outcome": str(self.probe.outcome),
            "reason": self.probe.reason,
            "address": text_of(self.probe.address) or "",
            "backend": next((a.backend for a in self.probe.attempts if a.backend), None),
            "request": _journey_json(self.request),
            "answer": _journey_json(self.answer),
            "lost": _journey_json(self.lost),
            "onward": _journey_json(self.onward),
            "packets": self.packets,
            "conntrack": [_remembered_json(item) for item in self.remembered],
            "notes": list(self.notes),
        }


def endpoint(address: IPAddress, port: int) -> str:
    """`10.0.0.1:80`, `[fd00::1]:80`, or the address alone where there is no port."""
    if not port:
        return str(address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def source_of(packet: CapturedPacket) -> str:
    """Where it comes from, with the port of a protocol that has ports."""
    return endpoint(packet.source, 0 if "icmp" in packet.protocol else packet.source_port)


def destination_of(packet: CapturedPacket) -> str:
    """Where it goes to."""
    return endpoint(packet.destination, 0 if "icmp" in packet.protocol else packet.destination_port)


# -- JSON ------------------------------------------------------------------------------------------


def _journey_json(journey: Journey | None) -> dict[str, object] | None:
    if journey is None:
        return None
    return {
        "packet": journey.first.word,
        "source": source_of(journey.first),
        "destination": destination_of(journey.first),
        "sent": journey.sent,
        "hops": [_hop_json(hop) for hop in journey.hops],
        "end": {
            "kind": str(journey.end.kind),
            "place": journey.end.place,
            "text": journey.end.text,
            "rule": journey.end.rule or None,
            "rules": _rules_json(journey.rules),
        },
    }


def _hop_json(hop: Hop) -> dict[str, object]:
    packet = hop.packet
    outer = packet.outer
    return {
        "place": hop.place,
        "netns": hop.netns,
        "link": hop.link,
        "direction": "out" if hop.outgoing else "in",
        "microseconds": hop.microseconds,
        "source": source_of(packet),
        "destination": destination_of(packet),
        "ttl": packet.ttl,
        "source_mac": packet.source_mac,
        "destination_mac": packet.destination_mac,
        "tunnel": outer
        and {
            "source": str(outer.source),
            "destination": str(outer.destination),
            "vni": outer.vni,
        },
        "changes": [
            {"kind": str(item.kind), "before": item.before, "after": item.after}
            for item in hop.changes
        ],
        "route": hop.route or None,
        "neighbors": [
            {"link": item.link, "address": str(item.target), "mac": item.mac or None}
            for item in hop.asked
        ],
        "rules": _rules_json(hop.rules),
    }


def _rules_json(traversals: tuple[Traversal, ...]) -> list[dict[str, object]]:
    return [
        {
            "hook": item.hook,
            "table": item.table,
            "chain": item.chain,
            "verdict": item.verdict,
            "by_policy": item.by_policy,
            "rules": [
                {
                    "chain": rule.chain,
                    "rule": rule.text,
                    "verdict": rule.verdict,
                    "target": rule.target or None,
                }
                for rule in item.rules
            ],
        }
        for item in traversals
    ]


def _remembered_json(item: Remembered) -> dict[str, object]:
    found = item.connection
    return {
        "node": item.place,
        "protocol": found.protocol,
        "state": found.state or None,
        "answered": found.answered,
        "timeout_seconds": found.timeout,
        "original": _tuple_json(found.original),
        "reply": _tuple_json(found.reply),
    }


def _tuple_json(item: Tuple) -> dict[str, object]:
    return {
        "source": str(item.source),
        "source_port": item.source_port,
        "destination": str(item.destination),
        "destination_port": item.destination_port,
    }
