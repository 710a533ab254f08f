"""Connection tracking entries, by ctnetlink: which UDP flows lead to a backend that is gone.

A UDP "connection" lives in the table as long as its client keeps sending, and with it the backend
that was chosen for its first packet. So when a backend vanishes, the entry must go, or the
client's packets go nowhere for ever. TCP entries stay: their ends notice for themselves, and a
terminating backend may still be serving them.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable

from pyroute2.netlink import NETLINK_NETFILTER, nlmsg
from pyroute2.netlink.nfnetlink.nfctsocket import IPCTNL_MSG_CT_DELETE, nfct_msg

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.kernel.connections import SUBSYSTEM, list_here
from kns.kernel.netlink import Socket
from kns.kernel.shapes import Port, filled, request
from kns.plan.ops import CleanConntrack
from kns.state.connection import Connection
from kns.state.model import UdpFlow


def clean_here(op: CleanConntrack) -> int:
    """Delete the stale entries in the calling thread's netns; how many there were."""
    stale = [
        entry
        for entry in list_here()
        if entry.protocol == "udp" and is_stale(entry, op.flows, op.virtual_networks)
    ]
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        # one that has expired in the meantime is refused: it is gone as well
        return len(stale) - len(sock.request([_deletion(entry) for entry in stale]))


def is_stale(
    entry: Connection, flows: Iterable[UdpFlow], virtual_networks: Iterable[IPNetwork]
) -> bool:
    """True if the entry is of one of the flows, and its backend none of the flow's.

    A flow without an address is one to any of the netns' own. An address of the virtual networks
    that is no flow's any more leads nowhere.
    """
    asked, port = entry.original.destination, entry.original.destination_port
    backend = entry.reply.source
    in_a_flow = False
    for flow in flows:
        if flow.port != port or flow.address not in (None, asked):
            continue
        # an untranslated packet to some other local program's port is none of ours
        if flow.address is None and backend == asked:
            continue
        in_a_flow = True
        if (backend, entry.reply.source_port) in flow.backends:
            return False
    if in_a_flow:
        return True
    return backend != asked and any(asked in network for network in virtual_networks)


def count_connections_here(destinations: Iterable[IPNetwork]) -> int:
    """Established TCP connections into these networks, in the calling thread's netns."""
    networks = tuple(destinations)
    return sum(
        any(entry.original.destination in network for network in networks)
        for entry in list_here()
        if (entry.protocol, entry.state) == ("tcp", "ESTABLISHED")
    )


def _deletion(entry: Connection) -> bytes:
    """The message that deletes a UDP entry."""
    asked = entry.original
    ports = Port(asked.source_port), Port(asked.destination_port)
    return _delete(asked.source, asked.destination, *ports)


@filled
def _delete(
    source: IPAddress, destination: IPAddress, source_port: Port, destination_port: Port
) -> nlmsg:
    family = IPFamily.of(source)
    version = "V4" if family is IPFamily.IPV4 else "V6"
    addresses = [
        (f"CTA_IP_{version}_SRC", str(source)),
        (f"CTA_IP_{version}_DST", str(destination)),
    ]
    protocol = [
        ("CTA_PROTO_NUM", socket.IPPROTO_UDP),
        ("CTA_PROTO_SRC_PORT", source_port),
        ("CTA_PROTO_DST_PORT", destination_port),
    ]
    asked = [("CTA_TUPLE_IP", {"attrs": addresses}), ("CTA_TUPLE_PROTO", {"attrs": protocol})]
    attributes = [("CTA_TUPLE_ORIG", {"attrs": asked})]
    number = SUBSYSTEM | IPCTNL_MSG_CT_DELETE
    return request(nfct_msg, number, 0, attributes, nfgen_family=family.af)
