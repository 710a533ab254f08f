"""The iptables rules of a node in the order in which a packet meets them, each chain explained.

    iptables-save -c ──parse_counted──▶ tables ──walk──▶ Entries: chains indented by jump

A chain is shown where it is first jumped to. In the chains that all Services share, the rules of
other Services are left out. nat is asked about the first packet of a connection only, so its
counters count connections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

#: where a packet meets the rules, and which packets those are
HOOKS: tuple[tuple[str, str, str], ...] = (
    ("nat", "PREROUTING", "the first packet of a connection from a pod, a node or outside"),
    ("nat", "OUTPUT", "the first packet of a connection that the node itself opens"),
    ("filter", "INPUT", "packets to the node itself, after translation"),
    ("filter", "FORWARD", "packets that the node passes on, after translation"),
    ("filter", "OUTPUT", "packets of the node itself, after translation"),
    ("nat", "POSTROUTING", "the first packet of a connection, as it leaves"),
)
#: chains whose rules each match a Service
SHARED = frozenset({
    "KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL",
})  # fmt: skip

Tables = Mapping[str, Mapping[str, tuple["CountedRule", ...]]]

_COMMENT = re.compile(r'--comment "([^"]*)"')
_TARGET = re.compile(r"-[jg] (\S+)")
_COUNTED = re.compile(r"\[(\d+):(\d+)\] -A (\S+) ?(.*)")


@dataclass(frozen=True, slots=True)
class CountedRule:
    """A rule as `iptables-save -c` prints it, and what it has counted; None: it does not count."""

    packets: int | None
    octets: int | None
    text: str

    @property
    def comment(self) -> str:
        """The text of its comment, or nothing."""
        found = _COMMENT.search(self.text)
        return found[1] if found else ""

    @property
    def target(self) -> str:
        """Where it leads: a chain or a target; nothing for a rule that only counts."""
        found = _TARGET.search(self.text)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the report: a rule, or (without one) the chain that begins here and its purpose."""

    table: str
    chain: str
    depth: int
    about: str = ""
    rule: CountedRule | None = None


