"""What a set of netns holds: links, addresses, routes, sysctls, rules.

One type serves for what is desired (`kns.compile` writes it) and what is observed
(`kns.kernel.observe` reads it), in one normal form: rules as `iptables-save` prints them, nft
statements as `nft -s list` prints them, sysctl values as the kernel prints them. So a difference
of two states is a difference of values.

    HostState
    └── Netns
        ├── Link ── Loopback, Bridge, VethPeer, Vxlan or Dummy
        ├── Address, Route, Neighbor, FdbEntry, PolicyRule
        ├── Sysctl
        ├── Shaper ── TrafficClass
        ├── IptablesTable ── Chain
        ├── NftTable ── NftSet, NftChain
        ├── IpSet
        └── VirtualServer ── RealServer, IpvsTimeouts
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from kns.addresses import IPAddress, IPFamily, IPInterface, IPNetwork
from kns.state.traffic import Shaper

#: linux/if.h IFNAMSIZ is 16 with the terminating NUL
IFNAME_MAX = 15

# -- links -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loopback:
    """The `lo` that every netns has from the start."""

    type: ClassVar[str] = "loopback"


@dataclass(frozen=True, slots=True)
class Bridge:
    """A Linux bridge."""

    type: ClassVar[str] = "bridge"


@dataclass(frozen=True, slots=True)
class VethPeer:
    """What one end of a veth pair is told by: the other end, by its netns and name.

    Both are empty where the other end is in none of the netns that were read.
    """

    type: ClassVar[str] = "veth"
    netns: str
    name: str


@dataclass(frozen=True, slots=True)
class Vxlan:
    """A VXLAN device without learning, bound to `device` of the same netns."""

    type: ClassVar[str] = "vxlan"
    vni: int
    local: IPAddress
    device: str
    port: int = 8472


@dataclass(frozen=True, slots=True)
class Dummy:
    """A dummy device: holds addresses, sends nothing."""

    type: ClassVar[str] = "dummy"


@dataclass(frozen=True, slots=True)
class Stray:
    """A device of a kind that no lab has."""

    type: str


#: what a link is made as, which nobody can change afterwards; `type` is as in `ip link add … type`
LinkKind = Loopback | Bridge | VethPeer | Vxlan | Dummy | Stray


@dataclass(frozen=True, slots=True)
class Link:
    """A link: its kind, and the attributes that every link has and that can be changed.

    `mac` is pinned where the kernel's choice would change (a bridge takes its ports' lowest).
    `hairpin` lets a frame leave by the bridge port it came in by; only with a `master`.
    """

    name: str
    kind: LinkKind
    mac: str = ""
    mtu: int = 1500
    master: str = ""
    hairpin: bool = False
    alias: str = ""
    up: bool = True

    @property
    def peer(self) -> VethPeer | None:
        """The other end, of a veth."""
        return self.kind if isinstance(self.kind, VethPeer) else None


def loopback(*, up: bool = True) -> Link:
    """The link `lo`. Of its attributes `up` alone is read and compared."""
    return Link("lo", Loopback(), up=up)


# -- addresses, routes, neighbors ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """An address on a link. The kernel's own 127.0.0.1, ::1 and link-local ones are not listed."""

    ifname: str
    interface: IPInterface


class RouteType(StrEnum):
    """A route's type, as `ip route` names it."""

    UNICAST = "unicast"
    LOCAL = "local"
    BROADCAST = "broadcast"
    ANYCAST = "anycast"
    MULTICAST = "multicast"
    UNREACHABLE = "unreachable"
    BLACKHOLE = "blackhole"
    PROHIBIT = "prohibit"
    THROW = "throw"


@dataclass(frozen=True, slots=True)
class NextHop:
    """One next hop of a route: a gateway, a link, or both."""

    gateway: IPAddress | None = None
    ifname: str = ""
    onlink: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A route. Several hops make it multipath. In a Netns none is the kernel's own."""

    destination: IPNetwork
    hops: tuple[NextHop, ...] = ()
    table: int = 254
    type: RouteType = RouteType.UNICAST
    source: IPAddress | None = None
    metric: int = 0


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A policy routing rule: packets `source` → `destination` with `mark` look up `table`."""

    priority: int
    table: int
    source: IPNetwork | None = None
    destination: IPNetwork | None = None
    mark: int = 0
    family: IPFamily = IPFamily.IPV4


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A permanent ARP or NDP entry."""

    ifname: str
    address: IPAddress
    mac: str


@dataclass(frozen=True, slots=True)
class FdbEntry:
    """A permanent forwarding entry of a VXLAN device: frames for `mac` go to `destination`."""

    ifname: str
    mac: str
    destination: IPAddress


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A file below /proc/sys/net of the netns: `ipv4/ip_forward`, and its value as read."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Deviation:
    """Something that no lab has, or what the kernel made of itself and is gone.

    Only ever observed, and told by what sets it right: a shell command without its netns, and the
    rtnetlink request that does the same; where there is none, the command itself is run.
    """

    command: str
    message: bytes = field(default=b"", repr=False)


