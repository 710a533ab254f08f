"""kube-proxy's nftables mode, pure: services and endpoints of one family → the table `kube-proxy`.

    services ── service-ips, service-nodeports ──▶ service-X    internalTrafficPolicy Cluster
                                                   local-X      … Local: DNAT by numgen and a map
                                                   external-X   from outside: mark or short cut
                                                      ▼         numgen random vmap
                                                   endpoint-Y   affinity, DNAT
    firewall-check ── firewall-ips ──▶ firewall-X               loadBalancerSourceRanges
    …-endpoints-check ── no-endpoint-… ──▶ reject-chain or drop

X is HASH-namespace/name/protocol/port, Y the same with __address/port. A chain that no packet can
reach any more is deleted by kube-proxy a second or more after it became empty; here it never is
part of the table. Without session affinity endpoints have chains up to 1.35 only
(`nftables_generation.py`). Source: syncProxyRules in pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kns.addresses import IPFamily, IPNetwork
from kns.compile.proxy.base import Compilation, Objects, Proxy, ProxyRules, start_sysctls
from kns.compile.proxy.endpoints import ports_of_service, slices_by_service
from kns.compile.proxy.nftables_base import TABLE, TableDraft, base_table, local_traffic
from kns.compile.proxy.nftables_port import add_service_port
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.networking import KubeProxyOptions, ProxyMode
from kns.kinds.node import Node
from kns.kinds.service import Service
from kns.state import nft
from kns.state.model import Netns, NftChain, NftTable, RuleNames
from kns.state.requirements import Feature, Need, Tool

#: what shows that the kernel has all that the rules use
_NFT_PROOF = """\
add table ip kns
add chain ip kns nat { type nat hook postrouting priority srcnat; }
add map ip kns services { type ipv4_addr . inet_proto . inet_service : verdict; }
add rule ip kns nat numgen random mod 2 vmap { 0 : accept, 1 : accept }
add rule ip kns nat mark & 0x4000 != 0 masquerade fully-random
"""
_CHAIN = """\
add table {family} kns
add chain {family} kns c {{ type {hook}; }}
add rule {family} kns c {rule}
"""
_INPUT, _POSTROUTING = "filter hook input priority 0", "nat hook postrouting priority srcnat"


def _expression(module: str, hook: str, rule: str, more: str = "") -> Feature:
    """An expression of the rules in both families, by the module that brings it."""
    proof = "".join(_CHAIN.format(family=f, hook=hook, rule=rule) for f in ("ip", "ip6"))
    use, modules = "kubeProxyMode: nftables", f"{module} {more}".strip()
    return Feature(module, Need.OPTIONAL, use, ("nft", "-f", "-"), modules, proof)


class NftablesProxy(Proxy):
    """kube-proxy's mode nftables."""

    MODE = ProxyMode.NFTABLES
    TOOLS = (Tool("nft", Need.OPTIONAL, "kubeProxyMode: nftables, NetworkPolicies"),)
    FEATURES = (
        Feature(
            "nftables",
            Need.OPTIONAL,
            "kubeProxyMode: nftables",
            ("nft", "-f", "-"),
            "nf_tables nft_numgen",
            _NFT_PROOF,
        ),
        _expression("nft_numgen", _INPUT, "numgen random mod 2 vmap { 0 : accept, 1 : accept }"),
        _expression("nft_masq", _POSTROUTING, "masquerade fully-random"),
        _expression("nft_fib", _INPUT, "fib daddr type local accept", "nft_fib_ipv4 nft_fib_ipv6"),
        _expression("nft_reject", _INPUT, "reject", "nft_reject_ipv4 nft_reject_ipv6"),
    )
    OWN = RuleNames(nft_tables=(TABLE,))

    def on_node(
        self,
        name: str,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        before: ProxyRules | None = None,
    ) -> ProxyRules:
        """The table `kube-proxy` of both families."""
        cidrs = objects.service_cidrs
        made = tuple(
            recompile(
                NftCompilation(node, options, family, cidrs).after(before),
                objects.services,
                objects.endpoint_slices,
            )
            for family in IPFamily
        )
        tables = tuple(table for item in made for table in item.tables)
        space = Netns(name, links=(), sysctls=start_sysctls(options), nftables=tables)
        return ProxyRules(space, made)

    def render(
        self,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        families: Iterable[IPFamily],
    ) -> str:
        """What `nft -f` loads."""
        tables = self._tables(objects, node, options, families)
        return "".join(nft.table_text(table) for table in tables)

    def _tables(
        self,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        families: Iterable[IPFamily],
    ) -> Iterator[NftTable]:
        services, slices = objects.services, objects.endpoint_slices
        cidrs = objects.service_cidrs
        for family in families:
            yield from nft_tables(services, slices, node, options, family, service_cidrs=cidrs)

    def is_in(self, space: Netns) -> bool:
        """A table of that name."""
        return any(table.name == TABLE for table in space.nftables)

    def health_check_addresses(self, node: Node, options: KubeProxyOptions) -> tuple[str, ...]:
        """Its --nodeport-addresses are `primary` by default: the node's own addresses."""
        if not options.nodeport_addresses:
            return tuple(str(address) for address in node.addresses)
        return super().health_check_addresses(node, options)


def nft_tables(
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    node: Node,
    options: KubeProxyOptions,
    family: IPFamily,
    *,
    service_cidrs: Sequence[IPNetwork] = (),
) -> tuple[NftTable, ...]:
    """What kube-proxy on `node` keeps in nftables for `family`: one table.

    None if nft refuses what a release writes: a comment that is too long (kubernetes issue 139515).
    """
    start = NftCompilation(node, options, family, tuple(service_cidrs))
    return recompile(start, services, slices).tables


@dataclass(frozen=True, slots=True)
class NftPart:
    """What one service adds to the table, and what that was made from."""

    service: Service
    slices: tuple[EndpointSlice, ...]
    draft: TableDraft
    chains: tuple[NftChain, ...]


@dataclass(frozen=True, slots=True)
class NftCompilation(Compilation[NftPart, NftTable]):
    """A table and the parts it is made of."""

    service_cidrs: tuple[IPNetwork, ...] = ()


def recompile(
    before: NftCompilation, services: Iterable[Service], slices: Iterable[EndpointSlice]
) -> NftCompilation:
    """The table for `services` and `slices`; the part of an unchanged service is taken as it is."""
    by_service = slices_by_service(slices)
    base = base_table(before.node, before.options, before.family, before.service_cidrs)
    local = local_traffic(before.node, before.options, before.family)
    parts: dict[tuple[str, str], NftPart] = {}
    for service in sorted(services, key=lambda item: (item.namespace, item.name)):
        key = (service.namespace, service.name)
        own, part = by_service.get(key, ()), before.parts.get(key)
        if part is None or part.service != service or part.slices != own:
            draft = base.part()
            views = ports_of_service(service, own, before.node, before.options, before.family)
            for view in views:
                add_service_port(draft, view, before.node, before.options, local)
            part = NftPart(service, own, draft, draft.finished_chains())
        base.include(part.draft)
        parts[key] = part
    chains = (chain for part in parts.values() for chain in part.chains)
    return replace(before, parts=parts, tables=() if base.fails else (base.finish(chains),))
