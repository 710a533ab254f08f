"""The operations that lead from one HostState to another, as values.

    CreateNetns DeleteNetns                         a whole netns
    Add Delete                                      something in it: a link, an address, …
    Change Write Replace                            a link's attributes; a sysctl; a route, a shaper
    Undo                                            what no lab has
    RestoreIptables RestoreIpsets LoadNft           programs of rules
    SetVirtualServers                               IPVS, by netlink
    DeleteAccounting CleanConntrack                 what a change of rules leaves behind

Each carries all that `kns.kernel.apply` and `kns.plan.shell` need to carry it out or to say it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kns.addresses import IPFamily, IPNetwork
from kns.state.iptables import TableChange
from kns.state.model import (
    Address,
    Deviation,
    FdbEntry,
    IpvsTimeouts,
    Link,
    Neighbor,
    NftTable,
    PolicyRule,
    Route,
    Sysctl,
    UdpFlow,
    VirtualServer,
)
from kns.state.traffic import Shaper


@dataclass(frozen=True, slots=True)
class CreateNetns:
    """Make a netns and name it."""

    netns: str


@dataclass(frozen=True, slots=True)
class DeleteNetns:
    """Unmount the name of a netns; what is in it goes with it."""

    netns: str


@dataclass(frozen=True, slots=True)
class VethPair:
    """Both ends of a veth pair: `link`, which has its master from the start, and its peer."""

    link: Link
    peer_netns: str
    peer: Link


#: what stands on links: each is added and deleted whole
Entry = Address | Route | PolicyRule | Neighbor | FdbEntry | Shaper


@dataclass(frozen=True, slots=True)
class Add:
    """Put something into a netns.

    A link is made down, without alias and port attributes; of a pair `link` comes up at once and
    `peer` stays down. A neighbor or forwarding entry replaces the one that is there.
    """

    netns: str
    item: Link | VethPair | Entry


@dataclass(frozen=True, slots=True)
class Delete:
    """Take something out of a netns. A veth goes with its other end."""

    netns: str
    item: Link | Entry


@dataclass(frozen=True, slots=True)
class Replace:
    """Put something in the place of what is there, so that there is no moment without.

    A route takes the place of that of its destination, table and metric: in between packets would
    find none, or that of another table. A shaper becomes another, with the packets in its queues,
    whichever the link has; `before` was seen there.
    """

    netns: str
    item: Route | Shaper
    before: Shaper | None = None


@dataclass(frozen=True, slots=True)
class Undo:
    """Take back what somebody changed by hand."""

    netns: str
    deviation: Deviation


@dataclass(frozen=True, slots=True)
class Change:
    """Set the attributes of a link that `fields` names to what `link` says."""

    netns: str
    link: Link
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file below /proc/sys/net of the netns."""

    netns: str
    sysctl: Sysctl


@dataclass(frozen=True, slots=True)
class RestoreIptables:
    """One `iptables-restore` (or `ip6tables-restore`) for all tables of a family that differ."""

    netns: str
    family: IPFamily
    changes: tuple[TableChange, ...]


@dataclass(frozen=True, slots=True)
class RestoreIpsets:
    """One `ipset restore`; `text` brings the netns' sets to what is desired."""

    netns: str
    text: str


@dataclass(frozen=True, slots=True)
class LoadNft:
    """One `nft -f -`: a transaction that leads from `observed` (None: absent) to `desired`."""

    netns: str
    family: IPFamily
    name: str
    desired: NftTable | None
    observed: NftTable | None


@dataclass(frozen=True, slots=True)
class SetVirtualServers:
    """Bring the IPVS virtual servers of a netns from `observed` to `desired`, by netlink.

    Those in `exclude` are left alone; `timeouts` that are not 0 are set.
    """

    netns: str
    desired: tuple[VirtualServer, ...]
    observed: tuple[VirtualServer, ...]
    exclude: tuple[IPNetwork, ...] = ()
    timeouts: IpvsTimeouts = field(default_factory=IpvsTimeouts)


@dataclass(frozen=True, slots=True)
class CleanConntrack:
    """Drop UDP entries whose backend is none of their flow's any more, by netlink."""

    netns: str
    flows: tuple[UdpFlow, ...]
    virtual_networks: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True)
class DeleteAccounting:
    """Delete accounting objects that no rule counts by any more, by netlink."""

    netns: str
    names: tuple[str, ...]


#: what other programs carry out
ProgramOp = RestoreIptables | RestoreIpsets | LoadNft
#: what waits for those, and goes by sockets of its own
LateRuleOp = SetVirtualServers | DeleteAccounting | CleanConntrack
#: ops on rules, beside those on links
RuleOp = ProgramOp | LateRuleOp
#: ops that are rtnetlink messages
LinkOp = Add | Delete | Replace | Change | Undo
Op = CreateNetns | DeleteNetns | LinkOp | Write | RuleOp
