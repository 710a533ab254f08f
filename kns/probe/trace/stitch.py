"""A packet's sightings, the rules it met, the questions asked for it → its Journey. Pure.

The kernel tells of rules without the time, so their hook tells where they go in:

    in veth ─ prerouting* ─ in cni0 ─ prerouting ─ input │ forward ─ postrouting ─ out eth0
    (own packet)                      output ─ postrouting ─ out eth0

* with bridge-nf-call-iptables a frame that comes in by a bridge port meets nat PREROUTING before
the bridge hands it up: cni0 then sees the translated address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kns.addresses import IPNetwork
from kns.probe.trace.atlas import Atlas
from kns.probe.trace.correlate import Sighting, Way, header_key
from kns.probe.trace.model import (
    Asked,
    ChangeKind,
    Hop,
    HopChange,
    Traversal,
    destination_of,
    source_of,
)
from kns.probe.trace.packet import VXLAN_PORTS, CapturedPacket, IPAddress, Question


@dataclass(frozen=True, slots=True)
class Heard:
    """An ARP or NDP message on a link, and when."""

    netns: str
    link: str
    outgoing: bool
    nanoseconds: int
    question: Question


@dataclass(frozen=True, slots=True)
class RouteLookup:
    """What a routing table says of a packet: the way on, `is_local`, or an `error`."""

    text: str
    device: str = ""
    gateway: str = ""
    #: whose MAC address is needed: the gateway's or the destination's
    next_hop: IPAddress | None = None
    is_local: bool = False
    error: str = ""

    @property
    def is_default(self) -> bool:
        """True of the route that is taken for want of a better one."""
        return self.text.startswith("default ")


@dataclass(frozen=True, slots=True)
class LinkLookup:
    """What `ip addr` says of a link: its MTU, the bridge that it is a port of, its networks."""

    mtu: int
    master: str = ""
    networks: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is asked of the kernel afterwards; each answer as it is then.

    `route(netns, source, destination, link)`: the link it came in by is empty for a packet of the
    netns' own. `sysctl(netns, key)` is empty where there is no such file.
    """

    route: Callable[[str, IPAddress, IPAddress, str], RouteLookup]
    sysctl: Callable[[str, str], str]
    #: True if the netns asked for the MAC address of a neighbor, and nobody answered
    is_silent: Callable[[str, IPAddress], bool]
    #: each link of a netns that is up
    links: Callable[[str], Mapping[str, LinkLookup]]


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that was seen and heard, and what it is called."""

    atlas: Atlas
    sightings: tuple[Sighting, ...]
    traversals: tuple[Traversal, ...]
    heard: tuple[Heard, ...]
    kernel: Kernel
    #: when the first packet of the flow was seen
    start: int = 0


@dataclass(frozen=True, slots=True)
class Stitched:
    """The hops, and what came after the last one."""

    first: CapturedPacket
    hops: tuple[Hop, ...]
    rules: tuple[Traversal, ...]
    asked: tuple[Asked, ...]
    #: the route that the packet would have gone on by, if it was not the last host's own
    route: RouteLookup | None


def stitch(scene: Scene, way: Way, *, routes: bool) -> Stitched:
    """The hops of a way. `routes`: ask for the routes that were taken, too."""
    met = _allotted(scene, way)
    before = first_packet(scene, way)
    hops: list[Hop] = []
    arrived_by, previous, clock = "", before, 0
    for number, item in enumerate(way.sightings):
        if not hops or hops[-1].netns != item.netns:
            arrived_by = ""
        changes = tuple(_changes(previous, item.packet, forward=way.forward))
        leaves = item.outgoing and (not hops or not _same_visit_out(hops[-1], item))
        route = None
        if leaves and routes and not _is_bridged(changes, hops, item):
            source = previous.source if arrived_by else item.packet.source
            route = scene.kernel.route(item.netns, source, item.packet.destination, arrived_by)
        asked = _asked(scene, item, route, clock) if leaves else ()
        hop = _hop(scene, item, changes, met.get(number, ()), asked, route)
        hops.append(replace(hop, bridge=_bridge(scene, item, hops[-1] if hops else None)))
        arrived_by = arrived_by if item.outgoing else item.link
        previous, clock = item.packet, item.nanoseconds
    rules = met.get(len(way.sightings), ())
    return Stitched(before, tuple(hops), rules, *_after(scene, way, rules, arrived_by, clock))


def _same_visit_out(hop: Hop, item: Sighting) -> bool:
    """True for cni0's port after cni0, and eth0 after flannel.1: the decision was made before."""
    return hop.outgoing and hop.netns == item.netns


