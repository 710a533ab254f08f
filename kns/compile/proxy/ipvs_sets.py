"""kube-proxy's ipsets of IPVS mode: which there are, what they hold, what their rules are for.

Every set is always there, in both families, so that the rules that name it need never change; an
IPv6 set is named `KUBE-6-…`, cut at the kernel's 31 letters.

Source: pkg/proxy/ipvs/ipset.go and pkg/util/ipset of Kubernetes v1.30.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Protocol
from kns.state.model import IpSet

#: linux/netfilter/ipset/ip_set.h IPSET_MAXNAMELEN is 32 with the terminating NUL
NAME_MAX: Final = 31


class IpsetType(StrEnum):
    """The types of ipset that kube-proxy uses."""

    IP = "hash:ip"
    IP_PORT = "hash:ip,port"
    IP_PORT_IP = "hash:ip,port,ip"
    IP_PORT_NET = "hash:ip,port,net"
    PORT = "bitmap:port"


class SetName(StrEnum):
    """The sets by their IPv4 names."""

    LOOP_BACK = "KUBE-LOOP-BACK"
    CLUSTER_IP = "KUBE-CLUSTER-IP"
    EXTERNAL_IP = "KUBE-EXTERNAL-IP"
    EXTERNAL_IP_LOCAL = "KUBE-EXTERNAL-IP-LOCAL"
    LOAD_BALANCER = "KUBE-LOAD-BALANCER"
    LOAD_BALANCER_FW = "KUBE-LOAD-BALANCER-FW"
    LOAD_BALANCER_LOCAL = "KUBE-LOAD-BALANCER-LOCAL"
    LOAD_BALANCER_SOURCE_IP = "KUBE-LOAD-BALANCER-SOURCE-IP"
    LOAD_BALANCER_SOURCE_CIDR = "KUBE-LOAD-BALANCER-SOURCE-CIDR"
    NODE_PORT_TCP = "KUBE-NODE-PORT-TCP"
    NODE_PORT_LOCAL_TCP = "KUBE-NODE-PORT-LOCAL-TCP"
    NODE_PORT_UDP = "KUBE-NODE-PORT-UDP"
    NODE_PORT_LOCAL_UDP = "KUBE-NODE-PORT-LOCAL-UDP"
    NODE_PORT_SCTP = "KUBE-NODE-PORT-SCTP-HASH"
    NODE_PORT_LOCAL_SCTP = "KUBE-NODE-PORT-LOCAL-SCTP-HASH"
    HEALTH_CHECK_NODE_PORT = "KUBE-HEALTH-CHECK-NODE-PORT"
    IPVS_IPS = "KUBE-IPVS-IPS"

    def of(self, family: IPFamily) -> str:
        """The set's name in the family."""
        if family is IPFamily.IPV4:
            return str(self)
        return self.replace("KUBE-", "KUBE-6-", 1)[:NAME_MAX]


