"""`kns trace`: one real probe with all eyes open, and what was seen, put together.

record (taps, rule tracing) ─ probe ─▶ frames, steps
  ─ parse ─▶ sightings ─ flow_of ─▶ ways ─ stitch, end_of ─▶ journeys ─▶ Trace
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kns.cluster.model import Cluster
from kns.compile.load_balancer import CLOUD_LB
from kns.compile.podnetwork.by_mode import pod_network
from kns.engine.labs import lab_netns
from kns.errors import KnsError
from kns.kernel import connections
from kns.kinds.pod import Pod
from kns.probe import probe as probing
from kns.probe.ask.places import Places
from kns.probe.model import ProbeResult
from kns.probe.target import TargetOptions, parse_source, parse_target
from kns.probe.trace import counters, facts, fate
from kns.probe.trace.atlas import Atlas, atlas_of
from kns.probe.trace.capture import Recording, record
from kns.probe.trace.correlate import (
    Ends,
    Sighting,
    TracedConnection,
    Way,
    ends_of,
    flow_of,
    header_key,
)
from kns.probe.trace.model import (
    Asked,
    ChainKey,
    End,
    EndKind,
    Journey,
    Remembered,
    Trace,
    Traversal,
)
from kns.probe.trace.packet import (
    ICMP,
    ICMPV6,
    SCTP,
    TCP,
    UDP,
    CapturedPacket,
    parse_frame,
    parse_question,
)
from kns.probe.trace.policy import with_policy
from kns.probe.trace.rules import Ruleset, chains_met, traversals
from kns.probe.trace.stitch import Heard, Scene, Stitched, stitch
from kns.promise.flow import Outcome
from kns.promise.location import Location
from kns.state.connection import Connection

NUMBERS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
#: up to so many netns all are watched; in larger labs the nodes and the pods that may be met
ALL_NETNS = 64


def trace(
    cluster: Cluster, places: Places, source: str, target: str, options: probing.ProbeOptions
) -> Trace:
    """Probe once and tell the packet's way. UsageError as for a probe."""
    start = parse_source(cluster, source, "trace")
    atlas = atlas_of(cluster)
    home = places.netns_of(start)
    kind = socket.SOCK_DGRAM if options.protocol == "udp" else socket.SOCK_STREAM
    port = facts.free_port(home, kind, cluster.network.families[0].version)
    chosen = replace(options, count=1, source_port=port)
    protocols = {ICMP, ICMPV6, NUMBERS.get(options.protocol, ICMP)}
    # a rule may drop what carries the packet, instead of the packet
    protocols |= pod_network(cluster.network.pod_network).CARRIERS

    def probe(untraced: Sequence[str]) -> _Probed:
        blind = atlas.nodes if counters.is_legacy() else atlas.nodes.intersection(untraced)
        names = sorted(blind)
        before = counters.read(names, cluster.network.families)
        asked = probing.ask(cluster, places, source, target, chosen)
        return _Probed(asked, before, counters.read(names, cluster.network.families))

    recording = record(watched(cluster, atlas, start, home, target), sorted(protocols), probe)
    found = _told(atlas, recording, home, port)
    found = replace(found, probe=recording.result.asked.explain(places.drift))
    return replace(with_policy(cluster, start, found), mode=cluster.network.kube_proxy.mode)


@dataclass(frozen=True, slots=True)
class _Probed:
    """The probe's result, and the counters around it of nodes whose rules can't be traced."""

    asked: probing.Unexplained
    before: counters.Counters
    after: counters.Counters


def watched(
    cluster: Cluster, atlas: Atlas, start: Location, home: str, target: str
) -> tuple[str, ...]:
    """The netns in which the packet may be met."""
    names = lab_netns(cluster.name)
    if len(names) <= ALL_NETNS:
        return names
    wanted = {home, atlas.fabric, *atlas.nodes}
    pods = {f"{pod.namespace}/{pod.name}": pod for pod in cluster.pods}
    labels = set(_pods_behind(cluster, start, target))
    for netns, label in atlas.places.items():
        full = label if "/" in label else f"default/{label}"
        if full in labels or (full not in pods and netns not in atlas.nodes):
            wanted.add(netns)
    return tuple(name for name in names if name in wanted)


