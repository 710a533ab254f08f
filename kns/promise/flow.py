"""How a flow may end."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a connection ended, told apart as a network engineer would."""

    #: the other side accepted the connection (or answered the datagram)
    CONNECTED = "CONNECTED"
    #: a TCP reset or an ICMP port unreachable came back at once
    REFUSED = "REFUSED"
    #: nothing came back: dropped, lost or answered by another way
    TIMEOUT = "TIMEOUT"
    #: a router, or this host's own routing table, said that there is no way
    UNREACHABLE = "UNREACHABLE"
    #: the name did not resolve
    DNS = "DNS"
    #: anything else; `detail` holds the tool's own words
    OTHER = "OTHER"
