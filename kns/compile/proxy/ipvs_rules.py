"""What IPVS mode makes on a node, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from kns.state.model import (
    Address,
    IpSet,
    IptablesTable,
    IpvsTimeouts,
    Link,
    Sysctl,
    VirtualServer,
)


@dataclass(frozen=True, slots=True)
class IpvsRules:
    """What a node gets in IPVS mode, of one family or of both."""

    tables: tuple[IptablesTable, ...] = ()
    ipsets: tuple[IpSet, ...] = ()
    virtual_servers: tuple[VirtualServer, ...] = ()
    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    timeouts: IpvsTimeouts = field(default_factory=IpvsTimeouts)

    def joined(self, other: IpvsRules) -> IpvsRules:
        """These rules and the other family's; link, sysctls and timeouts are common to both."""
        return IpvsRules(
            tables=(*self.tables, *other.tables),
            ipsets=(*self.ipsets, *other.ipsets),
            virtual_servers=(*self.virtual_servers, *other.virtual_servers),
            links=self.links,
            addresses=(*self.addresses, *other.addresses),
            sysctls=self.sysctls,
            timeouts=self.timeouts,
        )
