"""nft tables as text: what `nft -f` loads, what `nft -s list` says, what makes one of another.

A change is one transaction, in an order in which nothing that is still referred to goes:

    flush chains ─▶ delete elements ─▶ delete sets ─▶ sets and chains with rules ─▶ elements
    ─▶ delete chains

so that packets meet the old rules or the new ones, never a mixture, and what did not change
(the clients that an affinity set knows, for one) stays. Before Linux 6.2 a chain stays busy for a
moment after the last map element that names it is gone; the deletion of chains stands apart as
`cleanup` so that it can follow later there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kns.addresses import IPFamily
from kns.state.model import NftChain, NftSet, NftTable

FAMILIES = {IPFamily.IPV4: "ip", IPFamily.IPV6: "ip6"}
#: an anonymous set of one element, other than a map
LONE_ELEMENT = re.compile(r"addr (!= )?\{ (\S+) \}")
_OWN_MAP = re.compile(r" v?map \{ ")
_TARGET = re.compile(r"\b(?:goto|jump) ([^\s,}]+)")
#: chains with maps of their own in one transaction, where they may be in several
PIECE = 500
#: nft 1.0.6 leaves the parts out of what it prints, later ones do not; each reads both
_PARTS = re.compile(r"(?<= dnat )(ip6?) addr \. port (?=to )")
#: how nft prints `meta mark & MASK == VALUE` where the mask has the highest bits alone
_PREFIXED_MARK = re.compile(r"meta mark (!= )?(0x[0-9a-f]{8})/(\d+)(?!\S)")

_ELEMENT = re.compile(r'((?:"[^"]*"|[^"])*?)(?: comment "([^"]*)")?(?: : (.*))?')


@dataclass(frozen=True, slots=True)
class NftChange:
    """A transaction, and the deletion of the chains that it leaves empty and unused.

    `prepared` are transactions before it, of chains that no packet meets until it is done: the
    first has what the others need, which don't need each other.
    """

    text: str
    cleanup: str = ""
    prepared: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        """All of it in one."""
        return "".join((*self.prepared, self.text, self.cleanup))


def table_text(table: NftTable) -> str:
    """The table as `nft -f` loads it into a netns that has none of that name."""
    return "\n".join(_block(table, table.sets, table.chains)) + "\n"


def change(observed: NftTable | None, desired: NftTable | None) -> NftChange:
    """What turns the observed table into the desired one; None is an absent table."""
    if observed is None:
        return _fresh(desired) if desired is not None else NftChange("")
    if desired is None:
        return NftChange(f"delete table {_name(observed)}\n")
    if _needs_reload(observed, desired):
        return NftChange(f"delete table {_name(desired)}\n{table_text(desired)}")
    return _partial(observed, desired)


def _fresh(table: NftTable) -> NftChange:
    """The table where there is none: what chooses by a map of its own in pieces, if there is much.

    For each such map the kernel walks all that the transaction holds so far (nft_set_trans_bind):
    in one piece 5,000 of them take as long as 20,000 in pieces of a thousand. The chains that the
    maps lead to stand in the same piece, and in the first one if several pieces have them.
    """
    unbound = [chain for chain in table.chains if not chain.hook and not _uses_sets(chain)]
    mapped = {chain.name: chain for chain in unbound if _has_map(chain)}
    if len(mapped) <= PIECE:
        return NftChange(table_text(table))
    targets = {chain.name: _targets(chain) for chain in unbound}
    plain = targets.keys() - mapped.keys()
    ends = {name for name in plain if not targets[name]}
    leaves = {name for name in plain if targets[name] <= ends}
    alone = [name for name in mapped if targets[name] <= leaves]
    if len(alone) <= PIECE:
        return NftChange(table_text(table))
    return _in_pieces(
        table,
        [
            {found for name in alone[start : start + PIECE] for found in _reached(name, targets)}
            for start in range(0, len(alone), PIECE)
        ],
    )


def _in_pieces(table: NftTable, pieces: Sequence[set[str]]) -> NftChange:
    """The table with the chains of these names in transactions before it."""
    pieces_with = Counter(name for piece in pieces for name in piece)
    shared = {name for name, count in pieces_with.items() if count > 1}
    left = {chain.name: chain for chain in table.chains}
    prepared = []
    for names in (pieces[0] | shared, *(piece - shared for piece in pieces[1:])):
        chains = [found for name in sorted(names) if (found := left.pop(name, None)) is not None]
        prepared.append("\n".join(_block(table, (), chains)) + "\n")
    last = "\n".join(_block(table, table.sets, left.values())) + "\n"
    return NftChange(last, prepared=tuple(prepared))


def _targets(chain: NftChain) -> set[str]:
    """The chains to which its rules lead."""
    return {name for rule in chain.rules for name in _TARGET.findall(rule)}


def _reached(chain: str, targets: Mapping[str, set[str]]) -> Iterator[str]:
    """The chain, those it leads to, and those that they lead to."""
    yield chain
    for name in sorted(targets[chain]):
        yield name
        yield from sorted(targets[name])


def _uses_sets(chain: NftChain) -> bool:
    """True if a rule uses a set of the table."""
    return any("@" in rule for rule in chain.rules)


def _has_map(chain: NftChain) -> bool:
    """True if a rule has a map of its own."""
    return any(_OWN_MAP.search(rule) for rule in chain.rules)


def _needs_reload(observed: NftTable, desired: NftTable) -> bool:
    """True if a hook or comment differs, which stay what they were when they were made."""
    hooks = {chain.name: (chain.hook, chain.comment) for chain in observed.chains}
    return observed.comment != desired.comment or any(
        hooks.get(chain.name, (chain.hook, chain.comment)) != (chain.hook, chain.comment)
        for chain in desired.chains
    )


def _partial(observed: NftTable, desired: NftTable) -> NftChange:
    table = _name(desired)
    old_sets = {item.name: item for item in observed.sets}
    kept_sets = [
        item
        for item in desired.sets
        if item.name in old_sets and _same_kind(old_sets[item.name], item)
    ]
    kept = {item.name for item in kept_sets}
    lost = [name for name in old_sets if name not in kept]
    fresh = [item for item in desired.sets if item.name not in kept]
    old_chains = {chain.name: chain for chain in observed.chains}
    names = {chain.name for chain in desired.chains}
    stale = [name for name in old_chains if name not in names]
    write = [
        chain
        for chain in desired.chains
        if chain.rules != (before.rules if (before := old_chains.get(chain.name)) else None)
        or _mentions(chain, lost)
    ]
    lines = [f"flush chain {table} {chain.name}" for chain in write if chain.name in old_chains]
    lines += [f"flush chain {table} {name}" for name in stale]
    for item in kept_sets:
        lines += _element_lines(table, "delete", item.name, _lost(old_sets[item.name], item))
    lines += [f"delete {old_sets[name].kind} {table} {name}" for name in lost]
    if fresh or write:
        lines += _block(desired, fresh, write)
    for item in kept_sets:
        lines += _element_lines(table, "add", item.name, _gained(old_sets[item.name], item))
    cleanup = [f"delete chain {table} {name}" for name in stale]
    return NftChange(_joined(lines), _joined(cleanup))


def _same_kind(one: NftSet, other: NftSet) -> bool:
    return (one.kind, one.header) == (other.kind, other.header)


def _mentions(chain: NftChain, sets: Sequence[str]) -> bool:
    """True if the chain uses one of the sets: it can't go while a rule looks it up."""
    return any(f"@{name}" in rule.split() for rule in chain.rules for name in sets)


