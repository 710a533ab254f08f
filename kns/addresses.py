"""IP addresses, networks and families: the words that every part of kns shares."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
)

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network


class IPFamily(StrEnum):
    """An IP family under Kubernetes' name."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if self is IPFamily.IPV4 else 6

    @property
    def af(self) -> int:
        """The family's number in linux/socket.h: AF_INET or AF_INET6."""
        return 2 if self is IPFamily.IPV4 else 10

    @staticmethod
    def of(item: IPAddress | IPInterface | IPNetwork) -> IPFamily:
        """The family of an address, interface or network."""
        return IPFamily.IPV4 if item.version == 4 else IPFamily.IPV6


def is_address(text: str) -> bool:
    """True if the text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
