"""plan(desired, observed): the ops that turn the observed state into the desired one, in order.

    1. what must go: netns that are gone, changes by hand, links, routes …   (dependants first)
    2. netns, each with its sysctls: a sysctl of `all` or `default` acts on links made after it
    3. links: bridges, veth pairs in one message, then what a message can't say (hairpin, alias)
    4. bridges up, after their ports: on a running bridge each new port floods all the others
       with IPv6 discovery, N² frames in all
    5. addresses, neighbors, forwarding entries, routes: a route needs its link up
    6. rules: ipsets before the iptables rules that name them

Within a phase ops keep the order of the state, so that those of one netns stand together and can
be sent in one batch. A plan for two equal states is empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from kns.addresses import IPFamily, IPNetwork
from kns.plan.ops import (
    Add,
    Change,
    CleanConntrack,
    CreateNetns,
    Delete,
    DeleteAccounting,
    DeleteNetns,
    Entry,
    LoadNft,
    Op,
    Replace,
    RestoreIpsets,
    RestoreIptables,
    SetVirtualServers,
    Undo,
    VethPair,
    Write,
)
from kns.state import ipset, iptables, ipvs
from kns.state.model import (
    Bridge,
    Deviation,
    HostState,
    IpvsTimeouts,
    Link,
    Netns,
    NftTable,
    Route,
    loopback,
)
from kns.state.routing import MAIN_TABLE
from kns.state.traffic import Shaper

#: links by netns and name
_Links = Mapping[tuple[str, str], Link]


@dataclass(slots=True)
class _Phases:
    """The ops of a plan by phase; joined in this order."""

    remove: list[Op] = field(default_factory=list)
    create: list[Op] = field(default_factory=list)
    links: list[Op] = field(default_factory=list)
    ports: list[Op] = field(default_factory=list)
    bridges: list[Op] = field(default_factory=list)
    layer3: list[Op] = field(default_factory=list)
    rules: list[Op] = field(default_factory=list)

    def joined(self) -> tuple[Op, ...]:
        return (
            *self.remove,
            *self.create,
            *self.links,
            *self.ports,
            *self.bridges,
            *self.layer3,
            *self.rules,
        )


def plan(desired: HostState, observed: HostState) -> tuple[Op, ...]:
    """The ops that turn `observed` into `desired`."""
    phases = _Phases()
    wanted = {netns.name: netns for netns in desired.netns}
    found = {netns.name: netns for netns in observed.netns if not netns.stray}
    _delete_netns(phases, wanted, observed)
    _undo(phases, wanted, observed)
    gone = _stale_links(phases, wanted, found)
    links = _links_of(desired)
    for netns in desired.netns:
        before = found.get(netns.name)
        if before is None:
            phases.create.append(CreateNetns(netns.name))
        base = before or Netns(netns.name, links=(loopback(up=False),))
        _sysctls(phases, netns, base)
        _links(phases, netns, base, links, gone)
        _layer3(phases, netns, base, gone.get(netns.name, frozenset()))
        _rules(phases, netns, base)
    return phases.joined()


def _links_of(state: HostState) -> _Links:
    return {(netns.name, link.name): link for netns in state.netns for link in netns.links}


def _delete_netns(phases: _Phases, wanted: Mapping[str, Netns], observed: HostState) -> None:
    """Remove netns nobody wants, and first the far ends of their veths that stay behind.

    The kernel frees a netns in the background: until then its veths' other ends would still be
    there, under names that a new netns may want.
    """
    links = _links_of(observed)
    for netns in observed.netns:
        if netns.name in wanted and not netns.stray:
            continue
        phases.remove.extend(
            Delete(peer.netns, links[peer.netns, peer.name])
            for link in netns.links
            if (peer := link.peer) and peer.netns in wanted and (peer.netns, peer.name) in links
        )
        phases.remove.append(DeleteNetns(netns.name))


def _undo(phases: _Phases, wanted: Mapping[str, Netns], observed: HostState) -> None:
    """Take back what no lab has, before the links and addresses that it may stand on."""
    for netns in observed.netns:
        if netns.name not in wanted or netns.stray:
            continue
        keys = {sysctl.key for sysctl in wanted[netns.name].sysctls}
        for item in netns.deviations:
            if isinstance(item, Deviation):
                phases.remove.append(Undo(netns.name, item))
            elif item.key not in keys:
                phases.remove.append(Write(netns.name, item))


def _stale_links(
    phases: _Phases, wanted: Mapping[str, Netns], found: Mapping[str, Netns]
) -> dict[str, frozenset[str]]:
    """Remove links that are unwanted or can't be mended; the names gone, by netns."""
    gone: dict[str, set[str]] = {}
    for netns in wanted.values():
        before = found.get(netns.name)
        if before is None:
            continue
        links = {link.name: link for link in netns.links}
        for link in before.links:
            if link.name in gone.get(netns.name, ()):
                continue
            want = links.get(link.name)
            if want is not None and want.kind == link.kind:
                continue
            gone.setdefault(netns.name, set()).add(link.name)
            peer = link.peer
            if peer and peer.netns and peer.netns not in wanted:
                continue  # goes by the Delete that came before its peer's DeleteNetns
            phases.remove.append(Delete(netns.name, link))
            if peer and peer.netns:
                gone.setdefault(peer.netns, set()).add(peer.name)
    return {name: frozenset(names) for name, names in gone.items()}