def _is_bridged(changes: Sequence[HopChange], hops: Sequence[Hop], item: Sighting) -> bool:
    """True if the packet came into the same netns and left with the same TTL: no router."""
    if not hops or hops[-1].netns != item.netns:
        return False
    return not any(change.kind is ChangeKind.ROUTED for change in changes)


def _hop(
    scene: Scene,
    item: Sighting,
    changes: tuple[HopChange, ...],
    rules: tuple[Traversal, ...],
    asked: tuple[Asked, ...],
    route: RouteLookup | None,
) -> Hop:
    used = route is not None and not route.error and route.device in ("", item.link)
    return Hop(
        place=scene.atlas.place(item.netns),
        netns=item.netns,
        link=item.link,
        peer=scene.atlas.peer(item.netns, item.link),
        outgoing=item.outgoing,
        microseconds=round((item.nanoseconds - scene.start) / 1000, 1),
        packet=item.packet,
        changes=changes,
        rules=rules,
        asked=asked,
        route=route.text if route is not None and used else "",
        not_in=_networks(scene, item) if route is not None and used and route.is_default else (),
    )


def _networks(scene: Scene, item: Sighting) -> tuple[IPNetwork, ...]:
    """The networks of the packet's family on the link."""
    link = scene.kernel.links(item.netns).get(item.link)
    destination = item.packet.destination
    found = link.networks if link is not None else ()
    return tuple(network for network in found if network.version == destination.version)


def _bridge(scene: Scene, item: Sighting, before: Hop | None) -> str:
    """Which bridge chose the link for the packet; empty if it is no port of one."""
    links = scene.kernel.links(item.netns)
    link = links.get(item.link)
    if not item.outgoing or link is None or not link.master:
        return ""
    text = f"bridge {link.master}: {item.packet.destination_mac} is behind {item.link}"
    came = links.get(before.link) if before is not None and before.netns == item.netns else None
    bridged = came is not None and came.master == link.master
    if bridged and item.netns in scene.atlas.nodes and _bridge_calls(scene, item):
        return f"{text}; br_netfilter shows it to iptables"
    return text


def _after(
    scene: Scene, way: Way, rules: Sequence[Traversal], arrived_by: str, clock: int
) -> tuple[tuple[Asked, ...], RouteLookup | None]:
    """Questions after the last hop, and the way on from there, with the address after DNAT."""
    last = way.sightings[-1]
    if last.outgoing:
        return (), None
    packet = rules[-1].packet if rules else last.packet
    route = scene.kernel.route(last.netns, packet.source, packet.destination, arrived_by)
    on = Sighting(last.netns, route.device, True, 1 << 63, packet)
    return _asked(scene, on, route, clock), route


# -- rules -----------------------------------------------------------------------------------------


def first_packet(scene: Scene, way: Way) -> CapturedPacket:
    """As the sender's program sent it: before rules of its own netns changed it."""
    first = way.sightings[0]
    for item in scene.traversals:
        if item.netns == first.netns and item.hook == "output" and _is_of(item, way):
            return item.packet
    return first.packet


def _is_of(item: Traversal, way: Way) -> bool:
    """True if the traversal is of the way's packet.

    Of UDP the headers tell little; then one of the two ends must be one that the packet had.
    """
    packet = item.packet
    if header_key(packet) != header_key(way.sightings[0].packet):
        return False
    if packet.protocol in ("tcp", "icmp", "icmpv6"):
        return True
    here = [other.packet for other in way.sightings if other.netns == item.netns]
    sources = {(other.source, other.source_port) for other in here}
    targets = {(other.destination, other.destination_port) for other in here}
    return (packet.source, packet.source_port) in sources or (
        packet.destination,
        packet.destination_port,
    ) in targets


def _carries(item: Traversal, last: Sighting) -> bool:
    """True if the traversal is of the tunnel's packet in which the way's was seen last.

    Or of the one into which it was put where it was seen last, at the door of the tunnel.
    """
    packet, outer = item.packet, last.packet.outer
    if item.netns != last.netns or packet.destination_port not in VXLAN_PORTS:
        return False
    if outer is None:
        return item.hook in ("output", "postrouting") and packet.protocol == "udp"
    carrier = (outer.source, outer.destination, outer.source_port, outer.ident)
    return carrier == (packet.source, packet.destination, packet.source_port, packet.ident)


