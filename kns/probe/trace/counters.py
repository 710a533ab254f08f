"""Rules met, told by their counters: where the kernel can't trace them one by one.

That is so of the legacy iptables programs, and before Linux 5.12. A rule's counter tells that some
packet matched while the probe ran, not which: in table nat that is the first packet of a
connection, in the others any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kns.addresses import IPFamily
from kns.kernel import processes
from kns.kernel.nftrace import NFPROTO_IPV4, NFPROTO_IPV6
from kns.kernel.processes import Context
from kns.probe.trace.model import ChainKey, RuleMet, Traversal
from kns.probe.trace.packet import CapturedPacket
from kns.state.iptables import SAVE, parse_save
from kns.state.model import Chain, IptablesTable

#: base chains in the order in which a forwarded or own packet meets them
ORDER = (
    ("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("nat", "PREROUTING"),
    ("raw", "OUTPUT"), ("mangle", "OUTPUT"), ("nat", "OUTPUT"), ("filter", "OUTPUT"),
    ("mangle", "INPUT"), ("filter", "INPUT"), ("nat", "INPUT"),
    ("mangle", "FORWARD"), ("filter", "FORWARD"),
    ("mangle", "POSTROUTING"), ("nat", "POSTROUTING"),
)  # fmt: skip
_TARGET = re.compile(r"-[jg] (\S+)")
_PROTOCOL = re.compile(r"(?<!! )-p (\S+)")
_STOPS = ("DROP", "REJECT")


#: by netns, family, table and chain
Counters = Mapping[ChainKey, Chain]


def is_legacy() -> bool:
    """True if the iptables programs are those that do not use nf_tables."""
    done = processes.run([SAVE[IPFamily.IPV4], "--version"], timeout=5)
    return "legacy" in done.stdout


def read(names: Sequence[str], families: Sequence[IPFamily]) -> dict[ChainKey, Chain]:
    """The counters of every chain of the iptables programs in these netns."""
    found: dict[ChainKey, Chain] = {}
    for name in names:
        for family in families:
            done = processes.run([SAVE[family], "-c"], context=Context(name))
            found |= chains_of(name, parse_save(done.stdout, family))
    return found


def chains_of(name: str, tables: Iterable[IptablesTable]) -> dict[ChainKey, Chain]:
    """The chains of a netns' tables."""
    return {
        (name, table.family.af, table.name, chain.name): chain
        for table in tables
        for chain in table.chains
    }


def traversals(
    before: Counters, after: Counters, packet: CapturedPacket, home: str
) -> tuple[Traversal, ...]:
    """The base chains with a rule that counted between the two, for the packet of the probe.

    Only where it began, in the netns `home`, is it a packet of the netns' own.
    """
    family = NFPROTO_IPV4 if packet.source.version == 4 else NFPROTO_IPV6
    names = dict.fromkeys(key[0] for key in after)
    found: list[Traversal] = []
    for name in names:
        for table, chain in ORDER:
            key = (name, family, table, chain)
            elsewhere = {"OUTPUT": name != home, "INPUT": name == home}
            if key not in after or elsewhere.get(chain, False):
                continue
            rules = tuple(_Walk(before, after, packet).rules(key, 0, frozenset()))
            policy = _policy(before, after, key)
            if rules or policy == "drop":
                found.append(_traversal(key, packet, rules, policy))
                if found[-1].verdict == "drop":
                    break
    return tuple(found)


def _traversal(
    key: ChainKey, packet: CapturedPacket, rules: tuple[RuleMet, ...], policy: str
) -> Traversal:
    stopped = any(rule.verdict == "drop" for rule in rules)
    if stopped:  # what else counted after it was other packets
        end = next(n for n, rule in enumerate(rules, 1) if rule.verdict == "drop")
        rules = rules[:end]
    netns, family, table, chain = key
    return Traversal(
        netns=netns,
        hook=chain.lower(),
        family=family,
        table=table,
        chain=chain,
        packet=packet,
        rules=rules,
        verdict="drop" if stopped else policy,
        by_policy=not stopped and policy == "drop",
    )


def _may_be_of(packet: CapturedPacket, rule: str) -> bool:
    """False for a rule of another protocol: the query for a name, most often."""
    found = _PROTOCOL.search(rule)
    return found is None or found[1] in (packet.protocol, "ipv6-icmp")


def _policy(before: Counters, after: Counters, key: ChainKey) -> str:
    """`drop` if the policy drops and has counted, else `accept`."""
    chain, old = after[key], before.get(key)
    counted = chain.policy_count.packets > (old.policy_count.packets if old is not None else 0)
    return "drop" if chain.policy == "DROP" and counted else "accept"


@dataclass(frozen=True, slots=True)
class _Walk:
    before: Counters
    after: Counters
    packet: CapturedPacket

    def rules(self, key: ChainKey, depth: int, above: frozenset[str]) -> Iterator[RuleMet]:
        """The rules of a chain that counted, each followed by those of the chain it leads to.

        What stands below a rule of another protocol goes with it.
        """
        old = dict(_counted(self.before[key])) if key in self.before else {}
        for text, packets in _counted(self.after[key]):
            if packets <= old.get(text, 0) or not _may_be_of(self.packet, text):
                continue
            found = _TARGET.search(text)
            target = found[1] if found else ""
            below: ChainKey = (key[0], key[1], key[2], target)
            if below in self.after and target not in above:
                inside = tuple(self.rules(below, depth + 1, above | {key[3]}))
                yield RuleMet(key[3], text, "jump", target, depth, not inside)
                yield from inside
            else:
                yield RuleMet(key[3], text, _verdict(target), depth=depth)


def _counted(chain: Chain) -> Iterator[tuple[str, int]]:
    for text, count in zip(chain.rules, chain.counts, strict=True):
        yield text, count.packets


def _verdict(target: str) -> str:
    if target in _STOPS:
        return "drop"
    return "return" if target == "RETURN" else "accept" if target == "ACCEPT" else "continue"
