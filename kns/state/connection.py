"""A connection as the kernel remembers it (conntrack).

An entry holds two tuples. Where they are not each other's mirror image, NAT is at work: the
answer comes from another address than was asked, or goes to another than asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from kns.addresses import IPAddress, IPFamily


@dataclass(frozen=True, slots=True)
class Tuple:
    """One direction of a connection. Of ICMP both ports are the echo's id."""

    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int

    @property
    def reverse(self) -> Tuple:
        """The same seen from the other end."""
        return Tuple(self.destination, self.destination_port, self.source, self.source_port)


@dataclass(frozen=True, slots=True)
class Connection:
    """An entry: `original` as the first packet came in, `reply` as its answers are expected."""

    protocol: str
    original: Tuple
    reply: Tuple
    #: of TCP alone
    state: str = ""
    answered: bool = False
    #: seconds until it is forgotten
    timeout: int = 0
    family: IPFamily = IPFamily.IPV4
