"""All that the tools show of a lab's netns: equal before a change by hand and after its mending."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from kns.compile.names import lab_prefix
from kns.kernel import netns
from kns.kernel.processes import Context, run

#: lines by netns
Portrait = dict[str, frozenset[str]]

COMMANDS = (
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "ip -6 route show table all",
    "ip nexthop",
    "ip -details addr",
    "ip neigh show nud permanent",
    "ip neigh show proxy",
    "ip neigh show nud noarp | grep -vE 'dev lo |lladdr (01:00:5e|33:33|ff:ff)'",
    "ip addrlabel",
    "bridge mdb | grep permanent",
    "bridge fdb show",
    "bridge -details link",
    "tc qdisc",
    "nft -s list ruleset",
    "iptables-legacy-save | grep -E '^-A|^:.* (DROP|-) '",
    "ip6tables-legacy-save | grep -E '^-A|^:.* (DROP|-) '",
    "ip xfrm policy",
    "ip xfrm state",
    "ip xfrm policy getdefault",
    "ip -details link show type vxlan",
    "sysctl -a -r ^net\\.",
)
#: What changes by itself: timers, counters, what is learned. And what `ip` can't make as the kernel
#: does, and no packet sees: an own address without duplicate address detection, a local route with
#: the metric that IPv6 gives by itself.
_MOVING = re.compile(
    r"(_timer|valid_lft|preferred_lft|gc_timer) +[\d.]+|link-netnsid \d+|promiscuity \d+"
    r"|allmulti \d+|@if\d+|(?<=: )\d+: |_netgroup \d+"
    r"| proto (static|boot|kernel|kernel_ll|kernel_lo)\b"
    r"| nodad|metric (0|1024) (?=pref)"
    r"|LOWER_UP,?|state (UP|DOWN|UNKNOWN)|NO-CARRIER,?| linkdown| dead"
)
_SKIPPED = re.compile(
    r"nf_conntrack_count|tcp_fastopen_key|random|nf_conntrack_max|stable_secret|expires"
    r"|_hash_entries|^bridge fdb show: .*((?<!permanent)(?<!static)|self permanent)$"
    r"|: ::1 dev lo metric"
)


def portrait(lab: str) -> Portrait:
    """The lines of all commands in each netns of the lab, without what moves by itself."""
    names = netns.list_netns(lab_prefix(lab))
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip(names, pool.map(_lines, names), strict=True))


def _lines(name: str) -> frozenset[str]:
    script = "\n".join(f"{command} | sed 's/^/{command.split(' -')[0]}: /'" for command in COMMANDS)
    done = run(["sh", "-c", script], context=Context(name), timeout=60)
    lines = (_MOVING.sub("", line).strip() for line in done.stdout.splitlines())
    return frozenset(line for line in lines if not _SKIPPED.search(line))


def differences(before: Portrait, after: Portrait) -> list[str]:
    """The lines that only one of the two has."""
    return [
        f"{name.rpartition('.')[2]}: {sign}{line}"
        for name in before.keys() | after.keys()
        for sign, one, other in (("-", before, after), ("+", after, before))
        for line in one.get(name, frozenset()) - other.get(name, frozenset())
    ]