def parse_counted(text: str) -> Tables:
    """What `iptables-save -c` printed: the rules of each chain of each table."""
    tables: dict[str, dict[str, list[CountedRule]]] = {}
    chains: dict[str, list[CountedRule]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            chains[line[1:].split(" ", 1)[0]] = []
        elif match := _COUNTED.fullmatch(line):
            rule = CountedRule(int(match[1]), int(match[2]), match[4])
            chains[match[3]].append(rule)
    return {
        table: {chain: tuple(rules) for chain, rules in found.items()}
        for table, found in tables.items()
    }


def walk(tables: Tables, service: str = "") -> tuple[Entry, ...]:
    """The rules that a packet to `service` (`namespace/name`; default: to any) meets, in order."""
    entries: list[Entry] = []
    for table, hook, about in HOOKS:
        chains = tables.get(table, {})
        if chains.get(hook):
            walker = _Walker(table, chains, service, _seen(entries, table))
            entries.append(Entry(table, hook, 0, about))
            entries += walker.rules(hook, 1)
    return tuple(entries)


def _seen(entries: Iterable[Entry], table: str) -> set[str]:
    return {entry.chain for entry in entries if entry.table == table and entry.rule is None}


@dataclass(frozen=True, slots=True)
class _Walker:
    """One table, and the chains of it that have been shown."""

    table: str
    chains: Mapping[str, tuple[CountedRule, ...]]
    service: str
    seen: set[str]

    def rules(self, chain: str, depth: int) -> Iterator[Entry]:
        for rule in self.chains[chain]:
            if not self._matters(chain, rule):
                continue
            yield Entry(self.table, chain, depth, rule=rule)
            below = rule.target
            if below in self.chains and below not in self.seen:
                self.seen.add(below)
                about = purpose(self.table, below, self.chains[below])
                yield Entry(self.table, below, depth + 1, about)
                yield from self.rules(below, depth + 2)

    def _matters(self, chain: str, rule: CountedRule) -> bool:
        if not self.service:
            return True
        if rule.target in SHARED:
            return any(self._matters(rule.target, item) for item in self.chains[rule.target])
        return chain not in SHARED or belongs(rule.comment, self.service)


def belongs(comment: str, service: str) -> bool:
    """True if kube-proxy wrote this comment for a port of `service` (`namespace/name`)."""
    return re.search(rf"(?:^| ){re.escape(service)}(?::[a-z0-9-]+)?(?: |$)", comment) is not None


# -- what a chain is for ---------------------------------------------------------------------------

_PURPOSES = {
    "KUBE-SERVICES": "finds the service by address, protocol and port",
    "KUBE-NODEPORTS": "finds the service by its node port",
    "KUBE-MARK-MASQ": "marks the packet, so that POSTROUTING gives it the node's address",
    "KUBE-POSTROUTING": "gives marked packets the node's address, so that the answer comes back",
    "KUBE-FORWARD": "drops what conntrack can't place, accepts marked and known connections",
    "KUBE-FIREWALL": "keeps others from reaching 127.0.0.0/8, which route_localnet opens",
    "KUBE-PROXY-FIREWALL": "drops what a balancer's source ranges did not let through",
    "KUBE-EXTERNAL-SERVICES": "refuses or drops what no endpoint can take, from outside",
    "KUBE-KUBELET-CANARY": "tells kubelet by its absence that rules were flushed",
    "KUBE-PROXY-CANARY": "tells kube-proxy by its absence that rules were flushed",
    "FLANNEL-POSTRTG": "gives pods the node's address on their way out of the cluster",
    "FLANNEL-FWD": "accepts what pods send and receive",
}
_FILTER_PURPOSES = {
    "KUBE-SERVICES": "refuses or drops what no endpoint can take",
    "KUBE-NODEPORTS": "lets a balancer's health checks in",
}


def purpose(table: str, chain: str, rules: tuple[CountedRule, ...]) -> str:
    """What the chain is for, in a short plain sentence."""
    match chain.split("-")[:2]:
        case ["KUBE", "SVC"]:
            return f"{_choice(rules)}, of all endpoints (policy Cluster)"
        case ["KUBE", "SVL"]:
            return f"{_choice(rules)}, of this node's own endpoints (policy Local)"
        case ["KUBE", "EXT"]:
            return _external(rules)
        case ["KUBE", "FW"]:
            return "lets the balancer's source ranges in; others fall through, to be dropped"
        case ["KUBE", "SEP"]:
            return _endpoint(rules)
        case _:
            own = _FILTER_PURPOSES if table == "filter" else {}
            return own.get(chain) or _PURPOSES.get(chain, "")


def _choice(rules: tuple[CountedRule, ...]) -> str:
    count = len({rule.target for rule in rules if rule.target.startswith("KUBE-SEP-")})
    text = "takes the only endpoint" if count == 1 else f"takes one of {count} endpoints by chance"
    if any("-m recent" in rule.text for rule in rules):
        return f"{text}, the same again for a client it remembers"
    return text


def _external(rules: tuple[CountedRule, ...]) -> str:
    if any("masquerade traffic for" in rule.comment for rule in rules):
        return "from outside: masquerades, as the endpoint may be on any node"
    kept = "from outside: keeps the client's address and stays on this node"
    if any(rule.target.startswith("KUBE-SVL-") for rule in rules):
        return kept
    return f"{kept}, which has no endpoint: what is left is dropped"


def _endpoint(rules: tuple[CountedRule, ...]) -> str:
    for rule in rules:
        _, found, destination = rule.text.partition("--to-destination ")
        if found:
            return f"endpoint {destination}; a pod that reaches itself is masqueraded"
    return "an endpoint"


# -- text and JSON ---------------------------------------------------------------------------------

_INDENT = "  "


def rules_text(entries: Iterable[Entry]) -> str:
    """The entries for people: packets counted, then the rule, indented by jump."""
    lines = [f"{'PACKETS':>8}  RULE"]
    for entry in entries:
        indent = _INDENT * entry.depth
        if entry.rule is not None:
            packets = "" if entry.rule.packets is None else entry.rule.packets
            lines.append(f"{packets:>8}  {indent}{entry.rule.text}")
            continue
        name = f"{entry.table} {entry.chain}" if entry.depth == 0 else entry.chain
        about = f": {entry.about}" if entry.about else ""
        lines.append(f"{'':>8}  {indent}{name}{about}")
    return "\n".join(lines) + "\n"


def rules_json(entries: Iterable[Entry]) -> list[dict[str, object]]:
    """The rules as plain data, each with its chain's purpose; chain heads are not entries."""
    purposes: dict[tuple[str, str], str] = {}
    found: list[dict[str, object]] = []
    for entry in entries:
        if entry.rule is None:
            purposes[entry.table, entry.chain] = entry.about
            continue
        found.append(
            {
                "table": entry.table,
                "chain": entry.chain,
                "depth": entry.depth // 2,
                "packets": entry.rule.packets,
                "bytes": entry.rule.octets,
                "rule": entry.rule.text,
                "target": entry.rule.target,
                "about": purposes.get((entry.table, entry.chain), ""),
            }
        )
    return found