_SPECIAL_KINDS: Final = {
    SetName.LOOP_BACK: IpsetType.IP_PORT_IP,
    SetName.LOAD_BALANCER_SOURCE_IP: IpsetType.IP_PORT_IP,
    SetName.LOAD_BALANCER_SOURCE_CIDR: IpsetType.IP_PORT_NET,
    SetName.IPVS_IPS: IpsetType.IP,
    SetName.HEALTH_CHECK_NODE_PORT: IpsetType.PORT,
    SetName.NODE_PORT_TCP: IpsetType.PORT,
    SetName.NODE_PORT_LOCAL_TCP: IpsetType.PORT,
    SetName.NODE_PORT_UDP: IpsetType.PORT,
    SetName.NODE_PORT_LOCAL_UDP: IpsetType.PORT,
}
NODE_PORTS: Final = {
    Protocol.TCP: (SetName.NODE_PORT_TCP, SetName.NODE_PORT_LOCAL_TCP),
    Protocol.UDP: (SetName.NODE_PORT_UDP, SetName.NODE_PORT_LOCAL_UDP),
    Protocol.SCTP: (SetName.NODE_PORT_SCTP, SetName.NODE_PORT_LOCAL_SCTP),
}
#: the comments of the rules that match a set, as iptables-save prints them
COMMENTS: Final = {
    SetName.LOOP_BACK: ("Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"),
    SetName.CLUSTER_IP: "Kubernetes service cluster ip + port for masquerade purpose",
    SetName.EXTERNAL_IP: (
        "Kubernetes service external ip + port for masquerade and filter purpose"
    ),
    SetName.EXTERNAL_IP_LOCAL: (
        "Kubernetes service external ip + port with externalTrafficPolicy=local"
    ),
    SetName.LOAD_BALANCER: "Kubernetes service lb portal",
    SetName.LOAD_BALANCER_LOCAL: (
        "Kubernetes service load balancer ip + port with externalTrafficPolicy=local"
    ),
    SetName.LOAD_BALANCER_FW: (
        "Kubernetes service load balancer ip + port for load balancer with sourceRange"
    ),
    SetName.LOAD_BALANCER_SOURCE_IP: (
        "Kubernetes service load balancer ip + port + source IP for packet filter purpose"
    ),
    SetName.LOAD_BALANCER_SOURCE_CIDR: (
        "Kubernetes service load balancer ip + port + source cidr for packet filter purpose"
    ),
    SetName.NODE_PORT_TCP: "Kubernetes nodeport TCP port for masquerade purpose",
    SetName.NODE_PORT_LOCAL_TCP: ("Kubernetes nodeport TCP port with externalTrafficPolicy=local"),
    SetName.NODE_PORT_UDP: "Kubernetes nodeport UDP port for masquerade purpose",
    SetName.NODE_PORT_LOCAL_UDP: ("Kubernetes nodeport UDP port with externalTrafficPolicy=local"),
    SetName.NODE_PORT_SCTP: (
        r"Kubernetes nodeport SCTP port for masquerade purpose with type \'hash ip:port\'"
    ),
    SetName.NODE_PORT_LOCAL_SCTP: (
        r"Kubernetes nodeport SCTP port with externalTrafficPolicy=local"
        r" with type \'hash ip:port\'"
    ),
    SetName.HEALTH_CHECK_NODE_PORT: "Kubernetes health check node port",
}


def kind_of(name: SetName) -> IpsetType:
    """The set's type."""
    return _SPECIAL_KINDS.get(name, IpsetType.IP_PORT)


@dataclass(slots=True)
class Sets:
    """The sets of one family while they are being filled."""

    family: IPFamily
    entries: dict[SetName, set[str]] = field(
        default_factory=lambda: {name: set() for name in SetName}
    )

    def add(self, name: SetName, entry: str) -> None:
        """Put an entry, in the form of `ipset save`, into a set."""
        self.entries[name].add(entry)

    def holds(self, name: SetName) -> bool:
        """True if the set has entries: rules on most sets are written only then."""
        return bool(self.entries[name])

    def frozen(self) -> tuple[IpSet, ...]:
        """All sets by name, as `ipset save` prints them."""
        family = "inet" if self.family is IPFamily.IPV4 else "inet6"
        # kube-proxy asks for hashsize and maxelem; bucketsize is ipset's own default
        hashed = f"family {family} hashsize 1024 maxelem 65536 bucketsize 12"
        found = (
            IpSet(
                name.of(self.family),
                kind_of(name),
                "range 0-65535" if kind_of(name) is IpsetType.PORT else hashed,
                tuple(sorted(entries)),
            )
            for name, entries in self.entries.items()
        )
        return tuple(sorted(found, key=lambda item: item.name))


def ip_port(address: IPAddress, protocol: Protocol, port: int) -> str:
    """`ip,proto:port`."""
    return f"{address},{protocol.lower()}:{port}"


def node_port_entries(
    protocol: Protocol, port: int, node_ips: Iterable[IPAddress]
) -> tuple[str, ...]:
    """A node port's entries: SCTP has no bitmap of ports, so there it is one an address."""
    if protocol is Protocol.SCTP:
        return tuple(ip_port(address, protocol, port) for address in node_ips)
    return (str(port),)