def _lost(before: NftSet, after: NftSet) -> list[str]:
    if before.elements == after.elements:
        return []
    kept = set(after.elements)
    return [parse_element(element).key for element in before.elements if element not in kept]


def _gained(before: NftSet, after: NftSet) -> list[str]:
    if before.elements == after.elements:
        return []
    had = set(before.elements)
    return [element for element in after.elements if element not in had]


def _element_lines(table: str, verb: str, name: str, elements: Sequence[str]) -> Iterator[str]:
    if elements:
        yield f"{verb} element {table} {name} {{ {', '.join(elements)} }}"


def _block(table: NftTable, sets: Iterable[NftSet], chains: Iterable[NftChain]) -> Iterator[str]:
    yield f"table {_name(table)} {{"
    if table.comment:
        yield f'\tcomment "{table.comment}"'
    for item in sets:
        yield f"\t{item.kind} {item.name} {{"
        yield from (f"\t\t{line}" for line in item.header)
        if item.elements:
            yield f"\t\telements = {{ {', '.join(item.elements)} }}"
        yield "\t}"
    for chain in sorted(chains, key=_place):
        yield f"\tchain {chain.name} {{"
        if chain.comment:
            yield f'\t\tcomment "{chain.comment}"'
        if chain.hook:
            yield f"\t\t{chain.hook}"
        yield from (f"\t\t{_loadable(rule)}" for rule in chain.rules)
        yield "\t}"
    yield "}"


