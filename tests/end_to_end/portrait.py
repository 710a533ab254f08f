"""All that the tools show of a lab's netns: equal before a change by hand and after its mending."""

from __future__ import annotations

import re

from kns.compile.names import lab_prefix
from kns.kernel import netns
from kns.kernel.processes import Context, run

COMMANDS = (
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "ip -6 route show table all",
    "ip nexthop",
    "ip -details addr",
    "ip neigh show nud permanent",
    "ip neigh show proxy",
    "bridge fdb show",
    "bridge -details link",
    "tc qdisc",
    "nft -s list ruleset",
    "sysctl -a -r ^net\\.",
)
#: what changes by itself: timers, counters, keys made at random, what is learned
_MOVING = re.compile(
    r"(_timer|valid_lft|preferred_lft|gc_timer) +[\d.]+|link-netnsid \d+|promiscuity \d+"
    r"|allmulti \d+|@if\d+|^\d+: |_netgroup \d+| proto (static|boot|kernel|kernel_ll|kernel_lo)\b"
    # what `ip` can't make as the kernel does, and no packet sees: an own address with no
    # duplicate address detection, a local route with the metric that IPv6 gives by itself
    r"| nodad|metric (0|1024) (?=pref)"
    r"|LOWER_UP,?|state (UP|DOWN|UNKNOWN)|NO-CARRIER,?| linkdown| dead"
)
_SKIPPED = re.compile(
    r"nf_conntrack_count|tcp_fastopen_key|random|nf_conntrack_max|stable_secret|expires|"
    r"fdb.*(?<!permanent)(?<!static)$|_hash_entries|^fdb .*self permanent|^::1 dev lo metric"
)


def portrait(lab: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """The lines of each command in each netns of the lab, sorted, without what moves by itself."""
    return {
        (name.removeprefix(lab_prefix(lab)), command): _lines(name, command)
        for name in netns.list_netns(lab_prefix(lab))
        for command in COMMANDS
    }


def _lines(name: str, command: str) -> tuple[str, ...]:
    done = run(command.split(), context=Context(name), timeout=60)
    word = "fdb " if " fdb " in command else ""
    lines = (word + _MOVING.sub("", line).strip() for line in done.stdout.splitlines())
    return tuple(sorted(line for line in lines if not _SKIPPED.search(line)))


def differences(
    before: dict[tuple[str, str], tuple[str, ...]], after: dict[tuple[str, str], tuple[str, ...]]
) -> list[str]:
    """The lines that only one of the two has."""
    return [
        f"{name}: {command}: {sign}{line}"
        for name, command in before.keys() | after.keys()
        for sign, one, other in (("-", before, after), ("+", after, before))
        for line in set(one.get((name, command), ())) - set(other.get((name, command), ()))
    ]
