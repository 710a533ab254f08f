"""The part of kube-proxy's nft table that does not depend on the services.

    prerouting   -110 filter-prerouting-pre-dnat ─▶ firewall-check    what a LoadBalancer refuses
                 -100 nat-prerouting ─▶ services                      by destination ─▶ DNAT
    input           0 filter-input ─▶ nodeport-endpoints-check, service-endpoints-check
    forward         0 filter-forward ─▶ service-endpoints-check, cluster-ips-check
    output       -110 filter-output-pre-dnat ─▶ firewall-check
                 -100 nat-output ─▶ services
                    0 filter-output ─▶ service-endpoints-check, cluster-ips-check
    postrouting   100 nat-postrouting ─▶ masquerading                 what is marked, and hairpins

`nftables_generation.py` has what was otherwise before. Everything in the form in which
`nft -s list` prints it. Source: setupNFTables in pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kns.addresses import IPAddress, IPFamily, IPNetwork
from kns.compile.proxy.nftables_generation import ClusterIPMasquerade, Generation, generation
from kns.compile.proxy.nftables_words import address_text, network_set_text, network_text
from kns.compile.proxy.on_node import local_detector
from kns.compile.proxy.release import ReleaseChange, has
from kns.kinds.networking import KubeProxyOptions
from kns.kinds.nft_refusals import COMMENT_BYTES
from kns.kinds.node import Node
from kns.state.model import NftChain, NftSet, NftTable

TABLE = "kube-proxy"
MARK = "mark-for-masquerade"
REJECT = "reject-chain"
HAIRPINS = "hairpin-connections"

CLUSTER_IPS = "cluster-ips"
NODEPORT_IPS = "nodeport-ips"
NO_ENDPOINT_SERVICES = "no-endpoint-services"
NO_ENDPOINT_NODEPORTS = "no-endpoint-nodeports"
FIREWALL_IPS = "firewall-ips"
SERVICE_IPS = "service-ips"
SERVICE_NODEPORTS = "service-nodeports"


@dataclass(slots=True)
class TableDraft:
    """A table while it is being written; `finish` gives the value.

    A key that is already in a map stays as it is: two services that claim one address and port
    would make the kernel refuse kube-proxy's whole transaction; here the first one by name has it.
    """

    family: IPFamily
    structure: Generation
    #: the bit that has a packet masqueraded, as nft prints it
    mark: str
    #: comments longer than nft takes are cut; else the kernel gets no table at all
    cuts_comments: bool
    fails: bool = False
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
        self.elements.setdefault(name, {})

    def add_element(self, name: str, key: str, verdict: str = "", comment: str = "") -> None:
        """Put an element into a set, or with a verdict into a map."""
        if len(comment.encode()) > COMMENT_BYTES:
            self.fails |= not self.cuts_comments
            comment = comment.encode()[:COMMENT_BYTES].decode(errors="ignore")
        note = f' comment "{comment}"' if comment else ""
        value = f" : {verdict}" if verdict else ""
        self.elements.setdefault(name, {}).setdefault(key, f"{key}{note}{value}")

    def add_rules(self, chain: str, *rules: str) -> None:
        """Append rules to the chain, which comes into being with the first call."""
        self.chains.setdefault(chain, []).extend(rules)

    def mark_rule(self, match: str) -> str:
        """The rule, without comment, that has what `match` matches masqueraded."""
        mark = f"meta mark set meta mark | {self.mark}"
        return f"{match} {f'jump {MARK}' if self.structure.small_chains else mark}".lstrip()

    def part(self) -> TableDraft:
        """An empty draft for a part of this table: `include` puts it in."""
        return TableDraft(self.family, self.structure, self.mark, self.cuts_comments)

    def include(self, part: TableDraft) -> None:
        """Take a part's sets and elements in; its chains are given to `finish`."""
        self.fails |= part.fails
        self.headers |= part.headers
        for name, elements in part.elements.items():
            own = self.elements.setdefault(name, {})
            for key, text in elements.items():
                own.setdefault(key, text)

    def finished_chains(self) -> tuple[NftChain, ...]:
        """The chains as values."""
        return tuple(
            NftChain(
                name=name,
                hook=self.structure.hooks.get(name, ""),
                rules=tuple(rules),
                comment="helper for @no-endpoint-services / @no-endpoint-nodeports"
                if name == REJECT
                else "",
            )
            for name, rules in self.chains.items()
        )

    def finish(self, more: Iterable[NftChain] = ()) -> NftTable:
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
        chains = sorted((*self.finished_chains(), *more), key=lambda chain: chain.name)
        return NftTable(self.family, TABLE, sets, tuple(chains), comment="rules for kube-proxy")


def base_table(
    node: Node,
    options: KubeProxyOptions,
    family: IPFamily,
    service_cidrs: Sequence[IPNetwork] = (),
) -> TableDraft:
    """A table with every chain, set and map that is there without any service."""
    structure = generation(options.version)
    mark = f"0x{1 << options.nftables.masquerade_bit:08x}"
    draft = TableDraft(family, structure, mark, has(options.version, ReleaseChange.COMMENTS_CUT))
    for chain in structure.hooks:
        draft.add_rules(chain)
    for chain, rule in structure.jumps:
        draft.add_rules(chain, rule)
    _add_sets(draft)
    _add_masquerading(draft)
    _add_cluster_ips_check(draft, options, service_cidrs)
    draft.add_rules(REJECT, "reject")
    _add_dispatch(draft, node, options)
    return draft