def _sysctls(phases: _Phases, netns: Netns, before: Netns) -> None:
    """Sysctls of a link of the netns wait for the link; all others come before any."""
    have = {sysctl.key: sysctl.value for sysctl in before.sysctls}
    links = {link.name for link in netns.links}
    for sysctl in netns.sysctls:
        if have.get(sysctl.key) != sysctl.value:
            is_links = links.intersection(sysctl.key.split("/"))
            phase = phases.layer3 if is_links else phases.create
            phase.append(Write(netns.name, sysctl))


def _links(
    phases: _Phases,
    netns: Netns,
    before: Netns,
    wanted: _Links,
    gone: Mapping[str, frozenset[str]],
) -> None:
    lost = gone.get(netns.name, frozenset())
    have = {link.name: link for link in before.links if link.name not in lost}
    for link in netns.links:
        found = have.get(link.name)
        if found is None:
            found = _create(phases, netns, link, wanted)
        changed = _changed_fields(link, found)
        if not changed:
            continue
        if isinstance(link.kind, Bridge) and "up" in changed and link.up:
            phases.bridges.append(Change(netns.name, link, ("up",)))
            changed = tuple(name for name in changed if name != "up")
        if "master" in changed:
            # a message of its own: hairpin is an attribute of the port that this makes
            phases.ports.append(Change(netns.name, link, ("master",)))
            changed = tuple(name for name in changed if name != "master")
        if changed:
            phases.ports.append(Change(netns.name, link, changed))


def _create(phases: _Phases, netns: Netns, link: Link, wanted: _Links) -> Link:
    """Add the op that makes the link; returns what it is then, before any Change."""
    if link.peer is None:
        phases.links.append(Add(netns.name, link))
        return _as_created(link)
    peer = wanted.get((link.peer.netns, link.peer.name))
    if peer is None or not _makes_pair(netns.name, link, peer):
        return _as_created(link)
    phases.links.append(Add(netns.name, VethPair(link, link.peer.netns, peer)))
    return replace(link, hairpin=False, alias="", up=True)


def _makes_pair(name: str, link: Link, other: Link) -> bool:
    """One message makes both ends: it is sent where the bridge is, so that it can name it."""
    if bool(link.master) != bool(other.master) or link.peer is None:
        return bool(link.master)
    return (name, link.name) < (link.peer.netns, other.name)


def _as_created(link: Link) -> Link:
    """The link as its creating message leaves it: what that can't say is still to be set."""
    return replace(link, master="", hairpin=False, alias="", up=False)


#: destination, table and metric of a route
_Place = tuple[IPNetwork, int, int]
_CHANGEABLE = ("mac", "mtu", "master", "hairpin", "alias", "up")


def _changed_fields(want: Link, have: Link) -> tuple[str, ...]:
    return tuple(name for name in _CHANGEABLE if getattr(want, name) != getattr(have, name))


def _layer3(phases: _Phases, netns: Netns, before: Netns, lost: frozenset[str]) -> None:
    """Addresses, routes and what else stands on links. What stood on a lost one is gone with it."""
    name = netns.name
    kept_addresses = [item for item in before.addresses if item.ifname not in lost]
    kept_neighbors = [item for item in before.neighbors if item.ifname not in lost]
    kept_fdb = [item for item in before.fdb if item.ifname not in lost]
    kept_shapers = [item for item in before.shapers if item.ifname not in lost]
    kept_routes = _surviving_routes(netns, before, lost)
    _set_difference(phases, name, netns.addresses, kept_addresses)
    _set_difference(phases, name, netns.neighbors, kept_neighbors)
    _set_difference(phases, name, netns.fdb, kept_fdb)
    _set_routes(phases, name, netns.routes, kept_routes)
    _set_difference(phases, name, netns.rules, before.rules)
    _set_shapers(phases, name, netns.shapers, kept_shapers)


def _surviving_routes(netns: Netns, before: Netns, lost: frozenset[str]) -> list[Route]:
    """The observed routes that the ops before this phase leave in place.

    A route goes with its link, with the link's going down, and with the address that makes its
    gateway reachable.
    """
    unsteady = set(lost)
    wanted = set(netns.addresses)
    unsteady.update(item.ifname for item in before.addresses if item not in wanted)
    return [
        route
        for route in before.routes
        if not any(hop.ifname in lost for hop in route.hops)
        and not (route not in netns.routes and any(hop.ifname in unsteady for hop in route.hops))
    ]


def _set_routes(
    phases: _Phases, name: str, want: Collection[Route], have: Collection[Route]
) -> None:
    """As `_set_difference`; where both have one route at a place, one takes the other's."""
    wanted, found = set(want), set(have)
    replaced = _replaceable(wanted, found) if wanted - found and found - wanted else ()
    phases.remove.extend(
        Delete(name, item) for item in have if item not in wanted and _place(item) not in replaced
    )
    phases.layer3.extend(
        Replace(name, item) if _place(item) in replaced else Add(name, item)
        for item in want
        if item not in found
    )


