"""The tables of iptables for `kns.state.walk`: which rules a packet matches, and what they do.

Statistic matches are followed both ways; `-m recent` remembers nobody yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import repeat

from kns.addresses import IPAddress, IPFamily
from kns.state.ipset import is_member
from kns.state.iptables import Option, Rule, parse_rule
from kns.state.model import Bridge, Chain, IpSet, IptablesTable, Netns, Sysctl
from kns.state.packet import (
    BaseChain,
    Destination,
    Hook,
    ListedRule,
    MetRule,
    Packet,
    Passage,
    Relation,
    Verdict,
    following,
    parse_target,
)
from kns.state.routing import is_local

#: linux/netfilter_ipv4.h enum nf_ip_hook_priorities
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_NAT_PRIORITIES = {
    Hook.PREROUTING: -100,
    Hook.OUTPUT: -100,
    Hook.INPUT: 100,
    Hook.POSTROUTING: 100,
}
#: matches that say nothing of a packet's way: they note something, or name what is printed
_NOTES = frozenset({"--comment", "--nfacct-name", "--name", "--mask", "--rsource", "--set"})


def base_chains(netns: Netns, family: IPFamily) -> Iterator[BaseChain]:
    """The built-in chains of the netns' tables of one family."""
    for table in netns.iptables:
        if table.family is not family:
            continue
        if table.name != "nat" and table.name not in _PRIORITIES:
            raise ValueError(f"unknown table of iptables: {table.name}")
        walker = _Table(netns, table, {chain.name: chain for chain in table.chains})
        translates = table.name == "nat"
        for chain in table.chains:
            if chain.policy:
                hook = Hook(chain.name.lower())
                priority = _NAT_PRIORITIES[hook] if translates else _PRIORITIES[table.name]
                run = partial(walker.run, chain.name, chain.policy)
                place = hook, priority, translates
                yield BaseChain(*place, run, table.name, chain.name, walker.listed)


@dataclass(frozen=True, slots=True)
class _Table:
    netns: Netns
    table: IptablesTable
    chains: Mapping[str, Chain]

    def run(self, chain: str, policy: str, start: Passage) -> Iterator[Passage]:
        """Through a built-in chain: what no rule decides its policy does."""
        for passage in self._chain(chain, start):
            if passage.verdict is None and policy == "DROP":
                met = passage.met(MetRule(self.table.name, chain, f"policy {policy}"))
                yield met.decided(Verdict.DROP)
            else:
                yield passage

    def _chain(self, name: str, start: Passage) -> Iterator[Passage]:
        """Through a chain. A passage without a verdict came to its end, or was returned."""
        waiting = [(0, start)]
        while waiting:
            position, passage = waiting.pop()
            yield from self._from(name, position, passage, waiting)

    def _from(
        self, chain: str, start: int, passage: Passage, waiting: list[tuple[int, Passage]]
    ) -> Iterator[Passage]:
        """To the first rule that matches; where the passage goes on from there is `waiting`."""
        rules = self.chains[chain].rules
        for position in range(start, len(rules)):
            with following(rules[position]):
                rule = parse_rule(rules[position])
                fits = all(self._fits(option, passage) for option in rule.options)
            if not fits:
                continue
            if _is_chance(rule):
                waiting.append((position + 1, passage))
            met = passage.met(MetRule(self.table.name, chain, rules[position]))
            if rule.target == "RETURN":
                yield met
                return
            for after in self._take(rule, met):
                if after.verdict is not None or rule.goto:
                    yield after
                else:
                    waiting.append((position + 1, after))
            return
        yield passage

    def _take(self, rule: Rule, passage: Passage) -> Iterator[Passage]:
        if rule.target in self.chains:
            yield from self._chain(rule.target, passage)
        else:
            with following(passage.rules[-1].text):
                after = _targeted(rule, passage)
            yield after

    # -- matches -----------------------------------------------------------------------------------

    def _fits(self, option: Option, passage: Passage) -> bool:
        if option.name in _NOTES:
            return True
        return self._is_true(option, passage) is not option.inverted

    def _is_true(self, option: Option, passage: Passage) -> bool:
        packet, value = passage.packet, option.value
        match option.name:
            case "-s":
                return packet.source in ip_network(value, strict=False)
            case "-d":
                return packet.destination in ip_network(value, strict=False)
            case "--src-type" | "--dst-type":
                address = packet.source if option.name == "--src-type" else packet.destination
                return _has_type(self.netns, address, value)
            case "--match-set":
                item = self._set(value)
                return is_member(item, option.values[1].split(","), packet)
            case "--mode" | "--probability" | "--seconds" | "--reap":
                return True  # a chance is followed both ways
            case "--rcheck" | "--update":
                return False  # nobody is remembered yet
            case "--physdev-is-in":
                return _is_bridged(self.netns, packet)
            case "--ctstate":
                return bool(_states(passage) & set(value.split(",")))
            case "--ctdir":
                return value == "ORIGINAL"
            case _:
                return _header_fits(option, packet)

    # -- listing -----------------------------------------------------------------------------------

    def listed(self, chain: str, destinations: Sequence[Destination]) -> Iterator[ListedRule]:
        """The rules of a chain."""
        found = self.chains[chain]
        counts = found.counts or repeat(None)
        for text, count in zip(found.rules, counts, strict=False):
            with following(text):
                rule = parse_rule(text)
                relation = self._relation(rule, destinations)
            chains = (rule.target,) if rule.target in self.chains else ()
            yield ListedRule(text, relation, count, rule.target, chains)

    def _relation(self, rule: Rule, destinations: Sequence[Destination]) -> Relation:
        """ABOUT if it asks for a single address or port of one destination, or for it in a set."""
        asked = [option for option in rule.options if _is_about_destinations(option)]
        if not asked or not destinations:
            return Relation.GENERAL
        packets = (
            Passage(Packet(item.address, item.address, item.protocol, item.port))
            for item in destinations
        )
        if not any(all(self._fits(option, packet) for option in asked) for packet in packets):
            return Relation.OTHER
        return Relation.ABOUT if any(map(_names_one, asked)) else Relation.GENERAL

    def _set(self, name: str) -> IpSet:
        found = next((item for item in self.netns.ipsets if item.name == name), None)
        if found is None:
            raise ValueError(f"no such ipset: {name}")
        return found


