"""nft tables for `kns.state.walk`: which rules a packet matches, and what they do.

`numgen` is followed to each of its values; sets that packets fill (`dynamic`) are still empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address, ip_network

from kns.addresses import IPAddress, IPFamily
from kns.state.model import Netns, NftSet, NftTable
from kns.state.nft import Element, parse_element
from kns.state.packet import (
    BaseChain,
    Hook,
    MetRule,
    Passage,
    Verdict,
    following,
    parse_target,
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
_TOKEN = re.compile(r'"[^"]*"|[^\s,{}]+|[{},]')
_KEYS = ("ip", "ip6", "meta", "th", "tcp", "udp", "sctp", "ct", "fib", "iifname", "iif", "oifname")

Value = IPAddress | int | str


def base_chains(netns: Netns, family: IPFamily) -> Iterator[BaseChain]:
    """The chains with a hook of the netns' tables of one family."""
    for table in netns.nftables:
        if table.family is family:
            chains = {chain.name: chain.rules for chain in table.chains}
            walker = _Table(netns, table, chains, {item.name: item for item in table.sets})
            for chain in table.chains:
                if found := _HOOK.match(chain.hook):
                    run = partial(walker.run, chain.name, found[4])
                    yield BaseChain(Hook(found[2]), _priority(found[3]), found[1] == "nat", run)


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
        words = _TOKEN.findall(text)
        met = start.met(MetRule(self.table.name, chain, text))
        passage = met
        while words:
            if words[0] in ("numgen", *_KEYS) and words[:3] != ["meta", "mark", "set"]:
                values, sure = self._keys(words, passage)
                if words[:1] == ["vmap"]:
                    yield from self._dispatch(words, values, passage, start, sure=sure)
                    return
                if not self._compare(words, values):
                    yield start, False
                    return
            elif words[0] == "comment":
                del words[:2]
            elif words[0] == "update":
                end = words.index("}")
                del words[: end + 1]
            elif words[0] == "dnat":
                yield from ((item, True) for item in _dnat(words, passage))
                return
            elif words[:3] == ["meta", "mark", "set"]:
                mark, number = passage.packet.mark, int(words[6], 0)
                passage = passage.marked(mark | number if words[5] == "|" else mark ^ number)
                del words[:7]
            else:
                yield from self._verdict(words, passage)
                return
        yield passage, False

    def _verdict(self, words: list[str], passage: Passage) -> Iterator[tuple[Passage, bool]]:
        match words[0]:
            case "jump" | "goto":
                for after in self._chain(words[1], passage):
                    yield after, words[0] == "goto"
            case "return":
                yield passage, True
            case "masquerade":
                yield passage.masqueraded(), True
            case "accept" | "drop" | "reject":
                yield passage.decided(Verdict(words[0])), True
            case _:
                raise ValueError(f"unknown statement of nft: {' '.join(words)}")

    def _keys(self, words: list[str], passage: Passage) -> tuple[list[Value], bool]:
        """The values that the packet has for a key, or for a concatenation; takes its words."""
        if words[0] == "numgen":
            count = int(words[3])
            del words[:4]
            return list(range(count)), False
        values = [self._key(words, passage)]
        while words[:1] == ["."]:
            del words[0]
            values.append(self._key(words, passage))
        return values, True

    def _key(self, words: list[str], passage: Passage) -> Value:
        packet = passage.packet
        length = 3 if words[0] == "fib" else 1 if words[0].endswith(("name", "if")) else 2
        key = " ".join(words[:length])
        del words[:length]
        value = packet.mark
        if words[:1] == ["&"]:
            value &= int(words[1], 0)
            del words[:2]
        found: dict[str, Value] = {
            "saddr": packet.source, "daddr": packet.destination, "l4proto": packet.protocol,
            "dport": packet.port, "sport": packet.source_port, "mark": value,
            "iifname": packet.in_interface, "iif": packet.in_interface,
            "oifname": packet.out_interface, "state": packet.state.lower(),
            "status": "dnat" if passage.destination_translated else "",
            "fib saddr type": "local" if is_local(self.netns, packet.source) else "",
            "fib daddr type": "local" if is_local(self.netns, packet.destination) else "",
        }  # fmt: skip
        name = key if key.startswith("fib") else key.split()[-1]
        if name not in found:
            raise ValueError(f"unknown key of nft: {key}")
        return found[name]

    def _compare(self, words: list[str], values: list[Value]) -> bool:
        inverted = words[0] == "!="
        if words[0] in ("!=", "=="):
            del words[0]
        if words[0] == "{":
            elements = _listed(words)
        else:
            word = words.pop(0)
            elements = self.sets[word[1:]].elements if word.startswith("@") else (word,)
            while words[:1] == [","]:
                elements += (words[1],)
                del words[:2]
        return any(_covers(parse_element(item), values) for item in elements) is not inverted

    def _dispatch(
        self, words: list[str], values: list[Value], passage: Passage, start: Passage, *, sure: bool
    ) -> Iterator[tuple[Passage, bool]]:
        """Each element of a verdict map that fits; none: the chain goes on."""
        texts = _listed(words[1:]) if words[1] == "{" else self.sets[words[1][1:]].elements
        elements = map(parse_element, texts)
        fitting = [item for item in elements if not sure or _covers(item, values)]
        for element in fitting:
            yield from self._verdict(element.value.split(), passage)
        if not fitting:
            yield start, False


def _listed(words: list[str]) -> tuple[str, ...]:
    """The elements between the braces with which the words begin; takes them."""
    end = words.index("}")
    text = " ".join(words[1:end])
    del words[: end + 1]
    return tuple(text.split(" , "))


def _covers(element: Element, values: list[Value]) -> bool:
    parts = element.parts
    return len(parts) == len(values) and all(map(_is_in, parts, values))


def _is_in(text: str, value: Value) -> bool:
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


def _dnat(words: list[str], passage: Passage) -> Iterator[Passage]:
    if "map" in words:
        text = " ".join(words[words.index("map") :])
        for address, port in re.findall(r"\d+ : (\S+) \. (\d+)", text):
            yield passage.sent_to(ip_address(address), int(port))
        return
    yield passage.sent_to(*parse_target(words[words.index("to") + 1]))
