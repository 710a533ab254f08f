"""How much a netns' rules are, in one measure for all kinds of them."""

from __future__ import annotations

from dataclasses import dataclass

from kns.state import ipset, iptables, ipvs, nft
from kns.state.iptables import TableChange
from kns.state.model import IptablesTable, Netns


@dataclass(frozen=True, slots=True)
class RulesetSize:
    """Rules; elements of sets and maps, virtual and real servers; bytes of the text of it all.

    The chains that the rules are in, and the sets and maps.
    """

    rules: int
    elements: int
    size: int
    chains: int = 0
    sets: int = 0


def ruleset_size(netns: Netns) -> RulesetSize:
    """The size of everything that a proxy keeps in the netns."""
    iptables = [len(chain.rules) for table in netns.iptables for chain in table.chains]
    nft = [len(chain.rules) for table in netns.nftables for chain in table.chains]
    sets = sum(len(table.sets) for table in netns.nftables) + len(netns.ipsets)
    elements = sum(len(item.elements) for table in netns.nftables for item in table.sets)
    entries = sum(len(item.entries) for item in netns.ipsets)
    servers = sum(1 + len(item.real_servers) for item in netns.virtual_servers)
    chains = [*iptables, *nft]
    size, content = len(_text(netns)), elements + entries + servers
    return RulesetSize(sum(chains), content, size, len(chains), sets)


def _text(netns: Netns) -> str:
    return "".join(
        (
            iptables.restore_text(_whole(table) for table in netns.iptables),
            *(nft.table_text(table) for table in netns.nftables),
            ipset.changes(netns.ipsets, ()),
            ipvs.save_text(netns.virtual_servers),
        )
    )


def _whole(table: IptablesTable) -> TableChange:
    return TableChange(table, tuple(chain.name for chain in table.chains), fresh=True)
