"""nft tables for `kns.state.walk`: which rules a packet matches, and what they do.

`numgen` is followed to each of its values; sets that packets fill (`dynamic`) are still empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address, ip_network
from typing import assert_never

from kns.addresses import IPAddress, IPFamily
from kns.state.model import Netns, NftSet, NftTable
from kns.state.nft import Element, parse_element
from kns.state.nft_rule import (
    Dispatch,
    Key,
    Match,
    Operand,
    SetMark,
    Statement,
    Translate,
    VerdictStatement,
    parse_rule,
    parse_verdict,
)
from kns.state.packet import (
    BaseChain,
    Destination,
    Hook,
    ListedRule,
    MetRule,
    Passage,
    Relation,
    Verdict,
    following,
)
from kns.state.routing import is_local

_HOOK = re.compile(r"type (\w+) hook (\w+) priority ([^;]+); policy (\w+);")
_PRIORITIES = {
    "raw": -300,
    "mangle": -150,
    "dstnat": -100,
    "filter": 0,
    "security": 50,
    "srcnat": 100,
}
#: a key's value; None where the packet is not known
Value = IPAddress | int | str | None


def base_chains(netns: Netns, family: IPFamily) -> Iterator[BaseChain]:
    """The chains with a hook of the netns' tables of one family."""
    for table in netns.nftables:
        if table.family is family:
            chains = {chain.name: chain.rules for chain in table.chains}
            walker = _Table(netns, table, chains, {item.name: item for item in table.sets})
            for chain in table.chains:
                if found := _HOOK.match(chain.hook):
                    run = partial(walker.run, chain.name, found[4])
                    translates = found[1] == "nat"
                    place = Hook(found[2]), _priority(found[3]), translates
                    yield BaseChain(*place, run, table.name, chain.name, walker.listed)


def _priority(text: str) -> int:
    words = text.split()
    base = _PRIORITIES[words[0]] if words[0] in _PRIORITIES else int(words[0])
    return base + (int("".join(words[1:])) if words[1:] else 0)


@dataclass(frozen=True, slots=True)
class _Table:
    netns: Netns
    table: NftTable
    chains: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, NftSet]

    def run(self, chain: str, policy: str, start: Passage) -> Iterator[Passage]:
        """Through a base chain: what no rule decides its policy does."""
        for passage in self._chain(chain, start):
            if passage.verdict is None and policy == "drop":
                met = passage.met(MetRule(self.table.name, chain, "policy drop"))
                yield met.decided(Verdict.DROP)
            else:
                yield passage

    def _chain(self, name: str, start: Passage) -> Iterator[Passage]:
        waiting = [(0, start)]
        while waiting:
            position, passage = waiting.pop()
            if position == len(self.chains[name]):
                yield passage
                continue
            text = self.chains[name][position]
            with following(text):
                for after, ends in self._rule(name, text, passage):
                    if ends or after.verdict is not None:
                        yield after
                    else:
                        waiting.append((position + 1, after))

    def _rule(self, chain: str, text: str, start: Passage) -> Iterator[tuple[Passage, bool]]:
        """What the rule makes of the passage, and whether the chain ends with it."""
        passage = start.met(MetRule(self.table.name, chain, text))
        for statement in parse_rule(text):
            match statement:
                case Match():
                    if not self._fits(statement, passage):
                        yield start, False
                        return
                case SetMark():
                    passage = passage.marked(_new_mark(statement, passage.packet.mark))
                case Dispatch():
                    yield from self._dispatch(statement, passage, start)
                    return
                case Translate():
                    yield from ((item, True) for item in self._translated(statement, passage))
                    return
                case VerdictStatement():
                    yield from self._verdict(statement, passage)
                    return
                case _:
                    assert_never(statement)
        yield passage, False

    def _verdict(
        self, statement: VerdictStatement, passage: Passage
    ) -> Iterator[tuple[Passage, bool]]:
        match statement.verb:
            case "jump" | "goto":
                for after in self._chain(statement.chain, passage):
                    yield after, statement.verb == "goto"
            case "return":
                yield passage, True
            case "masquerade":
                yield passage.masqueraded(), True
            case verb:
                yield passage.decided(Verdict(verb)), True

    def _dispatch(
        self, statement: Dispatch, passage: Passage, start: Passage
    ) -> Iterator[tuple[Passage, bool]]:
        """Each element of a verdict map that fits; none: the chain goes on."""
        if not _has_transport(statement.keys, passage):
            yield start, False
            return
        values = self._values(statement.keys, passage)
        fitting = [item for item in self._elements(statement.operand) if _covers(item, values)]
        for element in fitting:
            yield from self._verdict(parse_verdict(element.value), passage)
        if not fitting:
            yield start, False

    def _translated(self, statement: Translate, passage: Passage) -> Iterator[Passage]:
        if statement.to is not None:
            yield passage.sent_to(*statement.to)
            return
        for element in self._elements(statement.operand):
            address, _, port = element.value.partition(" . ")
            yield passage.sent_to(ip_address(address), int(port or 0))

    def _fits(self, statement: Match, passage: Passage) -> bool:
        if not _has_transport(statement.keys, passage):
            return False
        values = self._values(statement.keys, passage)
        elements = self._elements(statement.operand)
        return any(_covers(item, values) for item in elements) is not statement.inverted

    def _elements(self, operand: Operand) -> Iterable[Element]:
        if operand.name:
            return map(parse_element, self.sets[operand.name].elements)
        return operand.elements

    def _values(self, keys: Sequence[Key], passage: Passage) -> list[Value]:
        """The values that the packet has for the keys; numgen's may be any."""
        packet = passage.packet
        found: dict[str, Value] = {
            "saddr": packet.source, "daddr": packet.destination, "l4proto": packet.protocol,
            "dport": packet.port, "sport": packet.source_port, "mark": packet.mark,
            "iifname": packet.in_interface, "iif": packet.in_interface,
            "oifname": packet.out_interface, "state": packet.state.lower(),
            "status": "dnat" if passage.destination_translated else "",
            "fib saddr type": "local" if is_local(self.netns, packet.source) else "",
            "fib daddr type": "local" if is_local(self.netns, packet.destination) else "",
            "numgen": None,
        }  # fmt: skip
        for key in keys:
            if key.name not in found:
                raise ValueError(f"unknown key of nft: {key.name}")
        return [_masked(found[key.name], key.mask) for key in keys]

    # -- listing -----------------------------------------------------------------------------------

    def listed(self, chain: str, destinations: Sequence[Destination]) -> Iterator[ListedRule]:
        """The rules of a chain; of a verdict map's elements those that can be about them."""
        for text in self.chains[chain]:
            with following(text):
                yield self._listed(text, destinations)

    def _listed(self, text: str, destinations: Sequence[Destination]) -> ListedRule:
        statements = parse_rule(text)
        relation, destinations = self._relation(statements, destinations)
        elements: tuple[ListedRule, ...] = ()
        chains: list[str] = []
        for item in statements:
            match item:
                case VerdictStatement() if item.chain:
                    chains.append(item.chain)
                case Dispatch() if item.operand.name:
                    elements = tuple(self._listed_elements(item, destinations))
                    if not elements and destinations:
                        relation = Relation.OTHER
                case Dispatch():
                    chains += [
                        parse_verdict(element.value).chain for element in item.operand.elements
                    ]
                case Translate():
                    found = self._elements(item.operand)
                    elements = tuple(ListedRule(f"{part.key} : {part.value}") for part in found)
                case _:
                    pass
        target = chains[0] if len(chains) == 1 else ""
        return ListedRule(text, relation, None, target, tuple(filter(None, chains)), elements)

    def _listed_elements(
        self, statement: Dispatch, destinations: Sequence[Destination]
    ) -> Iterator[ListedRule]:
        for text in self.sets[statement.operand.name].elements:
            element = parse_element(text)
            values = [_known(statement.keys, destination) for destination in destinations]
            if not values or any(_covers(element, found) for found in values):
                chain = parse_verdict(element.value).chain
                about = values and _names_one(statement.keys, element)
                relation = Relation.ABOUT if about else Relation.GENERAL
                yield ListedRule(text, relation, None, chain, (chain,) if chain else ())

    def _relation(
        self, statements: Iterable[Statement], destinations: Sequence[Destination]
    ) -> tuple[Relation, Sequence[Destination]]:
        """The rule's relation, and those of the destinations that can match it."""
        asked = [
            (item, tuple(self._elements(item.operand)))
            for item in statements
            if isinstance(item, Match) and _DESTINATION & {key.name for key in item.keys}
        ]
        if not asked or not destinations:
            return Relation.GENERAL, destinations
        fitting = [
            destination
            for destination in destinations
            if all(_may_match(match, elements, destination) for match, elements in asked)
        ]
        if not fitting:
            return Relation.OTHER, ()
        named = any(
            _names_one(match.keys, element)
            for match, elements in asked
            if not match.inverted
            for element in elements
        )
        return Relation.ABOUT if named else Relation.GENERAL, fitting