def _add_masquerading(draft: TableDraft) -> None:
    ip, mark = draft.ip, draft.mark
    if draft.structure.small_chains:
        draft.add_rules(MARK, f"meta mark set meta mark | {mark}")
        draft.add_rules(
            "masquerading",
            f"meta mark & {mark} == 0x00000000 return",
            f"meta mark set meta mark ^ {mark}",
            "masquerade fully-random",
        )
        return
    address = draft.address_type
    draft.add_set(
        HAIRPINS,
        f"type {address} . {address} . inet_proto . inet_service",
        'comment "service hairpin connections"',
    )
    draft.add_rules(
        "masquerading",
        f"meta mark & {mark} != 0x00000000 meta mark set meta mark ^ {mark}"
        " masquerade fully-random",
        f"ct status dnat {ip} saddr . {ip} daddr . meta l4proto . th dport @{HAIRPINS}"
        " masquerade fully-random",
    )


def _add_cluster_ips_check(
    draft: TableDraft, options: KubeProxyOptions, service_cidrs: Sequence[IPNetwork]
) -> None:
    """What comes here was not translated: no service has the address and port."""
    draft.add_rules(
        "cluster-ips-check",
        f"{draft.ip} daddr @{CLUSTER_IPS} reject"
        ' comment "Reject traffic to invalid ports of ClusterIPs"',
    )
    own = [cidr for cidr in service_cidrs if cidr.version == draft.family.version]
    if own and has(options.version, ReleaseChange.SERVICE_CIDRS):
        # without it such a packet would loop between the node and its default gateway
        draft.add_rules(
            "cluster-ips-check",
            f"{draft.ip} daddr {network_set_text(own)} drop"
            ' comment "Drop traffic to unallocated ClusterIPs"',
        )


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
    chosen, only_local = f"{draft.ip} daddr @{NODEPORT_IPS}", ""
    if addresses is None:
        chosen = "ip daddr != 127.0.0.0/8" if draft.ip == "ip" else "ip6 daddr != ::1"
        only_local = "fib daddr type local "
    else:
        header = f"type {draft.address_type}", 'comment "IPs that accept NodePort traffic"'
        draft.add_set(NODEPORT_IPS, *header)
        for address in addresses:
            draft.add_element(NODEPORT_IPS, address_text(address))
    by_port = f"{chosen} meta l4proto . th dport vmap"
    # what is in input is local anyway
    draft.add_rules("nodeport-endpoints-check", f"{by_port} @{NO_ENDPOINT_NODEPORTS}")
    draft.add_rules("service-endpoints-check", f"{by_address} @{NO_ENDPOINT_SERVICES}")
    draft.add_rules("firewall-check", f"{by_address} @{FIREWALL_IPS}")
    draft.add_rules("services", *_masquerade_cluster_ips(draft, node, options))
    draft.add_rules(
        "services",
        f"{by_address} @{SERVICE_IPS}",
        f"{only_local}{by_port} @{SERVICE_NODEPORTS}",
    )


def _masquerade_cluster_ips(
    draft: TableDraft, node: Node, options: KubeProxyOptions
) -> tuple[str, ...]:
    """Packets to cluster IPs whose answer must come back this way, where one rule tells them."""
    if draft.structure.cluster_ip_masquerade is not ClusterIPMasquerade.AT_ONCE:
        return ()
    match = f"{draft.ip} daddr @{CLUSTER_IPS}"
    if options.nftables.masquerade_all:
        return (f'{draft.mark_rule(match)} comment "masquerade all clusterIP traffic"',)
    local = local_traffic(node, options, draft.family)
    if local is None:
        return ()
    comment = "masquerade clusterIP traffic from outside cluster"
    return (f'{draft.mark_rule(f"{match} {local[1]}")} comment "{comment}"',)


def nodeport_addresses(
    node: Node, options: KubeProxyOptions, family: IPFamily
) -> tuple[IPAddress, ...] | None:
    """The addresses that node ports answer on, or None for every local one but loopback.

    Without `--nodeport-addresses` it is the node's own address only; a /0 means every one, and so
    does a list without an address of the family, once the release sees it so. Loopback never:
    nftables mode has no localhost node ports.
    """
    cidrs = [c for c in options.nodeport_addresses if c.version == family.version]
    if not cidrs:
        everywhere = has(options.version, ReleaseChange.NODE_PORTS_WITHOUT_ADDRESS)
        own = node.address(family)
        if everywhere and (own is None or options.nodeport_addresses):
            return None
        return () if own is None else (own,)
    if any(cidr.prefixlen == 0 for cidr in cidrs):
        return None
    local = (*node.addresses, *node.host_addresses)
    return tuple(a for a in local if not a.is_loopback and any(a in cidr for cidr in cidrs))


def local_traffic(
    node: Node, options: KubeProxyOptions, family: IPFamily
) -> tuple[str, str] | None:
    """What matches traffic of this node's pods, and its negation; None if it can't be told.

    Before 1.33 kube-proxy writes `iif "prefix*"` for InterfaceNamePrefix, which names no interface
    that there is: with the first such rule nft refuses all of them.
    """
    detector = local_detector(options, node, family)
    if detector is None:
        return None
    if detector.cidr is not None:
        ip = "ip" if family is IPFamily.IPV4 else "ip6"
        cidr = network_text(detector.cidr)
        return f"{ip} saddr {cidr}", f"{ip} saddr != {cidr}"
    word = "iifname" if has(options.version, ReleaseChange.INTERFACES_BY_NAME) else "iif"
    name = f'"{detector.interface}{"*" if detector.prefix else ""}"'
    return f"{word} {name}", f"{word} != {name}"
