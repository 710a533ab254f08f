"""Connection tracking entries, by ctnetlink: which UDP flows lead to a backend that is gone.

A UDP "connection" lives in the table as long as its client keeps sending, and with it the backend
that was chosen for its first packet. So when an endpoint vanishes, the entry must go, or the
client's packets go nowhere for ever. TCP entries stay: their ends notice for themselves, and a
terminating backend may still be serving them.

Source: kube-proxy pkg/proxy/conntrack/cleanup.go (CleanStaleEntries).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable

from pyroute2.netlink import NETLINK_NETFILTER, nlmsg
from pyroute2.netlink.nfnetlink.nfctsocket import IPCTNL_MSG_CT_DELETE, nfct_msg

from kns.addresses import IPAddress, IPFamily
from kns.kernel.connections import SUBSYSTEM, Connection, list_here
from kns.kernel.netlink import Socket
from kns.kernel.shapes import Port, filled, request
from kns.plan.ops import CleanConntrack
from kns.state.model import UdpFlow


def clean_here(op: CleanConntrack) -> int:
    """Delete the stale entries in the calling thread's netns; how many there were."""
    stale = [
        entry
        for entry in list_here()
        if entry.protocol == "udp" and is_stale(entry, op.flows, op.service_cidrs)
    ]
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        # one that has expired in the meantime is refused: it is gone as well
        return len(stale) - len(sock.request([_deletion(entry) for entry in stale]))


def is_stale(entry: Connection, flows: Iterable[UdpFlow], service_cidrs: Iterable[object]) -> bool:
    """True if the entry's address is a service's, and its backend none of the service's.

    A node port is a flow without an address. An address of the service network that is no
    service's any more leads nowhere.
    """
    asked, port = entry.original.destination, entry.original.destination_port
    backend = entry.reply.source
    to_service = False
    for flow in flows:
        if flow.port != port or flow.address not in (None, asked):
            continue
        # an untranslated packet to some other local program's port is none of ours
        if flow.address is None and backend == asked:
            continue
        to_service = True
        if (backend, entry.reply.source_port) in flow.backends:
            return False
    if to_service:
        return True
    return backend != asked and any(_holds(cidr, asked) for cidr in service_cidrs)


def _holds(cidr: object, address: IPAddress) -> bool:
    return getattr(cidr, "version", 0) == address.version and address in cidr  # type: ignore[operator]


def count_service_connections_here(service_cidrs: Iterable[object]) -> int:
    """Established TCP connections to service addresses, in the calling thread's netns."""
    cidrs = tuple(service_cidrs)
    return sum(
        any(_holds(cidr, entry.original.destination) for cidr in cidrs)
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
