"""What netlink and /proc tell of one netns: what a lab can have, and what sets all else right."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from kns.addresses import IPNetwork
from kns.kernel import (
    address_labels,
    addresses,
    iptables,
    legacy_tables,
    link_dumps,
    multicast_groups,
    neighbors,
    nft_names,
    policy_rules,
    qdiscs,
    routes,
    settings,
    sysctls,
    xfrm,
)
from kns.kernel.fresh import Fresh, fresh
from kns.kernel.link_dumps import FoundLink
from kns.kernel.netlink import Socket
from kns.state.model import Bridge, Deviation, Netns, RuleNames, Stray, Sysctl, Vxlan


@dataclass(frozen=True, slots=True)
class Interest:
    """What is worth reading in one netns besides its links, addresses and routes.

    `sysctls` are those that are desired; `whole`: all others are read, not the chief ones alone,
    and those of neighbor tables.
    Routes to `learned` are a routing daemon's. `rules` names what is read of nft and ipset where
    `nft` and `ipvs` ask for them; `counters`: of iptables and IPVS, what they have counted.
    """

    sysctls: tuple[Sysctl, ...] = ()
    iptables: bool = False
    nft: bool = False
    ipvs: bool = False
    counters: bool = False
    rules: RuleNames = field(default_factory=RuleNames)
    whole: bool = False
    learned: tuple[IPNetwork, ...] = ()


def read(name: str, sock: Socket, interest: Interest) -> tuple[Netns, list[FoundLink]]:
    """Everything in the calling thread's netns but the rules that programs tell.

    With its links, which are not joined with their other ends yet.
    """
    usual = fresh(interest.sysctls, whole=interest.whole)
    dumped = link_dumps.read(sock, usual.fallback, whole=interest.whole)
    links = [_made_as(item, usual) for item in dumped]
    names = {item.index: item.link.name for item in links}
    rules, undone = policy_rules.sort_out(policy_rules.bodies(sock), usual.rules)
    found = addresses.read(sock, links)
    ways, lost = routes.read(sock, names, found, _ready(links), interest.learned)
    fdb, stray = neighbors.fdb(sock, links) if any(map(_has_fdb, links)) else ((), ())
    known, unknown = neighbors.neighbors(sock, names)
    shapers, strange = qdiscs.read(sock, names)
    values, changed = _read_sysctls(interest, usual, links)
    space = Netns(
        name=name,
        links=(),
        addresses=found.given,
        routes=ways,
        rules=rules,
        neighbors=known,
        fdb=fdb,
        sysctls=values,
        shapers=shapers,
        deviations=(
            *undone,
            *found.undone,
            *lost,
            *unknown,
            *neighbors.proxies(sock, names),
            *address_labels.deviations(address_labels.bodies(sock), usual.labels, names),
            *_groups(sock, links, names),
            *stray,
            *strange,
            *_settings(links, usual),
            *_nft_tables(interest),
            *legacy_tables.deviations_here(spared=interest.iptables),
            *xfrm.deviations_here(),
            *changed,
        ),
    )
    return space, links


def _made_as(item: FoundLink, usual: Fresh) -> FoundLink:
    """The link; one of a kind that no lab has if it was made with other attributes than labs'."""
    like = usual.like(item.link)
    if like is None or item.settings.made == like.settings.made:
        return item
    return replace(item, link=replace(item.link, kind=Stray(item.link.kind.type)))


def _ready(links: Iterable[FoundLink]) -> frozenset[str]:
    """The links on which the kernel keeps routes of its own, as `routes.read` takes them."""
    up = {item.link.name for item in links if item.link.up}
    return frozenset(up | {f"{item.link.name}/6" for item in links if item.ipv6 and item.link.up})


def _has_fdb(item: FoundLink) -> bool:
    return isinstance(item.link.kind, Bridge | Vxlan)


def _groups(
    sock: Socket, links: Iterable[FoundLink], names: Mapping[int, str]
) -> Iterator[Deviation]:
    if any(isinstance(item.link.kind, Bridge) for item in links):
        yield from multicast_groups.deviations(sock, names)


def _settings(links: Iterable[FoundLink], usual: Fresh) -> Iterator[Deviation]:
    for item in links:
        like = usual.like(item.link)
        if like is not None and item.settings != like.settings:
            yield from settings.deviations(item.link, item.index, item.settings, like.settings)


def _nft_tables(interest: Interest) -> Iterator[Deviation]:
    """What removes the tables that are nobody's: neither asked for nor iptables'."""
    known = (
        *(interest.rules.nft_tables if interest.nft else ()),
        *(iptables.TABLES if interest.iptables else ()),
    )
    for family, name in sorted(nft_names.tables_here()):
        if family not in ("ip", "ip6") or name not in known:
            yield Deviation(f"nft delete table {family} {name}")


def _read_sysctls(
    interest: Interest, usual: Fresh, links: Iterable[FoundLink]
) -> tuple[tuple[Sysctl, ...], tuple[Sysctl, ...]]:
    """The sysctls that are asked for, and what sets others back."""
    wanted = {sysctl.key: sysctl.value for sysctl in interest.sysctls}
    found = sysctls.read(dict.fromkeys((*usual.sysctls, *wanted)))
    asked = tuple(Sysctl(key, found[key]) for key in wanted if key in found)
    changed = {item.key: item for item in sysctls.deviations(found, {**usual.sysctls, **wanted})}
    undone = (
        item
        for key, item in changed.items()
        if key not in wanted and not ("/default/" in key and _follows(key) & changed.keys())
    )
    return asked, (*undone, *_link_sysctls(links, usual, changed.keys()))


def _link_sysctls(
    links: Iterable[FoundLink], usual: Fresh, changed: Collection[str]
) -> Iterator[Sysctl]:
    """What sets links' own sysctls back; but for those that will follow `all`, which is `changed`.

    The values of a link come with its dump: files are read only where they differ.
    """
    for item in links:
        like = usual.like(item.link)
        if like is None:
            continue
        if item.conf.mtu not in (0, item.link.mtu) and item.link.name != "lo":
            yield Sysctl(f"ipv6/conf/{item.link.name}/mtu", str(item.link.mtu))
        for group, want in like.conf.groups.items():
            if item.conf.groups.get(group) != want:
                yield from _differing(group, item.link.name, like.link.name, usual, changed)


def _differing(
    group: str, ifname: str, like: str, usual: Fresh, changed: Collection[str]
) -> Iterator[Sysctl]:
    found = sysctls.read(sysctls.of_link(group, ifname))
    want = usual.read_sysctls(lambda: sysctls.of_link(group, like))
    for key, value in want.items():
        own = f"{group}/{ifname}/{key.rpartition('/')[2]}"
        if found.get(own, value) != value and _follows(own).isdisjoint(changed):
            yield Sysctl(own, value)


def _follows(key: str) -> frozenset[str]:
    """What it may be written by: `all`, or ip_forward, writes every link's, and the default."""
    family, *group, _ifname, name = key.split("/")
    if group != ["conf"]:
        return frozenset()
    forward = {"ipv4/ip_forward"} if (family, name) == ("ipv4", "forwarding") else set()
    return frozenset({f"{family}/conf/all/{name}", *forward})