def _new_mark(statement: SetMark, mark: int) -> int:
    return mark | statement.value if statement.operator == "|" else mark ^ statement.value


def _has_transport(keys: Iterable[Key], passage: Passage) -> bool:
    """True if the packet is of the protocol whose ports the keys are."""
    return all(key.transport in ("", passage.packet.protocol) for key in keys)


def _masked(value: Value, mask: int) -> Value:
    return value & mask if isinstance(value, int) else value


def _covers(element: Element, values: Sequence[Value]) -> bool:
    parts = element.parts
    return len(parts) == len(values) and all(map(_is_in, parts, values))


def _is_in(text: str, value: Value) -> bool:
    if value is None:
        return True
    if isinstance(value, int):
        first, _, last = text.partition("-")
        return int(first, 0) <= value <= int(last or first, 0)
    if isinstance(value, str):
        name = text.strip('"')
        return value.startswith(name[:-1]) if name.endswith("*") else value == name
    first, _, last = text.partition("-")
    if last:
        return int(ip_address(first)) <= int(value) <= int(ip_address(last))
    return value in ip_network(text)


# -- what a look-up has to do with destinations ----------------------------------------------------

#: keys that a destination has a value for
_DESTINATION = frozenset({"daddr", "l4proto", "dport"})


def _may_match(match: Match, elements: Iterable[Element], destination: Destination) -> bool:
    values = _known(match.keys, destination)
    found = any(_covers(element, values) for element in elements)
    return None in values or not found if match.inverted else found


def _known(keys: Sequence[Key], destination: Destination) -> list[Value]:
    found: dict[str, Value] = {
        "daddr": destination.address,
        "l4proto": destination.protocol,
        "dport": destination.port,
    }
    return [found.get(key.name) for key in keys]


def _names_one(keys: Sequence[Key], element: Element) -> bool:
    """True if the element has a single address or port of a destination's, no network."""
    return any(
        key.name == "dport" or (key.name == "daddr" and not set("/-") & set(part))
        for key, part in zip(keys, element.parts, strict=True)
    )
