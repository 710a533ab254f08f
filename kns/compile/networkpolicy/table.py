"""NetworkPolicies as an nft table of a node. Pure.

    postrouting -5 before srcnat: what leaves towards a pod or the world, its destination translated
    and its source not yet

      answers accept ─▶ the node's own accept ─▶ pods to themselves accept
      ─▶ source in @egress? jump egress-H ─▶ destination in @ingress? jump ingress-H

    ingress-H       pods that the same policies isolate
      tcp dport in @ingress-H-tcp? goto ingress-H-P     ports for which the same rules count
      goto ingress-H-P, or drop                         every other port and protocol
    ingress-H-P
      source in @ingress-H-P? goto allow-NAME           the first rule that has it
      drop
    allow-NAME      counts what the rule lets through, and returns to postrouting

Three look-ups a direction, however many policies and pods there are, and only for the first packet
of a connection. A label that changes moves elements of sets.

The hook is postrouting because all ways meet there: forwarded packets, those that a bridge passes
on (br_netfilter shows them, with bridge-nf-call-iptables=1), and those that IPVS sends on, which
never pass forward. Traffic between a node and its own pods is not looked at: to the node it does
not come by here, from the node it is accepted.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kns.addresses import IPFamily
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.networkpolicy.access import (
    Access,
    Allowance,
    Isolation,
    RuleName,
)
from kns.compile.networkpolicy.spans import Piece, Span, disjoint
from kns.compile.proxy.nftables_words import address_text, span_text
from kns.kinds.common import Protocol
from kns.kinds.networkpolicy import PolicyType
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.state.model import Netns, NftChain, NftSet, NftTable, RuleNames
from kns.state.requirements import Feature, Need

TABLE = "network-policy"
HOOK = "type filter hook postrouting priority srcnat - 5; policy accept;"
#: nft keeps 128 bytes of a comment with their end (NFTNL_UDATA_COMMENT_MAXLEN)
COMMENT_MAX = 120
#: nft's names have 255 characters at most (NFT_NAME_MAXLEN)
NAME_MAX = 200
OWN = RuleNames(nft_tables=(TABLE,))
#: what shows that the kernel and nft have all that the table uses
_PROOF = f"""\
table ip kns {{
    map ports {{
        type inet_service : verdict
        flags interval
        elements = {{ 80 comment "kns" : goto allow, 90-99 : goto allow }}
    }}
    chain postrouting {{
        {HOOK}
        ct state established,related,untracked accept
        fib saddr type local accept
        tcp dport vmap @ports
    }}
    chain allow {{
        comment "kns"
        counter
    }}
}}
"""
FEATURE = Feature(
    "network policies",
    Need.OPTIONAL,
    "NetworkPolicies, in every kubeProxyMode",
    ("nft", "-f", "-"),
    "nf_tables nft_fib_inet nft_ct",
    _PROOF,
)


def on_node(cluster: Cluster, node: Node, pods: tuple[Pod, ...]) -> Netns:
    """What network policies add to a node whose pods are `pods`; nothing if none is isolated."""
    name = names.netns_of_node(cluster.name, node.name)
    if not cluster.network_policies:
        return Netns(name, links=())
    access = Access(cluster, pods)
    tables = (policy_table(access, family) for family in cluster.network.families)
    return Netns(name, links=(), nftables=tuple(table for table in tables if table is not None))


def policy_table(access: Access, family: IPFamily) -> NftTable | None:
    """The table of one family; None if no pod of the node is isolated."""
    draft = _Draft(family)
    for direction in PolicyType:
        for isolation in access.isolations(direction, family):
            draft.isolate(isolation)
    return draft.finish() if draft.is_needed else None


@dataclass(frozen=True, slots=True)
class _Side:
    """The words of a direction: whose address is the pod's, and whose that of the other end."""

    own: str
    remote: str


_SIDES = {PolicyType.INGRESS: _Side("daddr", "saddr"), PolicyType.EGRESS: _Side("saddr", "daddr")}


