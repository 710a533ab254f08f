"""`kns rules` for people and as JSON: each rule under the chain that it is met in, by jump.

PACKETS  RULE
         nat PREROUTING: the first packet of a connection from a pod, a node or outside
     37    -j KUBE-SERVICES
           KUBE-SERVICES: finds the service by address, protocol and port
     30      -d 10.96.27.223/32 -p tcp --dport 80 -j KUBE-SVC-PYUKQ5O736Y2HVUG
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kns.report.chain_words import hook_purpose, purpose
from kns.report.paint import Painter, Style
from kns.report.printable import printable
from kns.report.rule_words import folded, short, wrapped
from kns.report.words import counted
from kns.state.listing import ChainListing, RuleListing
from kns.state.packet import ListedRule

#: columns for the packets, and where the rules begin
_PACKETS, _INDENT = 8, 10
_STEP = "  "
#: below so many columns words would stand one to a line
_ROOM_MIN = 30


@dataclass(frozen=True, slots=True)
class Options:
    """How the rules are shown.

    `raw`: with their full text, one line each. `general`: also those that every packet meets,
    whatever its destination.
    """

    raw: bool = False
    general: bool = False
    colour: bool = False
    width: int = 80


def rules_text(chains: Iterable[ChainListing], options: Options) -> str:
    """The rules for people: packets counted, then the rule, indented by jump."""
    teller = _Teller(options, Painter(options.colour))
    return "".join(f"{line.rstrip()}\n" for line in teller.lines(tuple(chains)))


@dataclass(frozen=True, slots=True)
class _Teller:
    options: Options
    paint: Painter

    def lines(self, chains: tuple[ChainListing, ...]) -> Iterator[str]:
        shown = chains if self.options.general else tuple(_specific(chains))
        if shown:
            yield f"{'PACKETS':>{_PACKETS}}  RULE"
        for chain in shown:
            yield from self._head(f"{chain.table} {chain.name}", _base_purpose(chain), 0)
            yield from self._rules(chain, 1)
        hidden = _size(chains) - _size(shown)
        if hidden:
            text = f"and {counted(hidden, 'rule')} that any packet meets (--all)"
            yield self.paint(text if shown else f"none; {text}", Style.QUIET)

    def _rules(self, chain: ChainListing, depth: int) -> Iterator[str]:
        for item in chain.rules:
            yield from self._rule(item, depth)

    def _rule(self, item: RuleListing, depth: int) -> Iterator[str]:
        yield from self._text(item.rule, depth)
        for element in item.elements:
            yield from self._rule(element, depth + 1)
        if depth == 1 and item.rule.chains and not item.chains:
            yield f"{'':{_INDENT}}{_STEP}{item.rule.target}: as above"
        for chain in item.chains:
            yield from self._head(chain.name, _purpose(chain), depth)
            yield from self._rules(chain, depth + 1)

    def _head(self, name: str, about: str, depth: int) -> Iterator[str]:
        indent = f"{'':{_INDENT}}{_STEP * depth}"
        text = printable(f"{name}: {about}" if about else name)
        room = max(self.options.width - len(indent), _ROOM_MIN)
        first, *rest = [text] if self.options.raw else wrapped(text, room, _STEP)
        end = len(printable(name))
        yield f"{indent}{self.paint(first[:end], Style.TITLE)}{first[end:]}"
        yield from (f"{indent}{line}" for line in rest)

    def _text(self, rule: ListedRule, depth: int) -> Iterator[str]:
        text = printable(rule.text if self.options.raw else short(rule.text) or "(counts only)")
        packets = "" if rule.count is None else str(rule.count.packets)
        style = Style.QUIET if packets == "0" else None
        indent = _STEP * depth
        for number, line in enumerate(self._folded(text, _INDENT + len(indent))):
            body = (
                f"{packets:>{_PACKETS}}  {indent}{line}"
                if not number
                else (f"{'':{_INDENT}}{indent}{_STEP}{line}")
            )
            yield body if style is None else self.paint(body, style)

    def _folded(self, text: str, indent: int) -> list[str]:
        room = max(self.options.width - indent, _ROOM_MIN)
        return [text] if self.options.raw else folded(text, room)


def _specific(chains: Iterable[ChainListing], *, named: bool = False) -> Iterator[ChainListing]:
    """What names a destination, what leads to that, and (`named`) what that leads to."""
    for chain in chains:
        rules = tuple(_specific_rules(chain.rules, named=named))
        if rules:
            yield replace(chain, rules=rules)


def _specific_rules(rules: Iterable[RuleListing], *, named: bool) -> Iterator[RuleListing]:
    for item in rules:
        if named or item.about:
            own = named or item.rule.names
            elements = tuple(_specific_rules(item.elements, named=named))
            yield replace(item, elements=elements, chains=tuple(_specific(item.chains, named=own)))


def _size(chains: Iterable[ChainListing]) -> int:
    return sum(_rule_size(item) for chain in chains for item in chain.rules)


def _rule_size(item: RuleListing) -> int:
    return 1 + _size(item.chains) + sum(map(_rule_size, item.elements))


def _base_purpose(chain: ChainListing) -> str:
    own = _purpose(chain) if chain.table == "ipvs" else ""
    return own or hook_purpose(chain.hook, chain.priority, translates=chain.translates)


def _purpose(chain: ChainListing) -> str:
    return purpose(chain.table, chain.name, (item.rule.text for item in chain.rules))


# -- JSON ------------------------------------------------------------------------------------------


def rules_json(chains: Iterable[ChainListing]) -> list[dict[str, object]]:
    """The rules as plain data, each with its chain's purpose; chain heads are not entries."""
    return [
        entry
        for chain in chains
        for item in chain.rules
        for entry in _rule_json(chain, item, 0, _base_purpose(chain))
    ]


def _rule_json(
    chain: ChainListing, item: RuleListing, depth: int, about: str
) -> Iterator[dict[str, object]]:
    rule = item.rule
    yield {
        "table": chain.table,
        "chain": chain.name,
        "depth": depth,
        "packets": None if rule.count is None else rule.count.packets,
        "bytes": None if rule.count is None else rule.count.octets,
        "rule": rule.text,
        "target": rule.target,
        "about": about,
    }
    for element in item.elements:
        yield from _rule_json(chain, element, depth, about)
    for below in item.chains:
        for part in below.rules:
            yield from _rule_json(below, part, depth + 1, _purpose(below))
