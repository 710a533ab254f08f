"""iptables tables as text: what `iptables-restore` loads, and what `iptables-save` printed.

With `--noflush` a line `:CHAIN - [0:0]` makes a user-defined chain or flushes it; built-in chains
keep their rules through it, so they are flushed by `-F`. Chains that go are flushed first and
removed last, when no rule of the same transaction names them any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kns.addresses import IPFamily
from kns.plan.ops import TableChange
from kns.state.model import Chain, IptablesTable


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


def parse_save(text: str, family: IPFamily) -> tuple[IptablesTable, ...]:
    """What `iptables-save` printed, as tables with their chains in the printed order."""
    tables: list[IptablesTable] = []
    name = ""
    policies: dict[str, str] = {}
    rules: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")
            rules[chain].append(rule)
        elif line.startswith(":"):
            chain, policy, _ = line[1:].split(" ", 2)
            policies[chain] = "" if policy == "-" else policy
            rules[chain] = []
        elif line.startswith("*"):
            name = line[1:]
            policies, rules = {}, {}
        elif line == "COMMIT":
            chains = tuple(
                Chain(chain, tuple(rules[chain]), policy) for chain, policy in policies.items()
            )
            tables.append(IptablesTable(family, name, chains))
    return tuple(tables)
