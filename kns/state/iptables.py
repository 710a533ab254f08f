"""iptables tables as text: what `iptables-save` prints, `iptables-restore` loads, and what differs.

With `--noflush` a line `:CHAIN - [0:0]` makes a user-defined chain or flushes it; built-in chains
keep their rules through it, so they are flushed by `-F`. Chains that go are flushed first and
removed last, when no rule of the same transaction names them any more.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from kns.addresses import IPFamily
from kns.state.model import Chain, Count, IptablesTable

#: the programs that read and write the tables of each family
SAVE = {IPFamily.IPV4: "iptables-save", IPFamily.IPV6: "ip6tables-save"}
RESTORE = {IPFamily.IPV4: "iptables-restore", IPFamily.IPV6: "ip6tables-restore"}
_NFACCT = re.compile(r"--nfacct-name +(\S+)")


# -- what differs ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableChange:
    """What differs in one iptables table.

    `write` are the chains whose whole content is written anew, `remove` the names of chains that
    nobody wants any more. `fresh` says that the table has nothing of its own yet.
    """

    table: IptablesTable
    write: tuple[str, ...]
    remove: tuple[str, ...] = ()
    fresh: bool = False


def accounting_objects(changes: Iterable[TableChange]) -> tuple[str, ...]:
    """The objects by which the written rules count packets; they must be there before the rules."""
    written = (
        chain for change in changes for chain in change.table.chains if chain.name in change.write
    )
    return tuple(dict.fromkeys(_counted_by(written)))


def unused_objects(
    desired: Iterable[IptablesTable], observed: Iterable[IptablesTable]
) -> tuple[str, ...]:
    """The objects by which observed rules count packets, and none of the desired ones."""
    counted = dict.fromkeys(_counted_by(chain for table in observed for chain in table.chains))
    if not counted:
        return ()
    kept = set(_counted_by(chain for table in desired for chain in table.chains))
    return tuple(name for name in counted if name not in kept)


def _counted_by(chains: Iterable[Chain]) -> Iterator[str]:
    for chain in chains:
        for rule in chain.rules:
            # nearly no rule does, and a search costs ten times as much as a look
            if "nfacct" in rule and (found := _NFACCT.search(rule)):
                yield found[1]


def table_changes(
    desired: Iterable[IptablesTable], observed: Iterable[IptablesTable]
) -> tuple[TableChange, ...]:
    """What differs, table by table; empty if nothing does.

    A table that nobody desires any more is emptied: its built-in chains get their policy back.
    """
    wanted = {table.name: table for table in desired}
    found = {table.name: table for table in observed}
    changes = []
    for name in sorted({*wanted, *found}):
        have = found.get(name)
        want = wanted.get(name) or _emptied(found[name])
        before = {chain.name: chain for chain in have.chains} if have else {}
        write = tuple(chain.name for chain in want.chains if before.get(chain.name) != chain)
        names = {chain.name for chain in want.chains}
        remove = tuple(sorted(chain for chain in before if chain not in names))
        if write or remove:
            changes.append(TableChange(want, write, remove, fresh=not before))
    return tuple(changes)


def _emptied(table: IptablesTable) -> IptablesTable:
    return replace(
        table,
        chains=tuple(
            replace(chain, rules=(), policy="ACCEPT") for chain in table.chains if chain.policy
        ),
    )


# -- text ------------------------------------------------------------------------------------------


def restore_text(changes: Iterable[TableChange]) -> str:
    """The input of `iptables-restore --noflush` that makes the changes, each table at once."""
    lines: list[str] = []
    for change in changes:
        lines.append(f"*{change.table.name}")
        lines += _table_lines(change)
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def _table_lines(change: TableChange) -> Iterator[str]:
    written = set(change.write)
    chains = [chain for chain in change.table.chains if chain.name in written]
    for chain in chains:
        yield f":{chain.name} {chain.policy or '-'} [0:0]"
    for name in change.remove:
        yield f":{name} - [0:0]"
    if change.fresh:
        # with a command that names no chain iptables-nft-restore fetches all chains once; without
        # one it looks each rule's chain up in a list of those named so far (20 s for 3,000
        # services instead of 4)
        yield "-F"
    for chain in chains:
        if chain.policy and not change.fresh:
            yield f"-F {chain.name}"
    for chain in chains:
        prefix = f"-A {chain.name} "
        for rule in chain.rules:
            yield prefix + rule
    for name in change.remove:
        yield f"-X {name}"


def save_text(tables: Iterable[IptablesTable]) -> str:
    """The tables as `iptables-save` prints them, counters zero; loads into an empty netns."""
    return "".join(line + "\n" for table in tables for line in _save_lines(table))


def _save_lines(table: IptablesTable) -> Iterable[str]:
    yield f"*{table.name}"
    for chain in table.chains:
        yield f":{chain.name} {chain.policy or '-'} [0:0]"
    for chain in table.chains:
        for rule in chain.rules:
            yield f"-A {chain.name} {rule}"
    yield "COMMIT"


def parse_save(text: str, family: IPFamily) -> tuple[IptablesTable, ...]:
    """What `iptables-save` printed, as tables with their chains in the printed order.

    With `-c` each rule begins with what it has counted.
    """
    tables: list[IptablesTable] = []
    name = ""
    chains: dict[str, _ReadChain] = {}
    for line in text.splitlines():
        if line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")
            chains[chain].rules.append(rule)
        elif line.startswith("["):
            count, _, rest = line.partition(" -A ")
            chain, _, rule = rest.partition(" ")
            chains[chain].rules.append(rule)
            chains[chain].counts.append(_parse_count(count))
        elif line.startswith(":"):
            chain, policy, count = line[1:].split(" ", 2)
            chains[chain] = _ReadChain("" if policy == "-" else policy, _parse_count(count))
        elif line.startswith("*"):
            name, chains = line[1:], {}
        elif line == "COMMIT":
            read = tuple(item.named(chain) for chain, item in chains.items())
            tables.append(IptablesTable(family, name, read))
    return tuple(tables)


@dataclass(slots=True)
class _ReadChain:
    policy: str
    policy_count: Count
    rules: list[str] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)

    def named(self, name: str) -> Chain:
        return Chain(name, tuple(self.rules), self.policy, tuple(self.counts), self.policy_count)


def _parse_count(text: str) -> Count:
    packets, _, octets = text.strip("[]").partition(":")
    return Count(int(packets), int(octets))


# -- one rule --------------------------------------------------------------------------------------

#: options without a value (man iptables-extensions); all others have one, but for `_TWO_VALUES`
_FLAGS = frozenset({
    "--rcheck", "--update", "--set", "--remove", "--reap", "--rttl", "--rsource", "--rdest",
    "--random", "--random-fully", "--persistent", "--limit-iface-in", "--limit-iface-out",
    "--return-nomatch", "--save-mark", "--restore-mark", "--notrack", "--syn",
    "--physdev-is-in", "--physdev-is-out", "--physdev-is-bridged",
})  # fmt: skip
_TWO_VALUES = frozenset({"--match-set", "--tcp-flags"})


@dataclass(frozen=True, slots=True)
class Option:
    """An option with its values: a match of the packet, or what a target does."""

    name: str
    values: tuple[str, ...] = ()
    inverted: bool = False

    @property
    def value(self) -> str:
        """Its first value; nothing where it has none."""
        return self.values[0] if self.values else ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: `options` of its matches, then its target (a chain or an extension) and that's own.

    `goto` tells `-g` from `-j`. A rule without target only counts.
    """

    options: tuple[Option, ...]
    target: str = ""
    goto: bool = False
    target_options: tuple[Option, ...] = ()

    @property
    def comment(self) -> str:
        """The text of its comment, or nothing."""
        found = (item.value for item in self.options if item.name == "--comment")
        return next(found, "")

    def target_option(self, name: str) -> str:
        """The value of an option of its target, or nothing."""
        return next((item.value for item in self.target_options if item.name == name), "")


@lru_cache(maxsize=65536)
def parse_rule(text: str) -> Rule:
    """The rule that stands in a `Chain`, without the leading `-A CHAIN`.

    Raises ValueError if it breaks off, with a quote or an option's value missing.
    """
    try:
        return _parse(shlex.split(text))
    except (StopIteration, ValueError):
        raise ValueError(f"not a rule of iptables: {text}") from None


def _parse(text: list[str]) -> Rule:
    words = iter(text)
    options: list[Option] = []
    target_options: list[Option] = []
    target, goto, inverted = "", False, False
    for word in words:
        if word == "!":
            inverted = True
        elif word in ("-j", "-g"):
            target, goto = next(words), word == "-g"
        elif word == "-m":
            next(words)
        else:
            count = 0 if word in _FLAGS else 2 if word in _TWO_VALUES else 1
            values = tuple([next(words) for _ in range(count)])
            (target_options if target else options).append(Option(word, values, inverted))
            inverted = False
    return Rule(tuple(options), target, goto, tuple(target_options))
