"""The part of kube-proxy's nft table that does not depend on the services.

    prerouting   -110 filter-prerouting ─▶ firewall-check       sources a LoadBalancer refuses
                 -100 nat-prerouting ─▶ services                 vmap by destination ─▶ DNAT
    input        -110 filter-input ─▶ nodeport-endpoints-check, service-endpoints-check
    forward      -110 filter-forward ─▶ service-endpoints-check, cluster-ips-check
    output       -110 filter-output ─▶ service-endpoints-check, firewall-check
                 -100 nat-output ─▶ services
                  -90 filter-output-post-dnat ─▶ cluster-ips-check
    postrouting   100 nat-postrouting ─▶ masquerading            of what mark-for-masquerade marked

Everything in the form in which `nft -s list` prints it. Source: setupNFTables in
pkg/proxy/nftables/proxier.go of Kubernetes v1.30.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.cluster.model import KubeProxyOptions
from kns.compile.proxy.on_node import local_detector
from kns.compile.proxy.release import DEFAULT, Release, ReleaseChange
from kns.kinds.node import Node
from kns.state.model import NftChain, NftSet, NftTable

TABLE = "kube-proxy"
MARK = "mark-for-masquerade"
REJECT = "reject-chain"

CLUSTER_IPS = "cluster-ips"
NODEPORT_IPS = "nodeport-ips"
NO_ENDPOINT_SERVICES = "no-endpoint-services"
NO_ENDPOINT_NODEPORTS = "no-endpoint-nodeports"
FIREWALL_IPS = "firewall-ips"
SERVICE_IPS = "service-ips"
SERVICE_NODEPORTS = "service-nodeports"

#: the base chains; -100 has the name dstnat in prerouting only, which is how nft prints it
HOOKS = {
    "filter-prerouting": "type filter hook prerouting priority dstnat - 10; policy accept;",
    "filter-input": "type filter hook input priority -110; policy accept;",
    "filter-forward": "type filter hook forward priority -110; policy accept;",
    "filter-output": "type filter hook output priority -110; policy accept;",
    "filter-output-post-dnat": "type filter hook output priority -90; policy accept;",
    "nat-prerouting": "type nat hook prerouting priority dstnat; policy accept;",
    "nat-output": "type nat hook output priority -100; policy accept;",
    "nat-postrouting": "type nat hook postrouting priority srcnat; policy accept;",
}
#: chain, and where it jumps to
JUMPS = (
    ("filter-prerouting", "ct state new jump firewall-check"),
    ("filter-input", "ct state new jump nodeport-endpoints-check"),
    ("filter-input", "ct state new jump service-endpoints-check"),
    ("filter-forward", "ct state new jump service-endpoints-check"),
    ("filter-forward", "ct state new jump cluster-ips-check"),
    ("filter-output", "ct state new jump service-endpoints-check"),
    ("filter-output", "ct state new jump firewall-check"),
    ("filter-output-post-dnat", "ct state new jump cluster-ips-check"),
    ("nat-prerouting", "jump services"),
    ("nat-output", "jump services"),
    ("nat-postrouting", "jump masquerading"),
)


@dataclass(slots=True)
class TableDraft:
    """A table while it is being written; `finish` gives the value.

    A key that is already in a map stays as it is: two services that claim one address and port
    would make the kernel refuse kube-proxy's whole transaction; here the first one by name has it.
    """

    family: IPFamily
    headers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ip(self) -> str:
        """The protocol whose header rules match: `ip` or `ip6`."""
        return "ip" if self.family is IPFamily.IPV4 else "ip6"

    @property
    def address_type(self) -> str:
        """The data type of an address in sets and maps."""
        return "ipv4_addr" if self.family is IPFamily.IPV4 else "ipv6_addr"

    def add_set(self, name: str, *header: str) -> None:
        """Declare a set or map; the header's type tells which."""
        self.headers[name] = header
        self.elements[name] = {}

    def add_element(self, name: str, key: str, verdict: str = "", comment: str = "") -> None:
        """Put an element into a set, or with a verdict into a map."""
        note = f' comment "{comment}"' if comment else ""
        value = f" : {verdict}" if verdict else ""
        self.elements[name].setdefault(key, f"{key}{note}{value}")

    def add_rules(self, chain: str, *rules: str) -> None:
        """Append rules to the chain, which comes into being with the first call."""
        self.chains.setdefault(chain, []).extend(rules)

    def finish(self) -> NftTable:
        """The table in normal form: sets, elements, chains sorted, since order has no meaning."""
        sets = tuple(
            NftSet(
                kind="map" if header[0].endswith(": verdict") else "set",
                name=name,
                header=header,
                elements=tuple(sorted(self.elements[name].values())),
                dynamic="flags dynamic,timeout" in header,
            )
            for name, header in sorted(self.headers.items())
        )
        chains = tuple(
            NftChain(
                name=name,
                hook=HOOKS.get(name, ""),
                rules=tuple(rules),
                comment="helper for @no-endpoint-services / @no-endpoint-nodeports"
                if name == REJECT
                else "",
            )
            for name, rules in sorted(self.chains.items())
        )
        return NftTable(self.family, TABLE, sets, chains, comment="rules for kube-proxy")


