"""The operations that lead from one HostState to another, as values.

CreateNetns DeleteNetns
CreateLink CreateVeth ChangeLink DeleteLink
AddAddress DeleteAddress  AddRoute DeleteRoute  AddRule DeleteRule
AddNeighbor DeleteNeighbor  AddFdb DeleteFdb
WriteSysctl
RestoreIptables  RestoreIpsets  LoadNft  SetVirtualServers       programs of rules
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kns.addresses import IPFamily, IPNetwork
from kns.state.model import (
    Address,
    FdbEntry,
    IptablesTable,
    IpvsTimeouts,
    Link,
    Neighbor,
    NftTable,
    PolicyRule,
    Route,
    Sysctl,
    UdpFlow,
    Veth,
    VirtualServer,
)


@dataclass(frozen=True, slots=True)
class CreateNetns:
    """Make a netns and name it."""

    netns: str


@dataclass(frozen=True, slots=True)
class DeleteNetns:
    """Unmount the name of a netns; what is in it goes with it."""

    netns: str


@dataclass(frozen=True, slots=True)
class CreateLink:
    """Make a bridge, VXLAN or dummy device, down."""

    netns: str
    link: Link


@dataclass(frozen=True, slots=True)
class CreateVeth:
    """Make a veth pair, both ends in place, `link` in `netns` up, `peer` still down."""

    netns: str
    link: Veth
    peer: Veth

    @property
    def peer_netns(self) -> str:
        """Where the other end is."""
        return self.link.peer_netns


@dataclass(frozen=True, slots=True)
class ChangeLink:
    """Set the named attributes of a link (`up`, `mtu`, `mac`, `master`, `hairpin`, `alias`)."""

    netns: str
    link: Link
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteLink:
    """Remove a link (a veth goes with its other end)."""

    netns: str
    ifname: str


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Put an address on a link."""

    netns: str
    address: Address


@dataclass(frozen=True, slots=True)
class DeleteAddress:
    """Take an address off a link."""

    netns: str
    address: Address


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Add a route."""

    netns: str
    route: Route


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Remove a route."""

    netns: str
    route: Route


@dataclass(frozen=True, slots=True)
class AddRule:
    """Add a policy routing rule."""

    netns: str
    rule: PolicyRule


@dataclass(frozen=True, slots=True)
class DeleteRule:
    """Remove a policy routing rule."""

    netns: str
    rule: PolicyRule


@dataclass(frozen=True, slots=True)
class AddNeighbor:
    """Add or replace a permanent neighbor entry."""

    netns: str
    neighbor: Neighbor


@dataclass(frozen=True, slots=True)
class DeleteNeighbor:
    """Remove a permanent neighbor entry."""

    netns: str
    neighbor: Neighbor


@dataclass(frozen=True, slots=True)
class AddFdb:
    """Add or replace a forwarding entry of a VXLAN device."""

    netns: str
    entry: FdbEntry


@dataclass(frozen=True, slots=True)
class DeleteFdb:
    """Remove a forwarding entry of a VXLAN device."""

    netns: str
    entry: FdbEntry


@dataclass(frozen=True, slots=True)
class WriteSysctl:
    """Write a file below /proc/sys/net of the netns."""

    netns: str
    sysctl: Sysctl


@dataclass(frozen=True, slots=True)
class TableChange:
    """What differs in one iptables table.

    `write` are the chains whose whole content is written anew, `remove` the names of chains that
    nobody wants any more. `fresh` says that the table has nothing of its own yet.
    """

    table: IptablesTable
    write: tuple[str, ...]
    remove: tuple[str, ...] = ()
    fresh: bool = False


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
    service_cidrs: tuple[IPNetwork, ...]


Op = (
    CreateNetns
    | DeleteNetns
    | CreateLink
    | CreateVeth
    | ChangeLink
    | DeleteLink
    | AddAddress
    | DeleteAddress
    | AddRoute
    | DeleteRoute
    | AddRule
    | DeleteRule
    | AddNeighbor
    | DeleteNeighbor
    | AddFdb
    | DeleteFdb
    | WriteSysctl
    | RestoreIptables
    | RestoreIpsets
    | LoadNft
    | SetVirtualServers
    | CleanConntrack
)