def _replaceable(wanted: Collection[Route], found: Collection[Route]) -> frozenset[_Place]:
    """The places at which each of both has one route, and the kernel puts one for the other."""
    new, old = _by_place(wanted), _by_place(found)
    return frozenset(
        place
        for place in new.keys() & old.keys()
        if len(new[place]) == len(old[place]) == 1
        and not _leads_to_its_own_gateway(new[place][0], old[place][0])
    )


def _by_place(routes: Iterable[Route]) -> dict[_Place, list[Route]]:
    """By what the kernel tells routes apart that it replaces (`ip route replace`)."""
    found: dict[_Place, list[Route]] = {}
    for route in routes:
        found.setdefault(_place(route), []).append(route)
    return found


def _place(route: Route) -> _Place:
    return route.destination, route.table, route.metric


def _leads_to_its_own_gateway(want: Route, have: Route) -> bool:
    """True where the kernel refuses the new IPv6 route as long as the old one is there.

    A next hop must not be routed by another link, onlink or not, and VXLAN's is within the
    destination: the old route leads to it. EINVAL: Nexthop has invalid gateway or device mismatch.
    (ip6_route_check_nh_onlink, which asks the main table and takes a default route for none.)
    """
    links = {hop.ifname for hop in have.hops}
    is_asked = want.table == MAIN_TABLE and want.destination.prefixlen > 0
    return is_asked and any(
        hop.gateway is not None
        and hop.gateway.version == 6
        and hop.gateway in want.destination
        and links != {hop.ifname}
        for hop in want.hops
    )


def _set_shapers(
    phases: _Phases, name: str, want: Iterable[Shaper], have: Iterable[Shaper]
) -> None:
    """A link that keeps one has the other in its place."""
    wanted, found = ({item.ifname: item for item in items} for items in (want, have))
    phases.remove.extend(Delete(name, old) for ifname, old in found.items() if ifname not in wanted)
    for ifname, item in wanted.items():
        if ifname not in found:
            phases.layer3.append(Add(name, item))
        elif item != found[ifname]:
            phases.layer3.append(Replace(name, item, found[ifname]))


def _set_difference(
    phases: _Phases, name: str, want: Iterable[Entry], have: Iterable[Entry]
) -> None:
    wanted, found = set(want), set(have)
    phases.remove.extend(Delete(name, item) for item in have if item not in wanted)
    phases.layer3.extend(Add(name, item) for item in want if item not in found)


def _rules(phases: _Phases, netns: Netns, before: Netns) -> None:
    name = netns.name
    sets = ipset.changes(netns.ipsets, before.ipsets)
    if sets:
        phases.rules.append(RestoreIpsets(name, sets))
    for family in IPFamily:
        changes = iptables.table_changes(
            [table for table in netns.iptables if table.family is family],
            [table for table in before.iptables if table.family is family],
        )
        if changes:
            phases.rules.append(RestoreIptables(name, family, changes))
    uncounted = iptables.unused_objects(netns.iptables, before.iptables)
    if uncounted:
        phases.rules.append(DeleteAccounting(name, uncounted))
    unwanted = ipset.leftovers(netns.ipsets, before.ipsets)
    if unwanted:
        phases.rules.append(RestoreIpsets(name, unwanted))
    phases.rules.extend(_nft(netns, before))
    phases.rules.extend(_virtual_servers(netns, before))
    changed = bool(phases.rules) and phases.rules[-1].netns == name
    flows, networks = netns.udp_flows or (), netns.virtual_networks
    if before.udp_flows is not None:
        # to look through the connection table is dear: the kernel walks that of all netns
        changed = (before.udp_flows, before.virtual_networks) != (flows, networks)
    if changed and (flows or networks) and _has_rules(before):
        phases.rules.append(CleanConntrack(name, flows, networks))


def _has_rules(netns: Netns) -> bool:
    return bool(netns.iptables or netns.nftables or netns.virtual_servers)


def _virtual_servers(netns: Netns, before: Netns) -> Iterable[Op]:
    timeouts = ipvs.timeouts_to_set(netns.ipvs_timeouts, before.ipvs_timeouts)
    wanted, found = netns.virtual_servers, before.virtual_servers
    if timeouts != IpvsTimeouts() or ipvs.steps(wanted, found, netns.ipvs_exclude):
        yield SetVirtualServers(netns.name, wanted, found, netns.ipvs_exclude, timeouts)


def _nft(netns: Netns, before: Netns) -> Iterable[Op]:
    wanted = {(table.family, table.name): table for table in netns.nftables}
    found = {(table.family, table.name): table for table in before.nftables}
    for family, name in {**found, **wanted}:
        desired: NftTable | None = wanted.get((family, name))
        observed = found.get((family, name))
        if desired != observed:
            yield LoadNft(netns.name, family, name, desired, observed)