def _pods_behind(cluster: Cluster, start: Location, target: str) -> tuple[str, ...]:
    """The full names of the pods that may answer for the target."""
    try:
        goal = parse_target(cluster, start, target, TargetOptions())
    except KnsError:
        return tuple(pod.full_name for pod in cluster.pods)
    own = (goal.item.full_name,) if isinstance(goal.item, Pod) else ()
    service = goal.service
    if service is None:
        return own
    behind = [
        endpoint.pod
        for piece in cluster.endpoint_slices
        if (piece.namespace, piece.service) == (service.namespace, service.name)
        for endpoint in piece.endpoints
    ]
    return (*own, *behind)


# -- what was seen ---------------------------------------------------------------------------------


def _told(atlas: Atlas, recording: Recording[_Probed], home: str, port: int) -> Trace:
    probed, result = recording.result, recording.result.asked.result
    ruleset = facts.read_ruleset(sorted({step.netns for step in recording.steps}))
    met = traversals(recording.steps, ruleset)
    scene = _scene(atlas, recording, met)
    first = _first(scene, result, home, port)
    if first is None and probed.after:
        first = _first_of_its_kind(scene, result, home)
    base = Trace(result, None, owners=atlas.owners, notes=_notes(atlas, recording))
    if first is None:
        return replace(base, request=_never_seen(scene, result, home))
    if probed.after:
        met += counters.traversals(probed.before, probed.after, first, home)
        scene = replace(scene, traversals=met)
        texts = {key: item.rules for key, item in probed.after.items()}
        ruleset = replace(ruleset, texts={**ruleset.texts, **texts})
    flow = flow_of(scene.sightings, first)
    if flow.request is None:
        return _stayed_home(scene, base, flow, first, home, ruleset)
    scene = replace(scene, start=flow.request.sightings[0].nanoseconds)
    request = _journey(scene, flow.request, routes=True)
    answer = _answer(scene, flow, request)
    journeys = [journey for journey in (request, answer) if journey is not None]
    lost = None if result.ok else _lost(scene, flow, journeys, home)
    onward = _onward(scene, request, result) if result.ok else None
    journeys += [journey for journey in (lost, onward) if journey is not None]
    return replace(
        base,
        request=request,
        answer=answer,
        lost=lost,
        onward=onward,
        packets=_count(flow, home),
        remembered=_remembered(atlas, flow, met),
        notes=(*base.notes, *_proxied(atlas, request, result, onward)),
        chains=_chains(ruleset, [item for journey in journeys for item in journey.traversals]),
    )


def _scene(atlas: Atlas, recording: Recording[_Probed], met: tuple[Traversal, ...]) -> Scene:
    sightings: list[Sighting] = []
    heard: list[Heard] = []
    for frame in recording.frames:
        place = (frame.netns, frame.link, frame.outgoing, frame.nanoseconds)
        packet = parse_frame(frame.data)
        if packet is not None and not packet.is_discovery:
            sightings.append(Sighting(*place, packet))
        elif question := parse_question(frame.data):
            heard.append(Heard(*place, question))
    return Scene(atlas, tuple(sightings), met, tuple(heard), facts.kernel())


def _first(scene: Scene, result: ProbeResult, home: str, port: int) -> CapturedPacket | None:
    """The packet that begins the flow, as the client sent it.

    It is known by the client's port; where rules of the client's own netns changed even that, by
    what they saw of it.
    """
    seen = [s.packet for s in scene.sightings if s.netns == home and s.outgoing]
    ruled = [t.packet for t in scene.traversals if t.netns == home and t.hook == "output"]
    for packets in (seen, ruled):
        fitting = [packet for packet in packets if _begins(packet, result.protocol, port)]
        meant = [packet for packet in fitting if packet.destination == result.address]
        if meant or fitting:
            return (meant or fitting)[0]
    return None