def _is_about_destinations(option: Option) -> bool:
    """True if the destination alone tells whether it fits."""
    if option.name == "--match-set":
        return set(option.values[1].split(",")) == {"dst"}
    return option.name in ("-d", "-p", "--dport", "--dports")


def _names_one(option: Option) -> bool:
    if option.inverted or option.name == "-p":
        return False
    return option.name != "-d" or ip_network(option.value, strict=False).num_addresses == 1


def _header_fits(option: Option, packet: Packet) -> bool:
    value = option.value
    match option.name:
        case "-p":
            return value in (packet.protocol, "all")
        case "-i":
            return _is_link(value, packet.in_interface)
        case "-o":
            return _is_link(value, packet.out_interface)
        case "--dport":
            return _has_port(value, packet.port)
        case "--dports":
            return any(_has_port(item, packet.port) for item in value.split(","))
        case "--sport":
            return _has_port(value, packet.source_port)
        case "--mark":
            mark, _, mask = value.partition("/")
            return packet.mark & int(mask or "0xffffffff", 0) == int(mark, 0)
        case _:
            raise ValueError(f"unknown match of iptables: {option.name} {value}")


def _is_chance(rule: Rule) -> bool:
    chance = (item.value for item in rule.options if item.name == "--probability")
    return float(next(chance, "1")) < 1


def _has_type(netns: Netns, address: IPAddress, kind: str) -> bool:
    if kind != "LOCAL":
        raise ValueError(f"unknown address type of iptables: {kind}")
    return is_local(netns, address)


def _is_bridged(netns: Netns, packet: Packet) -> bool:
    """True if a bridge shows its frames to iptables, and the packet came in by one of its ports.

    It does unless it is told not to (net/bridge/br_netfilter_hooks.c brnf_call_iptables).
    """
    kind = next((item.kind for item in netns.links if item.name == packet.in_interface), None)
    tables = "iptables" if packet.family is IPFamily.IPV4 else "ip6tables"
    off = Sysctl(f"bridge/bridge-nf-call-{tables}", "0")
    return isinstance(kind, Bridge) and off not in netns.sysctls


def _states(passage: Passage) -> set[str]:
    states = {passage.packet.state}
    if passage.destination_translated:
        states.add("DNAT")
    if passage.source_translated:
        states.add("SNAT")
    return states


def _is_link(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _has_port(text: str, port: int) -> bool:
    first, _, last = text.partition(":")
    return int(first) <= port <= int(last or first)


# -- targets ---------------------------------------------------------------------------------------


def _targeted(rule: Rule, passage: Passage) -> Passage:
    match rule.target:
        case "":
            return passage
        case "ACCEPT":
            return passage.decided(Verdict.ACCEPT)
        case "DROP":
            return passage.decided(Verdict.DROP)
        case "REJECT":
            return passage.decided(Verdict.REJECT)
        case "MASQUERADE":
            return passage.masqueraded()
        case "SNAT":
            return passage.masqueraded(ip_address(rule.target_option("--to-source")))
        case "DNAT":
            return passage.sent_to(*parse_target(rule.target_option("--to-destination")))
        case "MARK":
            return passage.marked(_new_mark(rule, passage.packet.mark))
        case _:
            raise ValueError(f"unknown target of iptables: {rule.target}")


def _new_mark(rule: Rule, mark: int) -> int:
    value, _, mask = rule.target_option("--set-xmark").partition("/")
    if not value:
        raise ValueError(f"unknown MARK: {rule.target_options}")
    # net/netfilter/xt_mark.c mark_tg: what is in the mask goes, the value is turned over
    return (mark & ~int(mask or "0xffffffff", 0) & 0xFFFFFFFF) ^ int(value, 0)
