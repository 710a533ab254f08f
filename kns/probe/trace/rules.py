"""The kernel's messages about rules → which base chains a packet went through, and what matched.

Pure. A message names its rule by a handle; the handle's place among those of its chain is the
rule's place in what `iptables-save` or `nft list` prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kns.kernel.nftrace import NFPROTO_INET, ChainRules, TraceMessage
from kns.probe.trace.model import ChainKey, RuleMet, Traversal
from kns.probe.trace.packet import CapturedPacket, parse_ip


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The chains of some netns: their handles and hooks, and their rules as text."""

    chains: Mapping[ChainKey, ChainRules]
    texts: Mapping[ChainKey, tuple[str, ...]]

    def chain(self, key: ChainKey) -> ChainRules | None:
        """The chain; tables of the family inet serve both others."""
        netns, _family, table, chain = key
        return self.chains.get(key) or self.chains.get((netns, NFPROTO_INET, table, chain))

    def text(self, key: ChainKey, handle: int) -> str:
        """The rule with that handle, or its number where it can't be told."""
        found = self.chain(key)
        if found is not None and handle in found.handles:
            texts = self.texts.get((key[0], found.family, *key[2:]), ())
            if len(texts) == len(found.handles):
                return texts[found.handles.index(handle)]
        return f"rule with handle {handle}"


@dataclass(slots=True)
class _Open:
    """A base chain that a packet is in: what is known so far."""

    first: TraceMessage
    packet: CapturedPacket
    rules: list[RuleMet] = field(default_factory=list)
    #: the chains from the base chain down to the one that is being read
    stack: list[str] = field(default_factory=list)
    verdict: str = ""
    by_policy: bool = False


def traversals(steps: Iterable[TraceMessage], ruleset: Ruleset) -> tuple[Traversal, ...]:
    """What each packet met, one traversal a base chain, in the order in which they began."""
    current: dict[tuple[str, int], _Open] = {}
    begun: list[_Open] = []
    for step in steps:
        key = (step.netns, step.packet)
        if step.network:
            packet = parse_ip(step.network + step.transport)
            if packet is None:
                current.pop(key, None)
                continue
            current[key] = _Open(step, packet, stack=[step.chain])
            begun.append(current[key])
        if key in current:
            _take(current[key], step, ruleset)
    return tuple(_closed(item, ruleset) for item in begun)


def _take(item: _Open, step: TraceMessage, ruleset: Ruleset) -> None:
    if step.is_policy:
        item.verdict, item.by_policy = step.verdict, True
        return
    if step.chain in item.stack:
        del item.stack[item.stack.index(step.chain) + 1 :]
    if not step.handle:  # the end of a chain: back to where it was called from
        if item.rules and item.rules[-1].target == step.chain:
            item.rules[-1] = replace(item.rules[-1], led_nowhere=True)
        return
    text = ruleset.text((step.netns, step.family, step.table, step.chain), step.handle)
    depth = max(len(item.stack) - 1, 0)
    item.rules.append(RuleMet(step.chain, text, step.verdict, step.target, depth))
    if step.verdict in ("jump", "goto"):
        item.stack.append(step.target)
    elif step.verdict not in ("continue", "return"):
        item.verdict = step.verdict


def _closed(item: _Open, ruleset: Ruleset) -> Traversal:
    first = item.first
    chain = ruleset.chain((first.netns, first.family, first.table, first.chain))
    return Traversal(
        netns=first.netns,
        hook=chain.hook if chain is not None else first.chain.lower(),
        family=chain.family if chain is not None else first.family,
        table=first.table,
        chain=first.chain,
        packet=item.packet,
        rules=tuple(item.rules),
        # a rule that returns from a base chain leaves it to the policy
        verdict=item.verdict or "accept",
        by_policy=item.by_policy,
    )


def chains_met(found: Sequence[Traversal]) -> set[ChainKey]:
    """Every chain in which a rule matched."""
    return {
        (item.netns, item.family, item.table, rule.chain) for item in found for rule in item.rules
    }