def _first_of_its_kind(scene: Scene, result: ProbeResult, home: str) -> CapturedPacket | None:
    """The first packet from the netns that may begin a connection.

    For want of better where rules that can't be traced changed the client's own port.
    """
    sent = [item.packet for item in scene.sightings if item.netns == home and item.outgoing]
    for packet in sent:
        begins = packet.flags == ("SYN",) if packet.protocol == "tcp" else packet.outer is None
        if begins and packet.protocol == result.protocol:
            return packet
    return None


def _begins(packet: CapturedPacket, protocol: str, port: int) -> bool:
    if protocol == "icmp":
        return packet.word == "echo request"
    return (packet.protocol, packet.source_port) == (protocol, port)


def _journey(scene: Scene, way: Way, *, routes: bool) -> Journey:
    found = stitch(scene, way, routes=routes)
    return _finished(way, found, fate.end_of(scene, way, found))


def _finished(way: Way, found: Stitched, end: End) -> Journey:
    return Journey(found.first, found.hops, end, found.rules, found.asked, way.sent)


def _answer(scene: Scene, flow: TracedConnection, request: Journey) -> Journey | None:
    if flow.answer is None:
        return None
    answer = _journey(scene, flow.answer, routes=False)
    return replace(answer, end=fate.answered(request, answer)) if answer.delivered else answer


def _lost(
    scene: Scene, flow: TracedConnection, found: Sequence[Journey], home: str
) -> Journey | None:
    """Where both first packets arrived and the connection failed all the same: what did not."""
    if len(found) < 2 or not all(journey.delivered for journey in found):
        return None
    far = found[0].hops[-1].netns
    for way in flow.ways:
        last = way.sightings[-1]
        if last.outgoing or last.netns != (far if way.forward else home):
            return _journey(scene, way, routes=way.forward)
    return None


def _count(flow: TracedConnection, home: str) -> int:
    """The packets that the client's netns sent and got."""
    return sum(way.sent for way in flow.ways if any(item.netns == home for item in way.sightings))


def _remembered(
    atlas: Atlas, flow: TracedConnection, met: Sequence[Traversal]
) -> tuple[Remembered, ...]:
    """The entries of the flow in the connection tables of the nodes that it passed."""
    ways = [way for way in flow.ways if way.forward]
    passed: dict[str, set[Ends]] = {}
    for item in (sighting for way in ways for sighting in way.sightings):
        passed.setdefault(item.netns, set()).add(ends_of(item.packet))
    keys = {header_key(way.sightings[0].packet) for way in ways}
    for traversal in met:
        if header_key(traversal.packet) in keys:
            passed.setdefault(traversal.netns, set()).add(ends_of(traversal.packet))
    return tuple(
        Remembered(atlas.place(netns), entry)
        for netns, ends in passed.items()
        if netns in atlas.nodes
        for entry in connections.list_connections(netns)
        if _original(entry) in ends
    )


def _original(entry: Connection) -> Ends:
    sent = entry.original
    return Ends(
        entry.protocol, sent.source, sent.source_port, sent.destination, sent.destination_port
    )


def _chains(ruleset: Ruleset, met: Sequence[Traversal]) -> dict[ChainKey, tuple[str, ...]]:
    return {key: ruleset.texts[key] for key in sorted(chains_met(met)) if key in ruleset.texts}


def _behind_proxy(atlas: Atlas, request: Journey, result: ProbeResult) -> str:
    """Who answered, if that is not who took the packet."""
    who = next((attempt.backend for attempt in result.attempts if attempt.backend), "")
    took = request.end.place in (who, atlas.homes.get(who))
    return who if request.delivered and not took else ""


