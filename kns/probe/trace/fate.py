"""How a packet's way ended, and why, in a plain sentence. Pure but for what the kernel is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from kns.probe.trace.correlate import Way
from kns.probe.trace.model import (
    Asked,
    End,
    EndKind,
    Journey,
    Traversal,
    destination_of,
    endpoint,
    source_of,
)
from kns.probe.trace.packet import CapturedPacket
from kns.probe.trace.stitch import RouteLookup, Scene, Stitched

_COMMENT = re.compile(r'--comment "([^"]*)"|comment "([^"]*)"')
_REJECT = re.compile(r"-j REJECT|\breject\b")


def end_of(scene: Scene, way: Way, found: Stitched) -> End:
    """How the way ended: by a rule, by a routing table, by silence, or well."""
    last = way.sightings[-1]
    place = scene.atlas.place(last.netns)
    traversals = (*(item for hop in found.hops for item in hop.rules), *found.rules)
    ruled = ruled_out(place, traversals)
    if ruled is not None:
        return ruled
    if last.outgoing:
        return _sent_off(scene, way, place)
    if last.link == "lo" or (found.route is not None and found.route.is_local):
        return End(EndKind.DELIVERED, place, f"{place} takes it")
    packet = found.rules[-1].packet if found.rules else last.packet
    if _is_bridged_only(scene, way):
        text = f"{place} is a switch for it and sent it on by no port{_too_big(scene, way)}"
        return End(EndKind.LOST, place, text)
    if last.packet.outer is not None:
        text = (
            f"{place} got it in a tunnel and did not unwrap it: is there a VXLAN device with VNI"
            f" {last.packet.outer.vni} that is up?"
        )
        return End(EndKind.LOST, place, text)
    if scene.atlas.owners.get(packet.destination) == place:
        text = f"{packet.destination} is {place}'s by the lab's file, and {place} no longer has it"
        return End(EndKind.NOT_FORWARDED, place, text)
    # a host that forwards nothing says "no route" of everything
    if _forwarding(scene, last.netns, packet.source.version) == "0":
        name = "ip_forward" if packet.source.version == 4 else "ipv6.conf.all.forwarding"
        text = f"{place} is no router: {name} is 0, so it passes nothing on"
        return End(EndKind.NOT_FORWARDED, place, text)
    if found.route is not None and found.route.error:
        return End(EndKind.UNREACHABLE, place, no_way(place, packet, found.route.error))
    asked = [item for item in found.asked if not item.mac] or silent(scene, last.netns, found.route)
    if asked:
        return End(EndKind.NO_NEIGHBOR, place, no_neighbor(scene, place, asked[0]))
    return _vanished(scene, way, packet, place)


def ruled_out(place: str, traversals: Iterable[Traversal]) -> End | None:
    """The end that a rule or a policy made, if one did."""
    for item in traversals:
        if item.verdict not in ("drop", "stolen", "queue"):
            continue
        where = f"{item.table} {item.chain}"
        if item.by_policy or not item.rules:
            text = f"{place} dropped it: the policy of {where} is drop"
            return End(EndKind.DROPPED, place, text)
        rule = item.rules[-1]
        where = f"{item.table} {rule.chain}"
        rejected = _REJECT.search(rule.text) is not None
        verb = "rejected" if rejected else "dropped"
        why = _comment(rule.text)
        text = f"{place} {verb} it by a rule of {where}{f': {why}' if why else ''}"
        return End(EndKind.REJECTED if rejected else EndKind.DROPPED, place, text, rule.text)
    return None


def no_way(place: str, packet: CapturedPacket, error: str) -> str:
    """What a routing table without a way means."""
    return f"{place} has no route to {packet.destination}: {error}"


def no_neighbor(scene: Scene, place: str, asked: Asked) -> str:
    """What an unanswered question means."""
    owner = scene.atlas.owners.get(asked.target, "")
    who = f" ({owner})" if owner else ", which no pod or node has"
    kind = "ARP" if asked.target.version == 4 else "NDP"
    return (
        f"{place} asked on {asked.link} who has {asked.target}{who}, and nobody answered: without"
        f" a MAC address the packet can't leave ({kind})"
    )


def silent(scene: Scene, netns: str, route: RouteLookup | None) -> list[Asked]:
    """The next hop, if the kernel remembers that it did not answer."""
    if route is None or not route.next_hop or not scene.kernel.is_silent(netns, route.next_hop):
        return []
    return [Asked(route.device, route.next_hop)]


def answered(request: Journey, answer: Journey) -> End:
    """The end of an answer that was delivered: does it fit what was asked?

    A client whose own netns translated the question sees it translated back, too: after the last
    link, where nothing can be seen any more.
    """
    place, came = answer.end.place, answer.hops[-1].packet
    sent = request.hops[0].packet if request.hops else request.first
    if came.is_error or source_of(came) == destination_of(request.first):
        return answer.end
    if source_of(came) == destination_of(sent):
        text = f"{place} takes it as an answer of {destination_of(request.first)}: conntrack"
        return replace(answer.end, text=f"{text} undoes its own translation")
    text = (
        f"{place} asked {destination_of(sent)}, and the answer comes from {source_of(came)}:"
        " nobody translated it back, so the client does not know the connection"
    )
    return End(EndKind.MISMATCH, place, text)


def _comment(rule: str) -> str:
    found = _COMMENT.search(rule)
    return (found[1] or found[2] or "") if found else ""


def _sent_off(scene: Scene, way: Way, place: str) -> End:
    """The last thing that was seen of it is that it was handed to a link."""
    last = way.sightings[-1]
    peer = scene.atlas.peer(last.netns, last.link)
    far = peer or "the other end"
    text = f"it left {place} by {last.link}, and {far} never saw it: is that end of the cable up?"
    return End(EndKind.LOST, place, text)


def _is_bridged_only(scene: Scene, way: Way) -> bool:
    """True in the fabric's switches, for a frame that is not for the router itself."""
    last = way.sightings[-1]
    if last.netns != scene.atlas.fabric:
        return False
    # the bridge device itself sees what is for the router
    return len(way.sightings) < 2 or way.sightings[-2].netns != last.netns


def _too_big(scene: Scene, way: Way) -> str:
    """Which links of the place, if any, are too narrow for the packet."""
    last = way.sightings[-1]
    size = last.packet.length + (20 if last.packet.source.version == 4 else 40)
    known = scene.kernel.links(last.netns)
    narrow = {name: link.mtu for name, link in known.items() if link.mtu < size}
    if not narrow:
        return ""
    links = ", ".join(f"{link} ({mtu})" for link, mtu in narrow.items())
    return f": it has {size} bytes, more than the MTU of {links}"


def _forwarding(scene: Scene, netns: str, version: int) -> str:
    key = "ipv4/ip_forward" if version == 4 else "ipv6/conf/all/forwarding"
    return scene.kernel.sysctl(netns, key)


def _vanished(scene: Scene, way: Way, packet: CapturedPacket, place: str) -> End:
    for item in scene.sightings:
        quoted = item.packet.quoted
        if quoted is not None and (quoted.ident, quoted.protocol) == (
            packet.ident,
            packet.protocol,
        ):
            said = scene.atlas.place(item.netns)
            text = f"{said} threw it away and said so: {item.packet.word}"
            return End(EndKind.DROPPED, place, text)
    to = endpoint(packet.destination, 0)
    why = _too_big(scene, way) or "; no rule dropped it (rp_filter, a link that is down?)"
    return End(EndKind.LOST, place, f"{place} took it in and sent nothing on to {to}{why}")