# -- rules -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    """What a rule, a policy or a server has counted. It never makes two states different."""

    packets: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of an iptables table. `policy` is empty for a user-defined chain.

    `rules` are in the normal form of `iptables-save`, without the leading `-A CHAIN `; `counts` go
    with them one by one where they were read, and `policy_count` with the policy.
    """

    name: str
    rules: tuple[str, ...] = ()
    policy: str = ""
    counts: tuple[Count, ...] = field(default=(), compare=False)
    policy_count: Count = field(default_factory=Count, compare=False)


@dataclass(frozen=True, slots=True)
class IptablesTable:
    """A whole iptables table of one family: every chain, the built-in ones included."""

    family: IPFamily
    name: str
    chains: tuple[Chain, ...]


@dataclass(frozen=True, slots=True)
class NftSet:
    """A set or map of an nft table. `header` is what stands between the braces before `elements`.

    `kind` is `set` or `map`; `header` lines, `elements` and the comment are in `nft -s list` form
    (elements sorted). `dynamic` sets are filled by packets: their elements are not compared.
    """

    kind: str
    name: str
    header: tuple[str, ...]
    elements: tuple[str, ...] = ()
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class NftChain:
    """A chain of an nft table. `hook` is the `type … hook … priority …; policy …;` line, if any."""

    name: str
    hook: str = ""
    rules: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class NftTable:
    """A whole nft table of one family (`ip` or `ip6`)."""

    family: IPFamily
    name: str
    sets: tuple[NftSet, ...] = ()
    chains: tuple[NftChain, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class IpSet:
    """An ipset. `options` are its create options as `ipset save` prints them, `entries` sorted."""

    name: str
    type: str
    options: str
    entries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RealServer:
    """A real server (masquerading) of an IPVS virtual server.

    `connections` is how many it has, active or ending, when it was read; it never makes a
    difference between two states.
    """

    address: IPAddress
    port: int
    weight: int = 1
    connections: int = field(default=0, compare=False)
    count: Count | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class VirtualServer:
    """An IPVS virtual server. `protocol` is tcp, udp or sctp; `persistent` in seconds, 0: not.

    `flags` are those of the scheduler alone (linux/ip_vs.h IP_VS_SVC_F_SCHED*). `count` is None
    where it was not read.
    """

    protocol: str
    address: IPAddress
    port: int
    scheduler: str = "rr"
    persistent: int = 0
    flags: int = 0
    real_servers: tuple[RealServer, ...] = ()
    count: Count | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class IpvsTimeouts:
    """How long IPVS keeps an idle connection, in seconds (`ipvsadm --set`); 0: as it is."""

    tcp: int = 0
    tcp_fin: int = 0
    udp: int = 0


@dataclass(frozen=True, slots=True)
class RuleNames:
    """What is whose in a netns that others write rules into, too: by its name.

    Of nft the tables of these names, of ipset what begins with the prefix. iptables' tables and
    IPVS are read and written whole.
    """

    nft_tables: tuple[str, ...] = ()
    ipset_prefix: str = ""


@dataclass(frozen=True, slots=True)
class UdpFlow:
    """What UDP packets to an address (None: any of the netns' own) and port are sent on to."""

    address: IPAddress | None
    port: int
    backends: frozenset[tuple[IPAddress, int]]


# -- the whole -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Netns:
    """Everything in one netns that kns answers for."""

    name: str
    links: tuple[Link, ...] = (loopback(),)
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
    neighbors: tuple[Neighbor, ...] = ()
    fdb: tuple[FdbEntry, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    shapers: tuple[Shaper, ...] = ()
    iptables: tuple[IptablesTable, ...] = ()
    nftables: tuple[NftTable, ...] = ()
    ipsets: tuple[IpSet, ...] = ()
    virtual_servers: tuple[VirtualServer, ...] = ()
    #: only observed: the name leads to a netns that is another name's, or the observer's own
    stray: bool = False
    #: only observed: changes by hand that nothing above can tell. A Sysctl has the value that it
    #: has in a fresh netns
    deviations: tuple[Deviation | Sysctl, ...] = ()
    #: what may be left of UDP in the connection table, and the networks whose addresses are
    #: nobody's own: a packet to one is translated or leads nowhere. None, as in all that is
    #: observed: the table has not been compared with any
    udp_flows: tuple[UdpFlow, ...] | None = None
    virtual_networks: tuple[IPNetwork, ...] = ()
    ipvs_timeouts: IpvsTimeouts = field(default_factory=IpvsTimeouts)
    #: never observed: a routing daemon's routes to these are its own to keep
    learned: tuple[IPNetwork, ...] = ()
    #: virtual servers in these are somebody else's
    ipvs_exclude: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class HostState:
    """The netns of a lab, in the order in which they are built."""

    netns: tuple[Netns, ...] = ()