def _onward(scene: Scene, request: Journey, result: ProbeResult) -> Journey | None:
    """The first packet of a proxy's own connection to who answered."""
    who = _behind_proxy(scene.atlas, request, result)
    if not who or not request.hops:
        return None
    last = request.hops[-1]
    arrived = scene.start + int(last.microseconds * 1000)
    opened = dict.fromkeys(
        item.packet
        for item in scene.sightings
        if (item.netns, item.outgoing, item.packet.flags) == (last.netns, True, ("SYN",))
        and item.nanoseconds >= arrived
    )
    for packet in opened:
        flow = flow_of(scene.sightings, packet)
        if flow.request is not None:
            journey = _journey(scene, flow.request, routes=True)
            if journey.end.place in (who, scene.atlas.homes.get(who)):
                return journey
    return None


def _proxied(
    atlas: Atlas, request: Journey, result: ProbeResult, onward: Journey | None
) -> tuple[str, ...]:
    """That who answered is not who took the packet."""
    who = _behind_proxy(atlas, request, result)
    place = request.end.place
    if not who:
        return ()
    more = "" if place == CLOUD_LB or onward is not None else f" (kns trace {place} {who})"
    return (
        f"{place} took the connection and is a proxy: it asked {who}, which answered, over a"
        f" connection of its own{more}",
    )


def _notes(atlas: Atlas, recording: Recording[_Probed]) -> tuple[str, ...]:
    counted = sorted({atlas.place(key[0]) for key in recording.result.after})
    if not counted:
        return recording.notes
    text = (
        f"the rules of {', '.join(counted)} are told by their counters, which other packets move,"
        " too: to trace them takes Linux 5.12 and iptables of the nf_tables variant"
    )
    return (*recording.notes, text)


# -- packets that never came to a link -------------------------------------------------------------


def _stayed_home(
    scene: Scene,
    base: Trace,
    flow: TracedConnection,
    first: CapturedPacket,
    home: str,
    ruleset: Ruleset,
) -> Trace:
    """Rules of the client's own netns kept the packet: it was never on a link."""
    key = header_key(first)
    rules = tuple(
        item for item in scene.traversals if item.netns == home and header_key(item.packet) == key
    )
    place = scene.atlas.place(home)
    end = fate.ruled_out(place, rules) or _not_sent(scene, place, home, rules[-1].packet)
    journey = Journey(first, (), end, rules)
    if flow.answer is not None:
        scene = replace(scene, start=flow.answer.sightings[0].nanoseconds)
    answer = _answer(scene, flow, journey)
    return replace(base, request=journey, answer=answer, chains=_chains(ruleset, rules))


def _never_seen(scene: Scene, result: ProbeResult, home: str) -> Journey | None:
    """Not even a rule saw it: a routing table, or an unanswered ARP question, kept it."""
    address = result.address
    if address is None or result.outcome is Outcome.DNS:
        return None
    packet = CapturedPacket(
        # which of its own addresses it would have had, nobody has decided
        protocol=result.protocol if result.protocol != "icmp" or address.version == 4 else "icmpv6",
        source=address,
        destination=address,
        destination_port=result.port or 0,
        flags=("SYN",),
        icmp_type=8 if address.version == 4 else 128,
    )
    place = scene.atlas.place(home)
    return Journey(packet, (), _not_sent(scene, place, home, packet))


def _not_sent(scene: Scene, place: str, home: str, packet: CapturedPacket) -> End:
    route = scene.kernel.route(home, packet.source, packet.destination, "")
    if route.error:
        text = fate.no_way(place, packet, route.error)
        return End(EndKind.UNREACHABLE, place, text)
    asked = [
        Asked(item.link, item.question.target)
        for item in scene.heard
        if item.netns == home and item.outgoing and item.question.target == route.next_hop
    ] or fate.silent(scene, home, route)
    if asked:
        return End(EndKind.NO_NEIGHBOR, place, fate.no_neighbor(scene, place, asked[0]))
    text = f"no packet left {place}, and no rule says why"
    return End(EndKind.LOST, place, text)
