"""Traffic control: what a link does to the packets that leave by it, as `tc` has it.

    Shaper                   the root: an HTB qdisc `1:` whose own rate nobody reaches
    └── TrafficClass 1:N     what its matches choose, or what nothing else does
        └── Netem, TokenBucket or Discard

HTB and u32 are in kernels that have no other classes and filters.

One shaper becomes another by steps that no packet can slip through: a queue is changed where it is,
with the packets in it, and filters go after those that take their place have come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import assert_never

from kns.addresses import IPNetwork

#: bits per second: more than any link of a lab does
UNSHAPED = 32_000_000_000
#: packets that wait in a netem at most; tc's default
NETEM_LIMIT = 1000
#: numbers of classes: of what is discarded, that from which the rest is numbered in its order, and
#: that of what no match chooses, which HTB keeps from its making (it can't change)
DISCARDED, FIRST, WHOLE_LINK = 1, 2, 0xFFF


@dataclass(frozen=True, slots=True)
class Netem:
    """A netem qdisc. Times in microseconds, shares in millionths, the rate in bits per second."""

    delay: int = 0
    jitter: int = 0
    delay_correlation: int = 0
    loss: int = 0
    loss_correlation: int = 0
    duplicate: int = 0
    duplicate_correlation: int = 0
    corrupt: int = 0
    corrupt_correlation: int = 0
    reorder: int = 0
    reorder_correlation: int = 0
    rate: int = 0
    limit: int = NETEM_LIMIT


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A tbf qdisc of so many bits per second."""

    rate: int

    @property
    def burst(self) -> int:
        """Bytes sent at once: what ten milliseconds bring, and ten packets at least."""
        return max(self.rate // 800, 16_384)

    @property
    def limit(self) -> int:
        """Bytes that wait at most: a tenth of a second's, besides a burst."""
        return self.burst + max(self.rate // 80, 65_536)


@dataclass(frozen=True, slots=True)
class Discard:
    """A pfifo qdisc without room: every packet is dropped. It is in every kernel."""


Queue = Netem | TokenBucket | Discard


@dataclass(frozen=True, slots=True)
class PacketMatch:
    """Packets by one of their addresses: a network's, or a MAC address."""

    source: IPNetwork | None = None
    destination: IPNetwork | None = None
    destination_mac: str = ""

    @property
    def length(self) -> int:
        """How exact it is: bits that are compared."""
        network = self.source or self.destination
        return 48 if network is None else network.prefixlen

    @property
    def protocol(self) -> str:
        """The protocol of the packets, as `tc filter` names it."""
        network = self.source or self.destination
        return "all" if network is None else "ip" if network.version == 4 else "ipv6"


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """What is done to the packets that one of the matches chooses."""

    number: int
    queue: Queue
    matches: tuple[PacketMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Shaper:
    """What a link does to the packets that leave by it.

    To what no match chooses is done what the class WHOLE_LINK says; without it, nothing.
    `band`: which of the two sets of filters' priorities is in use.
    """

    ifname: str
    classes: tuple[TrafficClass, ...]
    band: int = field(default=0, compare=False)

    @property
    def filters(self) -> Iterator[tuple[PacketMatch, int]]:
        """Each match with its class, in the order in which they are tried.

        What is discarded comes first, then the most exact.
        """
        pairs = [(match, item) for item in self.classes for match in item.matches]
        pairs.sort(
            key=lambda pair: (
                PRIORITY[pair[0].protocol],
                not isinstance(pair[1].queue, Discard),
                -pair[0].length,
            )
        )
        yield from ((match, item.number) for match, item in pairs)


#: tc's priorities: filters of one have one protocol
PRIORITY = {"all": 1, "ip": 2, "ipv6": 3}


# -- from one to another ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MakeRoot:
    """Put the root on the link, which has none."""


@dataclass(frozen=True, slots=True)
class AddClass:
    """Make a class with its queue."""

    number: int
    queue: Queue


@dataclass(frozen=True, slots=True)
class ChangeQueue:
    """Change the queue of a class where it is; one of another kind takes its place."""

    number: int
    queue: Queue


@dataclass(frozen=True, slots=True)
class AddFilter:
    """Lead the packets of the match to a class."""

    match: PacketMatch
    number: int
    priority: int


@dataclass(frozen=True, slots=True)
class DeleteFilters:
    """Delete all filters of a priority, which have this protocol."""

    priority: int
    protocol: str


@dataclass(frozen=True, slots=True)
class DeleteClass:
    """Delete a class, to which no filter leads, with its queue."""

    number: int


Step = MakeRoot | AddClass | ChangeQueue | AddFilter | DeleteFilters | DeleteClass


def steps(before: Shaper | None, after: Shaper) -> Iterator[Step]:
    """From the one to the other; None: from nothing."""
    if before is None:
        yield MakeRoot()
    queues = {item.number: item.queue for item in before.classes} if before else {}
    for item in after.classes:
        if item.number not in queues:
            yield AddClass(item.number, item.queue)
        elif item.queue != queues[item.number]:
            yield ChangeQueue(item.number, item.queue)
    old, new = tuple(before.filters) if before else (), tuple(after.filters)
    if old != new:
        band = 1 - before.band if before else 0
        yield from (AddFilter(match, n, _priority(match.protocol, band)) for match, n in new)
        # the last that is asked goes first: what it would choose, another had chosen before it
        for protocol in reversed(dict.fromkeys(match.protocol for match, _ in old)):
            yield DeleteFilters(_priority(protocol, 1 - band), protocol)
    yield from map(DeleteClass, sorted(queues.keys() - {item.number for item in after.classes}))


def _priority(protocol: str, band: int) -> int:
    return PRIORITY[protocol] + band * len(PRIORITY)


# -- as commands -----------------------------------------------------------------------------------


def commands(before: Shaper | None, after: Shaper) -> Iterator[str]:
    """The `tc` commands that do it, without `tc` and the netns."""
    dev = f"dev {after.ifname}"
    for step in steps(before, after):
        match step:
            case MakeRoot():
                yield f"qdisc add {dev} root handle 1: htb default {WHOLE_LINK:x}"
            case AddClass():
                rate = "rate 32gbit burst 1000000 cburst 1000000 quantum 60000"
                yield f"class add {dev} parent 1: classid 1:{step.number:x} htb {rate}"
                parent = f"parent 1:{step.number:x} handle {step.number + 1:x}:"
                yield f"qdisc add {dev} {parent} {queue_words(step.queue)}"
            case ChangeQueue():
                yield f"qdisc replace {dev} parent 1:{step.number:x} {queue_words(step.queue)}"
            case AddFilter():
                where = f"parent 1: protocol {step.match.protocol} prio {step.priority}"
                what = f"u32 {_match_words(step.match)} flowid 1:{step.number:x}"
                yield f"filter add {dev} {where} {what}"
            case DeleteFilters():
                yield f"filter del {dev} parent 1: protocol {step.protocol} prio {step.priority}"
            case DeleteClass():
                yield f"class del {dev} classid 1:{step.number:x}"
            case _:
                assert_never(step)


def queue_words(queue: Queue) -> str:
    """The qdisc as `tc` takes it."""
    if isinstance(queue, TokenBucket):
        return f"tbf rate {queue.rate}bit burst {queue.burst} limit {queue.limit}"
    if isinstance(queue, Discard):
        return "pfifo limit 0"
    words = ["netem", f"limit {queue.limit}"]
    if queue.delay:
        jitter = f" {queue.jitter}us" if queue.jitter else ""
        words.append(f"delay {queue.delay}us{jitter}{_share(queue.delay_correlation)}")
    for name in ("loss", "duplicate", "corrupt", "reorder"):
        if share := getattr(queue, name):
            words.append(f"{name}{_share(share)}{_share(getattr(queue, f'{name}_correlation'))}")
    if queue.rate:
        words.append(f"rate {queue.rate}bit")
    return " ".join(words)


def _share(millionths: int) -> str:
    return f" {millionths / 10_000:g}%" if millionths else ""


def _match_words(match: PacketMatch) -> str:
    if match.destination_mac:
        return f"match ether dst {match.destination_mac}"
    family = "ip6" if match.protocol == "ipv6" else "ip"
    if match.source is not None:
        return f"match {family} src {match.source}"
    return f"match {family} dst {match.destination}"
