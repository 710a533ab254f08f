"""The rules of a netns in the order in which packets meet them, chains where they are jumped to.

    prerouting ─▶ input │ forward ─▶ output ─▶ postrouting     base chains of a hook by priority

A chain is listed where it is first led to. Asked about destinations, rules that match none of them
are left out, and with them what leads to nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kns.addresses import IPFamily
from kns.state.model import Netns
from kns.state.packet import BaseChain, Destination, Hook, ListedRule, Relation
from kns.state.walk import base_chains


@dataclass(frozen=True, slots=True)
class ChainListing:
    """A chain with its rules; `hook`, `priority` and `translates` are those of its base chain."""

    table: str
    name: str
    hook: Hook
    priority: int
    translates: bool
    rules: tuple[RuleListing, ...] = ()

    @property
    def about(self) -> bool:
        """True if a rule of it, or what that leads to, names one of the destinations."""
        return any(item.about for item in self.rules)


@dataclass(frozen=True, slots=True)
class RuleListing:
    """A rule, the elements of its map, and the chains that are first led to from it.

    `about` is true if it names one of the destinations, or leads to what does.
    """

    rule: ListedRule
    about: bool = False
    elements: tuple[RuleListing, ...] = ()
    chains: tuple[ChainListing, ...] = ()


def in_order(
    netns: Netns, family: IPFamily, destinations: Sequence[Destination] = ()
) -> tuple[ChainListing, ...]:
    """The base chains of a family with rules, for packets to these destinations, or to any.

    Raises ValueError at a match or statement that no rule system's module here knows.
    """
    return tuple(_in_order(netns, family, destinations))


def _in_order(
    netns: Netns, family: IPFamily, destinations: Sequence[Destination]
) -> Iterator[ChainListing]:
    hooks = list(Hook)
    listers: dict[str, _Lister] = {}
    for base in sorted(base_chains(netns, family), key=lambda item: hooks.index(item.hook)):
        lister = listers.setdefault(base.table, _Lister(destinations))
        if base.name not in lister.listed:  # IPVS is called at two hooks
            found = lister.chain(base, base.name)
            if found.rules:
                yield found


@dataclass(frozen=True, slots=True)
class _Lister:
    """Lists a table; `listed` has what was, by name."""

    destinations: Sequence[Destination]
    listed: dict[str, ChainListing] = field(default_factory=dict)

    def chain(self, base: BaseChain, name: str) -> ChainListing:
        rules = tuple(
            found
            for item in base.rules(name, self.destinations)
            if (found := self._rule(base, item)) is not None
        )
        chain = ChainListing(base.table, name, base.hook, base.priority, base.translates, rules)
        self.listed[name] = chain
        return chain

    def _rule(self, base: BaseChain, item: ListedRule) -> RuleListing | None:
        if item.relation is Relation.OTHER:
            return None
        elements = tuple(
            found for part in item.elements if (found := self._rule(base, part)) is not None
        )
        new = tuple(
            self.chain(base, name) for name in dict.fromkeys(item.chains) if name not in self.listed
        )
        led_to: list[ChainListing] = [self.listed[name] for name in item.chains]
        if self.destinations and led_to and not elements and not any(c.rules for c in led_to):
            return None
        about = item.names or any(e.about for e in elements) or any(c.about for c in led_to)
        return RuleListing(item, about, elements, new)
