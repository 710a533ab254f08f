"""Where a netns sends a packet, by its policy rules, routes and addresses."""

from __future__ import annotations

from kns.addresses import IPAddress, IPNetwork
from kns.state.model import Netns
from kns.state.packet import Packet

MAIN_TABLE = 254


def is_local(netns: Netns, address: IPAddress) -> bool:
    """True if the netns answers for the address itself."""
    return address.is_loopback or any(item.interface.ip == address for item in netns.addresses)


def out_interface(netns: Netns, packet: Packet) -> str:
    """The link by which the packet leaves, by policy rules and routes; empty if no route leads."""
    if is_local(netns, packet.destination):
        return "lo"
    for rule in sorted(netns.rules, key=lambda item: item.priority):
        fits = (
            rule.family is packet.family
            and (rule.source is None or packet.source in rule.source)
            and (rule.destination is None or packet.destination in rule.destination)
            and rule.mark in (0, packet.mark)
        )
        if fits and (link := _by_table(netns, packet.destination, rule.table)):
            return link
    return _by_table(netns, packet.destination, MAIN_TABLE)


def _by_table(netns: Netns, destination: IPAddress, table: int) -> str:
    found: list[tuple[IPNetwork, str]] = [
        (route.destination, route.hops[0].ifname)
        for route in netns.routes
        if route.table == table and route.hops
    ]
    if table == MAIN_TABLE:
        found += [(item.interface.network, item.ifname) for item in netns.addresses]
    fitting = [item for item in found if destination in item[0]]
    return max(fitting, key=lambda item: item[0].prefixlen)[1] if fitting else ""