class _Draft:
    """A table while it is being written."""

    def __init__(self, family: IPFamily) -> None:
        self._family = family
        self._ip = "ip" if family is IPFamily.IPV4 else "ip6"
        self._address = "ipv4_addr" if family is IPFamily.IPV4 else "ipv6_addr"
        self._sets: dict[str, NftSet] = {}
        self._chains: dict[str, NftChain] = {}
        self._pods: dict[PolicyType, list[str]] = {}
        self._self: set[str] = set()

    @property
    def is_needed(self) -> bool:
        """True if a pod is isolated."""
        return bool(self._pods)

    def isolate(self, isolation: Isolation) -> None:
        """Add the chains of some pods, and these to the map that leads there."""
        direction = isolation.direction.lower()
        chain = f"{direction}-{_hash(repr((isolation.policies, isolation.named)))}"
        addresses = [(pod, pod.address(self._family)) for pod in isolation.pods]
        for pod, address in addresses:
            if address is not None:
                text, note = address_text(address), _comment(f"pod {pod.full_name}")
                self._pods.setdefault(isolation.direction, []).append(
                    f"{text}{note} : jump {chain}"
                )
                self._self.add(f"{text} . {text}{note}")
        drop = f"counter drop{_comment('isolated by ' + ', '.join(isolation.policies))}"
        rules = []
        for protocol in Protocol:
            if ports := self._ports(chain, isolation, protocol, drop):
                rules.append(f"{protocol.lower()} dport vmap @{ports}")
        rules.append(self._to(chain, _of_any(isolation.allowances), isolation.direction, drop))
        self._chain(chain, rules, _note(isolation.policies))

    def _ports(self, chain: str, isolation: Isolation, protocol: Protocol, drop: str) -> str:
        """The map of the protocol's ports for which other rules count than for the rest, if any."""
        own = [item for item in isolation.allowances if item.protocol in (None, protocol)]
        cuts = [(item.ports, item.protocol) for item in own if item.protocol is protocol]
        elements = []
        for piece in _segments([span for span, _ in cuts]):
            chosen = tuple(
                item for item in own if item.ports.first <= piece.first <= item.ports.last
            )
            verdict = self._to(chain, chosen, isolation.direction, drop)
            elements.append(f"{_port_text(piece)} : {verdict}")
        if not elements:
            return ""
        name = f"{chain}-{protocol.lower()}"
        header = ("type inet_service : verdict", "flags interval")
        self._sets[name] = NftSet("map", name, header, tuple(sorted(elements)))
        return name

    def _to(self, chain: str, chosen: Sequence[Allowance], direction: PolicyType, drop: str) -> str:
        """`goto` the chain in which these allowances count, which is made; none: the drop."""
        if not chosen:
            return drop
        if chosen[0].remotes is None:
            return f"goto {self._allow(chosen[0].rule)}"
        key = repr([(str(i.rule), i.protocol, i.ports.first, i.ports.last) for i in chosen])
        name = f"{chain}-{_hash(key)}"
        if name not in self._chains:
            self._chain(name, self._by_remote(name, chosen, direction, drop))
        return f"goto {name}"

    def _by_remote(
        self, name: str, chosen: Sequence[Allowance], direction: PolicyType, drop: str
    ) -> Iterator[str]:
        """A look-up of the other end's address, then the rule for everybody, or the end."""
        everybody = next((i for i, item in enumerate(chosen) if item.remotes is None), None)
        owned = [(span, item.rule) for item in chosen[:everybody] for span in item.remotes or ()]
        if owned:
            elements = tuple(sorted(map(self._element, disjoint(owned))))
            header = (f"type {self._address} : verdict", "flags interval")
            self._sets[name] = NftSet("map", name, header, elements)
            yield f"{self._ip} {_SIDES[direction].remote} vmap @{name}"
        yield drop if everybody is None else f"goto {self._allow(chosen[everybody].rule)}"

    def _element(self, piece: Piece[RuleName]) -> str:
        text = span_text(piece.span.first, piece.span.last, self._family.version)
        return f"{text}{_comment(piece.span.note)} : goto {self._allow(piece.owner)}"

    def _allow(self, rule: RuleName) -> str:
        """The chain that counts what the rule lets through."""
        name = _name(f"allow-{rule.policy}/{rule.direction.lower()}/{rule.index}")
        if name not in self._chains:
            self._chain(name, [f"counter{_comment(f'allowed by {rule}')}"])
        return name

    def _chain(self, name: str, rules: Iterable[str], comment: str = "") -> None:
        self._chains[name] = NftChain(name)  # so that what refers to it finds it
        self._chains[name] = NftChain(name, rules=tuple(rules), comment=comment)

    # -- the whole ---------------------------------------------------------------------------------

    def finish(self) -> NftTable:
        """The table in normal form."""
        self._base()
        return NftTable(
            self._family,
            TABLE,
            tuple(self._sets[name] for name in sorted(self._sets)),
            tuple(self._chains[name] for name in sorted(self._chains)),
            comment="NetworkPolicies",
        )

    def _base(self) -> None:
        rules = [
            # conntrack doesn't track neighbor discovery, which a bridge shows to ip6's hooks
            'ct state established,related,untracked accept comment "answers, neighbor discovery"',
            'fib saddr type local accept comment "the node to its own pods"',
            f'{self._ip} saddr . {self._ip} daddr @self accept comment "a pod to itself"',
        ]
        pair = f"type {self._address} . {self._address}"
        self._sets["self"] = NftSet("set", "self", (pair,), tuple(sorted(self._self)))
        for direction in (PolicyType.EGRESS, PolicyType.INGRESS):
            if direction in self._pods:
                name = direction.lower()
                header = (f"type {self._address} : verdict",)
                elements = tuple(sorted(self._pods[direction]))
                self._sets[name] = NftSet("map", name, header, elements)
                rules.append(f"{self._ip} {_SIDES[direction].own} vmap @{name}")
        self._chains["postrouting"] = NftChain("postrouting", HOOK, tuple(rules))


def _of_any(allowances: Iterable[Allowance]) -> tuple[Allowance, ...]:
    """Those that count for protocols and ports that nothing names."""
    return tuple(item for item in allowances if item.protocol is None)


def _segments(spans: Sequence[Span]) -> Iterator[Span]:
    """The numbers of the spans, cut wherever one of them begins or ends."""
    cuts = sorted({cut for span in spans for cut in (span.first, span.last + 1)})
    for first, following in itertools.pairwise(cuts):
        if any(span.first <= first <= span.last for span in spans):
            yield Span(first, following - 1)


def _port_text(span: Span) -> str:
    return str(span.first) if span.first == span.last else f"{span.first}-{span.last}"


def _hash(text: str) -> str:
    """Eight characters, as kube-proxy's nft chains have them."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest())[:8].decode()


def _name(text: str) -> str:
    """The name itself, or if it is too long its beginning with a hash of all of it."""
    return text if len(text) <= NAME_MAX else f"{text[:NAME_MAX]}...{_hash(text)}"


def _comment(text: str) -> str:
    return f' comment "{_cut(text)}"' if text else ""


def _note(policies: Sequence[str]) -> str:
    return _cut(f"pods isolated by {', '.join(policies)}")


def _cut(text: str) -> str:
    return text if len(text) <= COMMENT_MAX else f"{text[: COMMENT_MAX - 3]}..."
