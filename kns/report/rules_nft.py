"""kube-proxy's nftables rules of a node in the order in which a packet meets them.

    base chains ─▶ chains ─▶ maps: the elements of one Service ─▶ its chains

A rule that looks up a map is shown with those elements of it that belong to the Service. kube-proxy
gives its nftables rules no counters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kns.report.rules import CountedRule, Entry, belongs
from kns.state.model import NftSet, NftTable

_BASE_CHAINS = {
    "filter-prerouting": "what arrives, before translation",
    "nat-prerouting": "the first packet of a connection from a pod, a node or outside",
    "filter-output": "packets of the node itself, before translation",
    "nat-output": "the first packet of a connection that the node itself opens",
    "filter-output-post-dnat": "packets of the node itself, after translation",
    "filter-input": "packets to the node itself",
    "filter-forward": "packets that the node passes on",
    "nat-postrouting": "the first packet of a connection, as it leaves",
}
_PURPOSES = {
    "firewall-check": "drops what a balancer's source ranges do not let in",
    "nodeport-endpoints-check": "refuses or drops what no endpoint can take, at node ports",
    "service-endpoints-check": "refuses or drops what no endpoint can take",
    "cluster-ips-check": "refuses ports that no service has",
    "reject-chain": "refuses at once",
    "services": "finds the service by address, protocol and port",
    "masquerading": "gives marked packets the node's address, so that the answer comes back",
    "mark-for-masquerade": "marks the packet, so that it gets the node's address",
}
_PREFIXES = {
    "service": "takes one of all endpoints by chance (policy Cluster)",
    "local": "takes one of this node's own endpoints by chance (policy Local)",
    "external": "from outside: masquerades, or keeps the client's address (policy Local)",
    "firewall": "drops what comes from none of the balancer's source ranges",
    "endpoint": "the endpoint; a pod that reaches itself is masqueraded",
}
_TARGET = re.compile(r"(?:goto|jump) ([^\s,}]+)")
_MAP = re.compile(r"vmap @(\S+)")
_COMMENT = re.compile(r'comment "([^"]*)"')


def walk_nft(table: NftTable, service: str = "") -> tuple[Entry, ...]:
    """The rules that a packet to `service` (`namespace/name`; default: to any) meets, in order."""
    chains = {chain.name: chain.rules for chain in table.chains}
    maps = {item.name: item for item in table.sets if item.kind == "map"}
    entries: list[Entry] = []
    walker = _Walker(table.name, chains, maps, service, set())
    for name, about in _BASE_CHAINS.items():
        below = tuple(walker.rules(name, 1)) if name in chains else ()
        if below:
            entries.append(Entry(table.name, name, 0, about))
            entries += below
    return tuple(entries)


@dataclass(frozen=True, slots=True)
class _Walker:
    """A table, and the chains of it that have been shown."""

    table: str
    chains: Mapping[str, tuple[str, ...]]
    maps: Mapping[str, NftSet]
    service: str
    seen: set[str]

    def rules(self, chain: str, depth: int) -> Iterator[Entry]:
        for rule in self.chains[chain]:
            if not self._matters(rule):
                continue
            yield self._line(chain, depth, rule)
            for element in self._elements(rule):
                yield self._line(chain, depth + 1, element)
                yield from self._below(element, depth + 2)
            yield from self._below(rule, depth + 1)

    def _below(self, text: str, depth: int) -> Iterator[Entry]:
        for target in _TARGET.findall(text):
            if target in self.chains and target not in self.seen:
                self.seen.add(target)
                yield Entry(self.table, target, depth, chain_purpose(target))
                yield from self.rules(target, depth + 1)

    def _line(self, chain: str, depth: int, text: str) -> Entry:
        return Entry(self.table, chain, depth, rule=CountedRule(None, None, text))

    def _matters(self, rule: str) -> bool:
        """A look-up matters if it can find the service, a jump if something below it matters."""
        if not self.service:
            return True
        if _MAP.search(rule):
            return bool(self._elements(rule))
        shared = [name for name in _TARGET.findall(rule) if name in _PURPOSES]
        return not shared or any(
            self._matters(below) for name in shared for below in self.chains.get(name, ())
        )

    def _elements(self, rule: str) -> tuple[str, ...]:
        found = _MAP.search(rule)
        if found is None or found[1] not in self.maps:
            return ()
        elements = self.maps[found[1]].elements
        return tuple(item for item in elements if not self.service or self._own(item))

    def _own(self, element: str) -> bool:
        """By its comment, or by the chain it leads to: `service-HASH-namespace/name/tcp/port`."""
        found = _COMMENT.search(element)
        if found is not None and belongs(found[1], self.service):
            return True
        return any(
            target.partition("-")[2][len("HASHHASH-") :].startswith(f"{self.service}/")
            for target in _TARGET.findall(element)
        )


def chain_purpose(chain: str) -> str:
    """What one of kube-proxy's chains is for, in a short plain sentence; nothing of others."""
    return _PURPOSES.get(chain) or _PREFIXES.get(chain.partition("-")[0], "")