def _allotted(scene: Scene, way: Way) -> dict[int, tuple[Traversal, ...]]:
    """The traversals by the number of the sighting before which they belong."""
    visits = tuple(_visits(way.sightings))
    found: dict[int, list[Traversal]] = {}
    turn: dict[str, int] = {}
    seen: dict[str, set[tuple[str, int, str, str]]] = {}
    for item in scene.traversals:
        own = [visit for visit in visits if way.sightings[visit[0]].netns == item.netns]
        if not own or not _is_of(item, way):
            if item.verdict == "drop" and _carries(item, way.sightings[-1]):
                found.setdefault(len(way.sightings), []).append(item)
            continue
        key = (item.hook, item.family, item.table, item.chain)
        if key in seen.setdefault(item.netns, set()):
            turn[item.netns] = turn.get(item.netns, 0) + 1
            seen[item.netns] = set()
        seen[item.netns].add(key)
        number = turn.get(item.netns, 0)
        if number < len(own):  # later ones are of the same packet sent again
            place = _place(scene, way.sightings, own[number], item.hook)
            found.setdefault(place, []).append(item)
    return {number: tuple(items) for number, items in found.items()}


def _visits(sightings: Sequence[Sighting]) -> Iterator[range]:
    """The numbers of sightings that follow each other in one netns."""
    start = 0
    for number in range(1, len(sightings) + 1):
        if number == len(sightings) or sightings[number].netns != sightings[start].netns:
            yield range(start, number)
            start = number


def _place(scene: Scene, sightings: Sequence[Sighting], visit: range, hook: str) -> int:
    """Before which sighting the rules of a hook were met."""
    if hook in ("prerouting", "input", "ingress"):
        inward = [n for n in visit if not sightings[n].outgoing and not sightings[n].packet.outer]
        inward = inward or [n for n in visit if not sightings[n].outgoing]
        if not inward:
            return visit.start
        ports = len(inward) > 1 and sightings[inward[0]].link != sightings[inward[1]].link
        if hook == "prerouting" and ports and _bridge_calls(scene, sightings[inward[0]]):
            return inward[1]
        return inward[-1] + 1
    inward = [n for n in visit if not sightings[n].outgoing]
    outward = [n for n in visit if sightings[n].outgoing]
    if not outward:
        return visit.stop
    # br_netfilter sends what it translated to a neighbour's address through cni0 once more, and
    # lets it pass FORWARD and POSTROUTING on the way to the port
    ttl = sightings[outward[0]].packet.ttl
    if len(outward) > 1 and inward and sightings[inward[-1]].packet.ttl == ttl:
        return outward[-1]
    return outward[0]


def _bridge_calls(scene: Scene, item: Sighting) -> bool:
    tables = "iptables" if item.packet.source.version == 4 else "ip6tables"
    return scene.kernel.sysctl(item.netns, f"bridge/bridge-nf-call-{tables}") == "1"


# -- what changed, who was asked -------------------------------------------------------------------


def _changes(
    before: CapturedPacket, after: CapturedPacket, *, forward: bool
) -> Iterator[HopChange]:
    if destination_of(before) != destination_of(after):
        kind = ChangeKind.DNAT if forward else ChangeKind.UNDO_SNAT
        yield HopChange(kind, destination_of(before), destination_of(after))
    if source_of(before) != source_of(after):
        kind = ChangeKind.SNAT if forward else ChangeKind.UNDO_DNAT
        yield HopChange(kind, source_of(before), source_of(after))
    if after.ttl < before.ttl:
        yield HopChange(ChangeKind.ROUTED, str(before.ttl), str(after.ttl))
    if before.outer is None and after.outer is not None:
        ends = f"{after.outer.source} → {after.outer.destination}"
        yield HopChange(ChangeKind.ENCAPSULATED, "", ends)
    if before.outer is not None and after.outer is None:
        ends = f"{before.outer.source} → {before.outer.destination}"
        yield HopChange(ChangeKind.DECAPSULATED, ends, "")


def _asked(
    scene: Scene, item: Sighting, route: RouteLookup | None, since: int
) -> tuple[Asked, ...]:
    """The questions that the netns asked on its way out, for the next hop's MAC address."""
    wanted = {str(item.packet.destination)}
    if route is not None and route.gateway:
        wanted = {route.gateway}
    found: dict[tuple[str, str], list[Heard]] = {}
    for heard in scene.heard:
        near = heard.netns == item.netns and since <= heard.nanoseconds <= item.nanoseconds
        if near and str(heard.question.target) in wanted:
            found.setdefault((item.link, str(heard.question.target)), []).append(heard)
    return tuple(
        Asked(
            link,
            items[0].question.target,
            next((h.question.mac for h in items if not h.outgoing and h.question.mac), ""),
            sum(1 for h in items if h.outgoing and h.link == link and not h.question.is_answer),
        )
        for (link, _), items in found.items()
        if any(h.outgoing and h.link == link and not h.question.is_answer for h in items)
    )
