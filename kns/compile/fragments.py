"""A netns as a sum of fragments: what one concern adds to it.

The network's cables, the pods, kube-proxy, egress each compute what they want of a netns, and know
nothing of each other; what they want of one netns is joined here, in the order of the concerns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from kns.state.model import IptablesTable, Netns


def joined(fragments: Iterable[Netns]) -> tuple[Netns, ...]:
    """One netns for each name, in the order in which the names first appear."""
    by_name: dict[str, list[Netns]] = {}
    for fragment in fragments:
        by_name.setdefault(fragment.name, []).append(fragment)
    return tuple(
        parts[0] if len(parts) == 1 else _join(name, parts) for name, parts in by_name.items()
    )


def _join(name: str, parts: list[Netns]) -> Netns:
    values: dict[str, Any] = {}
    for field in fields(Netns):
        found = [getattr(part, field.name) for part in parts]
        if field.name == "iptables":
            values[field.name] = merged(table for tables in found for table in tables)
        elif isinstance(found[0], tuple):
            values[field.name] = tuple(item for items in found for item in items)
        else:
            said = [item for item in found if item != _of_nothing(field.name)]
            values[field.name] = said[0] if said else found[0]
    return Netns(**{**values, "name": name})


def _of_nothing(field: str) -> object:
    return getattr(_NOTHING, field)


_NOTHING = Netns("")


def merged(tables: Iterable[IptablesTable]) -> tuple[IptablesTable, ...]:
    """One table for each family and name; rules of a chain that several have follow each other."""
    found: dict[tuple[int, str], IptablesTable] = {}
    for table in tables:
        base = found.get((table.family.version, table.name))
        found[table.family.version, table.name] = table if base is None else _stacked(base, table)
    return tuple(sorted(found.values(), key=lambda table: table.family.version))


def _stacked(base: IptablesTable, above: IptablesTable) -> IptablesTable:
    chains = {chain.name: chain for chain in base.chains}
    for chain in above.chains:
        have = chains.get(chain.name)
        chains[chain.name] = (
            chain if have is None else replace(have, rules=(*have.rules, *chain.rules))
        )
    return replace(base, chains=tuple(chains.values()))
