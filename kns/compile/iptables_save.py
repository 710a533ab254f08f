"""iptables tables as text: what `iptables-save` prints and `iptables-restore` loads."""

from __future__ import annotations

from collections.abc import Iterable

from kns.state.model import IptablesTable


def save_text(tables: Iterable[IptablesTable]) -> str:
    """The tables as `iptables-save` prints them, counters zero; loads into an empty netns."""
    return "".join(line + "\n" for table in tables for line in _lines(table))


def _lines(table: IptablesTable) -> Iterable[str]:
    yield f"*{table.name}"
    for chain in table.chains:
        yield f":{chain.name} {chain.policy or '-'} [0:0]"
    for chain in table.chains:
        for rule in chain.rules:
            yield f"-A {chain.name} {rule}"
    yield "COMMIT"
