"""Routing rules of a netns: those that kns makes as values, every other as a Deviation."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE
from pyroute2.netlink.rtnl.fibmsg import FR_ACT_TO_TBL, fibmsg

from kns.addresses import IPFamily, IPNetwork
from kns.kernel import links
from kns.kernel.netlink import BODY, Socket, readdressed
from kns.kernel.shapes import encoded, request
from kns.state.model import Deviation, PolicyRule

_GET_RULES = encoded(request(fibmsg, RTM_GETRULE, NLM_F_DUMP, family=socket.AF_UNSPEC))
_FAMILIES = {family.af: family for family in IPFamily}
#: linux/fib_rules.h FIB_RULE_INVERT
_INVERT = 2
#: linux/fib_rules.h FR_ACT_*, in the words of `ip rule`
_ACTIONS = {2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
#: what the kernel says of every rule
_PLAIN = frozenset({"FRA_PRIORITY", "FRA_TABLE", "FRA_PROTOCOL", "FRA_SRC", "FRA_DST", "FRA_PAD"})
_ALL_BITS = 0xFFFFFFFF

#: a rule's message without its header
Body = bytes


def bodies(sock: Socket) -> tuple[Body, ...]:
    """Every routing rule of every family."""
    return tuple(data[BODY:] for data in sock.dump(_GET_RULES))


def sort_out(
    found: tuple[Body, ...], fresh: tuple[Body, ...]
) -> tuple[tuple[PolicyRule, ...], tuple[Deviation, ...]]:
    """The rules besides the `fresh` ones, which every netns has; and what to undo.

    That is each rule that a PolicyRule can't say, and each fresh one that is gone.
    """
    own = {_read(body): body for body in fresh}
    have = {_read(body): body for body in found}
    rules: list[PolicyRule] = []
    undone: list[Deviation] = []
    for item, body in have.items():
        if isinstance(item, PolicyRule) and item not in own:
            rules.append(item)
        elif isinstance(item, str) and item:
            message = readdressed(body, RTM_DELRULE)
            undone.append(Deviation(f"{_ip(body)} rule del {item}", message))
    for item, body in own.items():
        if isinstance(item, PolicyRule) and item not in have:
            command = f"{_ip(body)} rule add {_in_words(_decoded(body))}"
            undone.append(Deviation(command, links.add_rule(item)))
    return tuple(rules), tuple(undone)


def _ip(body: Body) -> str:
    return "ip -6" if body[0] == socket.AF_INET6 else "ip"


@functools.lru_cache(256)
def _read(body: Body) -> PolicyRule | str:
    """The rule; as text where kns makes none of its kind; empty for other families' rules."""
    rule = _decoded(body)
    family = _FAMILIES.get(rule["family"])
    if family is None:
        return ""
    told = {name: value for name, value in rule["attrs"] if value is not None}
    mark = told.pop("FRA_FWMARK", 0)
    mask = told.pop("FRA_FWMASK", _ALL_BITS)
    suppressed = told.pop("FRA_SUPPRESS_PREFIXLEN", _ALL_BITS)
    plain = (
        rule["action"] == FR_ACT_TO_TBL
        and not (rule["tos"] or rule["flags"] & _INVERT)
        and (mask, suppressed) == (_ALL_BITS, _ALL_BITS)
        and told.keys() <= _PLAIN
    )
    if not plain:
        return _in_words(rule)
    return PolicyRule(
        priority=told.get("FRA_PRIORITY", 0),
        table=told.get("FRA_TABLE", rule["table"]),
        source=_network(told.get("FRA_SRC"), rule["src_len"]),
        destination=_network(told.get("FRA_DST"), rule["dst_len"]),
        mark=mark,
        family=family,
    )


def _decoded(body: Body) -> fibmsg:
    rule = fibmsg(readdressed(body, RTM_NEWRULE))
    rule.decode()
    return rule


def _network(address: str | None, length: int) -> IPNetwork | None:
    return None if address is None else ip_network((address, length))


def _in_words(rule: fibmsg) -> str:
    """The rule as `ip rule` takes it."""
    return " ".join(_words(rule, dict(rule["attrs"])))


def _words(rule: fibmsg, told: Mapping[str, object]) -> Iterator[str]:
    yield f"priority {told.get('FRA_PRIORITY', 0)}"
    if rule["flags"] & _INVERT:
        yield "not"
    yield from _selectors(rule, told)
    if rule["action"] == FR_ACT_TO_TBL:
        yield f"table {told.get('FRA_TABLE', rule['table'])}"
    else:
        yield _ACTIONS.get(rule["action"], f"action {rule['action']}")
    if "FRA_GOTO" in told:
        yield str(told["FRA_GOTO"])
    for word, name in _SUPPRESSORS.items():
        if told.get(name, _ALL_BITS) != _ALL_BITS:
            yield f"{word} {told[name]}"


def _selectors(rule: fibmsg, told: Mapping[str, object]) -> Iterator[str]:
    for word, name, length in (("from", "FRA_SRC", "src_len"), ("to", "FRA_DST", "dst_len")):
        if name in told:
            yield f"{word} {told[name]}/{rule[length]}"
    if rule["tos"]:
        yield f"tos {rule['tos']:#x}"
    if "FRA_FWMARK" in told:
        yield f"fwmark {told['FRA_FWMARK']:#x}/{told.get('FRA_FWMASK', _ALL_BITS):#x}"
    for word, name in _SELECTORS.items():
        if name in told:
            yield f"{word} {_value(told[name])}"


_SELECTORS = {
    "iif": "FRA_IIFNAME",
    "oif": "FRA_OIFNAME",
    "uidrange": "FRA_UID_RANGE",
    "ipproto": "FRA_IP_PROTO",
    "sport": "FRA_SPORT_RANGE",
    "dport": "FRA_DPORT_RANGE",
    "tun_id": "FRA_TUN_ID",
    "realms": "FRA_FLOW",
    "l3mdev": "FRA_L3MDEV",
}
_SUPPRESSORS = {
    "suppress_prefixlength": "FRA_SUPPRESS_PREFIXLEN",
    "suppress_ifgroup": "FRA_SUPPRESS_IFGROUP",
}


def _value(value: object) -> str:
    """A range by its two ends, as `ip rule` takes it; anything else as it is."""
    first, colon, last = str(value).partition(":")
    return first if first == last or not colon else f"{first}-{last}"
