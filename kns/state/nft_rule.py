"""A rule of nft as a value: its statements, in the order in which they are carried out.

ip daddr . meta l4proto . th dport vmap @service-ips       Dispatch
ip saddr != 10.0.0.0/8 jump mark                           Match, VerdictStatement
meta l4proto tcp dnat ip to numgen random mod 2 map { … }  Match, Translate
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from kns.addresses import IPAddress
from kns.state.nft import Element, parse_element
from kns.state.packet import parse_target

#: keys of one word; those that begin with `fib` have three, all others two
_LINKS = frozenset({"iif", "oif", "iifname", "oifname"})
_KEYS = frozenset({"ip", "ip6", "meta", "th", "tcp", "udp", "sctp", "ct", "fib", "numgen", *_LINKS})
_TRANSPORTS = frozenset({"tcp", "udp", "sctp"})
_TOKEN = re.compile(r'"[^"]*"|[^\s,{}]+|[{},]')


@dataclass(frozen=True, slots=True)
class Key:
    """What a rule looks at: `daddr`, `l4proto`, `dport`, `fib daddr type`, …, or `numgen`.

    Of it the bits of `mask` alone; `count` is how many numbers `numgen` has. With a `transport` it
    is a port of that protocol, and packets of others match nothing: `tcp dport`, not `th dport`.
    """

    name: str
    mask: int = 0xFFFFFFFF
    count: int = 0
    transport: str = ""


@dataclass(frozen=True, slots=True)
class Operand:
    """What a key is looked up in: elements, or the set or map of this name."""

    elements: tuple[Element, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """The packet's keys must be in the operand, or must not."""

    keys: tuple[Key, ...]
    operand: Operand
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A verdict map: the element that fits says what happens."""

    keys: tuple[Key, ...]
    operand: Operand


@dataclass(frozen=True, slots=True)
class Translate:
    """Another destination: this one, or the values of an operand by chance."""

    to: tuple[IPAddress, int] | None = None
    operand: Operand = Operand()


@dataclass(frozen=True, slots=True)
class SetMark:
    """The mark with these bits turned on (`|`) or over (`^`)."""

    operator: str
    value: int


@dataclass(frozen=True, slots=True)
class VerdictStatement:
    """accept, drop, reject, return, masquerade; jump and goto with their chain."""

    verb: str
    chain: str = ""


Statement = Match | Dispatch | Translate | SetMark | VerdictStatement

_VERBS = frozenset({"accept", "drop", "reject", "return", "masquerade"})


@lru_cache(maxsize=65536)
def parse_rule(text: str) -> tuple[Statement, ...]:
    """The statements of a rule as `nft -s list` prints it; comments and notes are none.

    Raises ValueError at a statement that is not known, IndexError where one breaks off.
    """
    words = _TOKEN.findall(text)
    found: list[Statement] = []
    while words:
        statement = _statement(words)
        if statement is not None:
            found.append(statement)
    return tuple(found)


def parse_verdict(text: str) -> VerdictStatement:
    """The verdict that an element of a verdict map has for its value."""
    verb, _, chain = text.partition(" ")
    return VerdictStatement(verb, chain)


def _statement(words: list[str]) -> Statement | None:
    """The first statement; takes its words."""
    if words[:3] == ["meta", "mark", "set"]:
        taken = _take(words, 7)
        return SetMark(taken[5], int(taken[6], 0))
    if words[0] in _KEYS:
        return _look_up(words)
    match words[0]:
        case "comment":
            del words[:2]
        case "counter":
            # its own, whose numbers `-s` leaves out, or one with a name
            del words[: 3 if words[1:2] == ["name"] else 1]
        case "update" | "add":
            del words[: words.index("}") + 1]
        case "dnat":
            return _translate(words)
        case "jump" | "goto":
            return VerdictStatement(*_take(words, 2))
        case verb if verb in _VERBS:
            words.clear()  # `reject with …`, `masquerade fully-random`, and a comment
            return VerdictStatement(verb)
        case _:
            raise ValueError(f"unknown statement of nft: {' '.join(words)}")
    return None


def _look_up(words: list[str]) -> Statement:
    keys = [_key(words)]
    while words[:1] == ["."]:
        del words[0]
        keys.append(_key(words))
    if words[:1] == ["vmap"]:
        del words[0]
        return Dispatch(tuple(keys), _operand(words))
    inverted = words[0] == "!="
    if words[0] in ("!=", "=="):
        del words[0]
    return Match(tuple(keys), _operand(words), inverted)


def _key(words: list[str]) -> Key:
    if words[0] == "numgen":  # numgen random mod 3
        return Key("numgen", count=int(_take(words, 4)[3]))
    length = 3 if words[0] == "fib" else 1 if words[0] in _LINKS else 2
    taken = _take(words, length)
    name = " ".join(taken) if taken[0] == "fib" else taken[-1]
    if words[:1] == ["&"]:
        return Key(name, int(_take(words, 2)[1], 0))
    return Key(name, transport=taken[0] if taken[0] in _TRANSPORTS else "")


def _operand(words: list[str]) -> Operand:
    if words[0] == "{":
        end = words.index("}")
        text = " ".join(words[1:end])
        del words[: end + 1]
        return Operand(tuple(map(parse_element, text.split(" , "))) if text else ())
    word = words.pop(0)
    if word.startswith("@"):
        return Operand(name=word[1:])
    values = [word]
    while words[:1] == [","]:  # `ct state established,related`
        values.append(_take(words, 2)[1])
    return Operand(tuple(map(parse_element, values)))


def _translate(words: list[str]) -> Translate:
    """`dnat to 10.0.0.1:80`, `dnat ip to numgen random mod 2 map { 0 : 10.0.0.1 . 80, … }`.

    What stands between dnat and to is the type of the value: nft 1.0.6 writes `ip`, later ones
    `ip addr . port`.
    """
    del words[: words.index("to") + 1]
    if words[0] not in _KEYS:
        return Translate(to=parse_target(_take(words, 1)[0]))
    _key(words)
    del words[0]  # map
    return Translate(operand=_operand(words))


def _take(words: list[str], count: int) -> list[str]:
    taken = words[:count]
    del words[:count]
    if len(taken) < count:
        raise ValueError("it breaks off")
    return taken