def base_table(node: Node, options: KubeProxyOptions, family: IPFamily) -> TableDraft:
    """A table with every chain, set and map that is there without any service."""
    draft = TableDraft(family)
    for chain in HOOKS:
        draft.add_rules(chain)
    for chain, rule in JUMPS:
        draft.add_rules(chain, rule)
    _add_sets(draft)
    mark = f"0x{1 << options.nftables.masquerade_bit:08x}"
    draft.add_rules(MARK, f"meta mark set meta mark | {mark}")
    draft.add_rules(
        "masquerading",
        f"meta mark & {mark} == 0x00000000 return",
        f"meta mark set meta mark ^ {mark}",
        "masquerade fully-random",
    )
    draft.add_rules(
        "cluster-ips-check",
        f"{draft.ip} daddr @{CLUSTER_IPS} reject"
        ' comment "Reject traffic to invalid ports of ClusterIPs"',
    )
    draft.add_rules(REJECT, "reject")
    _add_dispatch(draft, node, options)
    return draft


def _add_sets(draft: TableDraft) -> None:
    address = draft.address_type
    service = f"type {address} . inet_proto . inet_service : verdict"
    nodeport = "type inet_proto . inet_service : verdict"
    for name, kind, comment in (
        (CLUSTER_IPS, f"type {address}", "Active ClusterIPs"),
        (
            NO_ENDPOINT_SERVICES,
            service,
            "vmap to drop or reject packets to services with no endpoints",
        ),
        (
            NO_ENDPOINT_NODEPORTS,
            nodeport,
            "vmap to drop or reject packets to service nodeports with no endpoints",
        ),
        (FIREWALL_IPS, service, "destinations that are subject to LoadBalancerSourceRanges"),
        (SERVICE_IPS, service, "ClusterIP, ExternalIP and LoadBalancer IP traffic"),
        (SERVICE_NODEPORTS, nodeport, "NodePort traffic"),
    ):
        draft.add_set(name, kind, f'comment "{comment}"')


def _add_dispatch(draft: TableDraft, node: Node, options: KubeProxyOptions) -> None:
    """The vmap look-ups by destination, and which local addresses node ports answer on."""
    by_address = f"{draft.ip} daddr . meta l4proto . th dport vmap"
    addresses = nodeport_addresses(node, options, draft.family)
    if addresses is None:
        loopback = "ip daddr != 127.0.0.0/8" if draft.ip == "ip" else "ip6 daddr != ::1"
        by_port = f"fib daddr type local {loopback} meta l4proto . th dport vmap"
    else:
        by_port = f"{draft.ip} daddr @{NODEPORT_IPS} meta l4proto . th dport vmap"
        header = f"type {draft.address_type}", 'comment "IPs that accept NodePort traffic"'
        draft.add_set(NODEPORT_IPS, *header)
        for address in addresses:
            draft.add_element(NODEPORT_IPS, address_text(address))
    draft.add_rules("nodeport-endpoints-check", f"{by_port} @{NO_ENDPOINT_NODEPORTS}")
    draft.add_rules("service-endpoints-check", f"{by_address} @{NO_ENDPOINT_SERVICES}")
    draft.add_rules("firewall-check", f"{by_address} @{FIREWALL_IPS}")
    draft.add_rules("services", f"{by_address} @{SERVICE_IPS}", f"{by_port} @{SERVICE_NODEPORTS}")


