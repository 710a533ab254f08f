"""How much kube-proxy has to write on a node under a setting: at first, and for a change. Pure.

Lines are what `iptables-restore` or `nft -f` reads, and servers of IPVS: what a sync costs grows
with them, by how much is the machine's matter.

Source: syncProxyRules in pkg/proxy/{iptables,ipvs,nftables}/proxier.go; for nftables mode the
transactions of real kube-proxies of 1.30, 1.34, 1.36 and 1.37.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kns.cluster.model import Cluster
from kns.compile.proxy.by_mode import proxy
from kns.compile.proxy.release import ReleaseChange, has
from kns.experiment.setting import ProxySetting
from kns.kinds.networking import ProxyMode
from kns.kinds.node import Node
from kns.kinds.service import Service
from kns.plan.size import RulesetSize, ruleset_size
from kns.state.model import Chain, Netns, NftChain


@dataclass(frozen=True, slots=True)
class SyncSize:
    """Lines of a first sync, and of one that follows a change of an endpoint.

    The endpoint is one of the Service with the most; None where no Service has one.
    """

    first: int
    endpoint: int | None


@dataclass(frozen=True, slots=True)
class NodeRules:
    """What one node has of it."""

    size: RulesetSize
    sync: SyncSize


def node_rules(cluster: Cluster, setting: ProxySetting, node: Node) -> NodeRules:
    """The rules of the node under the setting."""
    whole = _compiled(cluster, setting, node)
    size = ruleset_size(whole)
    first = _first_sync(size, setting.mode)
    busiest = _busiest(cluster)
    if busiest is None:
        return NodeRules(size, SyncSize(first, None))
    if setting.mode is ProxyMode.NFTABLES and not _is_partial(setting):
        return NodeRules(size, SyncSize(first, first))
    bare = _compiled(replace(cluster, services=()), setting, node)
    one = _compiled(replace(cluster, services=(busiest,)), setting, node)
    return NodeRules(size, SyncSize(first, _endpoint_sync(setting.mode, whole, bare, one)))


def _compiled(cluster: Cluster, setting: ProxySetting, node: Node) -> Netns:
    options = setting.options(cluster.network.kube_proxy)
    return proxy(setting.mode).on_node("node", cluster, node, options).netns


def _busiest(cluster: Cluster) -> Service | None:
    """The Service with the most endpoints, the first of several."""
    counts: dict[tuple[str, str], int] = {}
    for item in cluster.endpoint_slices:
        key = (item.namespace, item.service)
        counts[key] = counts.get(key, 0) + len(item.endpoints)
    served = [s for s in cluster.services if s.cluster_ips and counts.get(_key(s))]
    return max(served, key=lambda service: counts[_key(service)], default=None)


def _key(service: Service) -> tuple[str, str]:
    return service.namespace, service.name


def _is_partial(setting: ProxySetting) -> bool:
    return has(setting.release, ReleaseChange.PARTIAL_SYNC)


def _first_sync(size: RulesetSize, mode: ProxyMode) -> int:
    """Each chain is declared, in nftables mode also emptied; each rule and element is a line."""
    chains = 2 * size.chains if mode is ProxyMode.NFTABLES else size.chains
    return chains + size.rules + size.sets + size.elements


def _endpoint_sync(mode: ProxyMode, whole: Netns, bare: Netns, one: Netns) -> int:
    """The chains of the Service; in iptables and ipvs mode also those that belong to none."""
    common = {chain.name for chain in _chains(bare)}
    always = [chain for chain in _chains(whole) if chain.name in common]
    own = [chain for chain in _chains(one) if chain.name not in common]
    match mode:
        case ProxyMode.NFTABLES:
            return sum(2 + len(chain.rules) for chain in own)
        case ProxyMode.IPTABLES:
            return sum(1 + len(chain.rules) for chain in (*always, *own))
        case ProxyMode.IPVS:
            return 1 + sum(1 + len(chain.rules) for chain in always)


def _chains(netns: Netns) -> Iterable[Chain | NftChain]:
    for table in netns.iptables:
        yield from table.chains
    for nft in netns.nftables:
        yield from nft.chains