def _place(chain: NftChain) -> int:
    """Where a chain stands in the text: hooks first, then those that choose by a map of their own.

    For each such map the kernel walks all that the transaction holds so far (`_fresh`). With the
    thousands of rules of the endpoints before them, 5,000 services take a minute.
    """
    if chain.hook:
        return 0
    return 1 if any(_OWN_MAP.search(rule) for rule in chain.rules) else 2


def _loadable(rule: str) -> str:
    """The rule in a spelling that comes back as it stands.

    Of several overlapping ranges one element may be left, in braces; a lone element in braces
    would be read as no set at all, and be printed without them. Named twice it stays a set.
    """
    return LONE_ELEMENT.sub(r"addr \1{ \2, \2 }", rule)


def _name(table: NftTable) -> str:
    return f"{FAMILIES[table.family]} {table.name}"


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


# -- elements --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Element:
    """`key` has a part for each of a concatenation; `value` is empty in a set."""

    key: str
    comment: str = ""
    value: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of its key."""
        return tuple(self.key.split(" . "))


def parse_element(text: str) -> Element:
    """The element as `nft -s list` prints it; in a comment any characters but quotes may stand."""
    found = _ELEMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"not an element of nft: {text}")
    return Element(found[1], found[2] or "", found[3] or "")


# -- reading ---------------------------------------------------------------------------------------


def parse_tables(text: str) -> tuple[NftTable, ...]:
    """What `nft -s list table` or `list ruleset` printed: tables of the families ip and ip6.

    Sets, elements and chains come sorted, since their order has no meaning; elements of dynamic
    sets are left out.
    """
    families = {name: family for family, name in FAMILIES.items()}
    tables: list[NftTable] = []
    lines = iter(text.splitlines())
    for line in lines:
        words = line.split()
        if words[:1] == ["table"] and words[3:4] == ["{"]:
            table = _parse_table(lines, families.get(words[1]), words[2])
            if table is not None:
                tables.append(table)
    return tuple(tables)


def _parse_table(lines: Iterator[str], family: IPFamily | None, name: str) -> NftTable | None:
    comment = ""
    sets: list[NftSet] = []
    chains: list[NftChain] = []
    for line in lines:
        text = line.strip()
        if text == "}":
            break
        if text.startswith("comment "):
            comment = _unquoted(text)
        elif text.endswith("{"):
            kind, _, rest = text.partition(" ")
            body = list(_body(lines))
            if kind == "chain":
                chains.append(_parse_chain(rest.removesuffix(" {"), body))
            elif kind in ("set", "map"):
                sets.append(_parse_set(kind, rest.removesuffix(" {"), body))
    if family is None:
        return None
    return NftTable(
        family,
        name,
        tuple(sorted(sets, key=lambda item: item.name)),
        tuple(sorted(chains, key=lambda chain: chain.name)),
        comment,
    )


def _body(lines: Iterator[str]) -> Iterator[str]:
    """The lines of a block inside a table, up to its closing brace."""
    for line in lines:
        if line == "\t}":
            return
        yield line.strip()


def _parse_chain(name: str, body: Sequence[str]) -> NftChain:
    hook = comment = ""
    rules: list[str] = []
    for line in body:
        if line.startswith("type "):
            hook = line
        elif line.startswith("comment "):
            comment = _unquoted(line)
        elif line:
            rules.append(_PREFIXED_MARK.sub(_masked_mark, _PARTS.sub(r"\1 ", line)))
    return NftChain(name, hook, tuple(rules), comment)


def _masked_mark(match: re.Match[str]) -> str:
    differs, value, length = match.groups()
    mask = 0xFFFFFFFF & ~(0xFFFFFFFF >> int(length))
    return f"meta mark & 0x{mask:08x} {'!=' if differs else '=='} {value}"


def _parse_set(kind: str, name: str, body: Sequence[str]) -> NftSet:
    start = next((i for i, line in enumerate(body) if line.startswith("elements = {")), len(body))
    header = tuple(body[:start])
    dynamic = any(line.startswith("flags ") and "dynamic" in line for line in header)
    elements: tuple[str, ...] = ()
    if not dynamic and start < len(body):
        text = " ".join(body[start:]).removeprefix("elements = {").removesuffix("}")
        elements = tuple(sorted(_elements(text)))
    return NftSet(kind, name, header, elements, dynamic)


def _elements(text: str) -> Iterator[str]:
    """Elements parted by commas outside quotes."""
    if '"' not in text:
        yield from (element.strip() for element in text.split(","))
        return
    for match in re.finditer(r'(?:[^,"]|"[^"]*")+', text):
        yield match.group().strip()


def _unquoted(line: str) -> str:
    return line.partition(" ")[2].strip('"')