def nodeport_addresses(
    node: Node, options: KubeProxyOptions, family: IPFamily
) -> tuple[IPAddress, ...] | None:
    """The addresses that node ports answer on, or None for every local one but loopback.

    Without `--nodeport-addresses` of this family it is the node's own address only; a /0 means
    every one. Loopback never: nftables mode has no localhost node ports.
    """
    cidrs = [c for c in options.nodeport_addresses if c.version == family.version]
    if not cidrs:
        own = node.address(family)
        return () if own is None else (own,)
    if any(cidr.prefixlen == 0 for cidr in cidrs):
        return None
    local = (*node.addresses, *node.host_addresses)
    return tuple(a for a in local if not a.is_loopback and any(a in cidr for cidr in cidrs))


def local_traffic(
    node: Node, options: KubeProxyOptions, family: IPFamily, release: Release = DEFAULT
) -> tuple[str, str] | None:
    """What matches traffic of this node's pods, and its negation; None if it can't be told.

    v1.30 writes `iif "prefix*"` for InterfaceNamePrefix, which no kernel accepts: the transaction
    fails and no service works. `iifname` is what it means, and what later releases write.
    """
    detector = local_detector(options, node, family)
    if detector is None:
        return None
    if detector.cidr is not None:
        ip = "ip" if family is IPFamily.IPV4 else "ip6"
        cidr = network_text(detector.cidr)
        return f"{ip} saddr {cidr}", f"{ip} saddr != {cidr}"
    if detector.prefix:
        return f'iifname "{detector.interface}*"', f'iifname != "{detector.interface}*"'
    word = "iifname" if release.has(ReleaseChange.INTERFACES_BY_NAME) else "iif"
    return f'{word} "{detector.interface}"', f'{word} != "{detector.interface}"'


def address_text(address: IPAddress) -> str:
    """The address as nft prints it, which is libc's inet_ntop: `::ffff:192.0.2.1`."""
    if address.version == 4:
        return str(address)
    return socket.inet_ntop(socket.AF_INET6, address.packed)


def network_text(network: IPNetwork) -> str:
    """The network as nft prints it: without a prefix length if it is a single address."""
    address = address_text(network.network_address)
    return (
        address if network.prefixlen == network.max_prefixlen else f"{address}/{network.prefixlen}"
    )


def source_set_text(ranges: tuple[str, ...], addresses: tuple[IPAddress, ...]) -> str:
    """The anonymous set of these ranges and addresses as nft prints it after loading.

    A lone element loses its braces when it is parsed. Several are a set of intervals, /32 ones
    too because kube-proxy writes their length: sorted, neighbours and overlaps merged.
    """
    networks = [ip_network(text) for text in ranges]
    networks += [ip_network(address) for address in addresses]
    if len(networks) == 1:
        return network_text(networks[0])
    spans = _merged(sorted((int(n.network_address), int(n.broadcast_address)) for n in networks))
    version = networks[0].version
    return "{ " + ", ".join(span_text(first, last, version) for first, last in spans) + " }"


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged = [spans[0]]
    for first, last in spans[1:]:
        previous = merged[-1]
        if first <= previous[1] + 1:
            merged[-1] = previous[0], max(previous[1], last)
        else:
            merged.append((first, last))
    return merged


def span_text(first: int, last: int, version: int) -> str:
    """The addresses from first to last as nft prints them: one, a prefix or a range."""
    size = last - first + 1
    bits = 32 if version == 4 else 128
    low, high = _address(first, version), _address(last, version)
    if size.bit_count() == 1 and first % size == 0:
        prefix = bits - (size.bit_length() - 1)
        return network_text(ip_network(f"{low}/{prefix}"))
    return f"{address_text(low)}-{address_text(high)}"


def _address(number: int, version: int) -> IPAddress:
    return IPv4Address(number) if version == 4 else IPv6Address(number)
