"""A virtual packet, and what becomes of it on its way through the rules of a netns.

Values for `kns.state.walk`: the packet, the rules that it met, and the passages it may take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address

from kns.addresses import IPAddress, IPFamily
from kns.state.model import Count


class Hook(StrEnum):
    """The places where netfilter looks at a packet, by nft's names."""

    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"


class Verdict(StrEnum):
    """What the rules say in the end."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection.

    `in_interface` is empty for a packet that the netns itself sends; `out_interface` is looked up
    in the routes where it is empty. `protocol` is as in /etc/protocols: tcp, udp, sctp, icmp,
    ipv6-icmp. `state` is the connection's, as conntrack names it.
    """

    source: IPAddress
    destination: IPAddress
    protocol: str = "tcp"
    port: int = 0
    source_port: int = 40000
    in_interface: str = ""
    out_interface: str = ""
    mark: int = 0
    state: str = "NEW"

    @property
    def family(self) -> IPFamily:
        """The family of its addresses."""
        return IPFamily.of(self.destination)


@dataclass(frozen=True, slots=True)
class MetRule:
    """A rule that the packet matched: where it stands, and its text there.

    A chain's policy that decided is met too, as `policy DROP`.
    """

    table: str
    chain: str
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """One of the ways that a packet may take: where rules choose by chance there are several.

    `packet` is the packet as it is by now, `rules` what it matched so far, in order. `verdict` is
    None as long as nothing has decided. `masquerade` says that its source becomes an address of
    the link it leaves by, `source` that it becomes this one.
    """

    packet: Packet
    rules: tuple[MetRule, ...] = ()
    verdict: Verdict | None = None
    destination_translated: bool = False
    masquerade: bool = False
    source: IPAddress | None = None

    @property
    def source_translated(self) -> bool:
        """True if its source is to be another."""
        return self.masquerade or self.source is not None

    @property
    def decided_by(self) -> MetRule | None:
        """The rule that dropped or rejected it."""
        return self.rules[-1] if self.verdict in (Verdict.DROP, Verdict.REJECT) else None

    def met(self, rule: MetRule) -> Passage:
        """The passage after it matched the rule too."""
        return replace(self, rules=(*self.rules, rule))

    def decided(self, verdict: Verdict) -> Passage:
        """The passage with a verdict."""
        return replace(self, verdict=verdict)

    def marked(self, mark: int) -> Passage:
        """The passage with another mark on its packet."""
        return replace(self, packet=replace(self.packet, mark=mark))

    def sent_to(self, address: IPAddress, port: int) -> Passage:
        """The passage with its destination translated; port 0 keeps the port. It is accepted."""
        packet = replace(self.packet, destination=address, port=port or self.packet.port)
        return replace(self, packet=packet, destination_translated=True, verdict=Verdict.ACCEPT)

    def masqueraded(self, source: IPAddress | None = None) -> Passage:
        """The passage with its source translated: to `source`, or to the link's own address."""
        return replace(self, masquerade=source is None, source=source, verdict=Verdict.ACCEPT)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where packets go. `protocol` is as in `Packet`."""

    address: IPAddress
    protocol: str
    port: int


class Relation(StrEnum):
    """What a rule has to do with some destinations."""

    #: it asks for no destination, or for a whole network
    GENERAL = "general"
    #: it names one of them
    ABOUT = "about"
    #: no packet to one of them can match it
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ListedRule:
    """A rule of a chain, or an element of its map, as `kns.state.listing` orders them.

    `target` is the chain or extension that it leads to, `chains` are all chains that it may lead
    to. `count` is None where nothing counts.
    """

    text: str
    relation: Relation = Relation.GENERAL
    count: Count | None = None
    target: str = ""
    chains: tuple[str, ...] = ()
    elements: tuple[ListedRule, ...] = ()

    @property
    def names(self) -> bool:
        """True if it names a destination that is asked for."""
        return self.relation is Relation.ABOUT


#: the rules of a chain as they are related to the destinations; no destinations: to any
Lister = Callable[[str, Sequence[Destination]], Iterator[ListedRule]]


@dataclass(frozen=True, slots=True)
class BaseChain:
    """Rules that are called at a hook, in the order of their priorities (linux/netfilter_ipv4.h).

    `translates` marks chains of type nat: they see a connection's first packet, until one of them
    has translated it. `run` leads a passage through and returns what can become of it; `rules`
    lists what is in this chain, or in another of its `table`.
    """

    hook: Hook
    priority: int
    translates: bool
    run: Callable[[Passage], Iterator[Passage]]
    table: str
    name: str
    rules: Lister


class UnknownRuleError(ValueError):
    """A rule that can't be followed; the message has its text."""


@contextmanager
def following(text: str) -> Iterator[None]:
    """What is unknown or missing in a rule becomes UnknownRuleError with the rule's text."""
    try:
        yield
    except UnknownRuleError:
        raise
    except (IndexError, KeyError, ValueError) as error:
        why = f": {error}" if isinstance(error, ValueError) else ""
        raise UnknownRuleError(f"the rule `{text}` can't be followed{why}") from error


def parse_target(text: str) -> tuple[IPAddress, int]:
    """Address and port of `10.0.0.1:80`, `[fd00::1]:80`, or an address alone: port 0."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return ip_address(address), int(port.removeprefix(":") or 0)
    address, _, port = text.partition(":") if text.count(":") == 1 else (text, "", "")
    return ip_address(address), int(port or 0)
