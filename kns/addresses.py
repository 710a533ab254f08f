"""IP addresses, networks and families: the words that every part of kns shares."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


class IPFamily(StrEnum):
    """An IP family under Kubernetes' name."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if self is IPFamily.IPV4 else 6

    @staticmethod
    def of(item: IPAddress | IPNetwork) -> IPFamily:
        """The family of an address or network."""
        return IPFamily.IPV4 if item.version == 4 else IPFamily.IPV6
