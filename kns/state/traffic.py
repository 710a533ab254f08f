"""Traffic control: what a link does to the packets that leave by it, as `tc` has it.

    Shaper                   the root: an HTB qdisc `1:` whose own rate nobody reaches
    └── TrafficClass 1:N     what its matches choose, or what nothing else does
        └── Netem, TokenBucket or Discard

HTB and u32 are in kernels that have no other classes and filters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kns.addresses import IPNetwork

#: bits per second: more than any link of a lab does
UNSHAPED = 32_000_000_000
#: packets that wait in a netem at most; tc's default
NETEM_LIMIT = 1000


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

    `default` is the class of what no match chooses; 0: nothing is done to it.
    """

    ifname: str
    classes: tuple[TrafficClass, ...]
    default: int = 0

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


# -- as commands -----------------------------------------------------------------------------------


def commands(shaper: Shaper) -> Iterator[str]:
    """The `tc` commands that make it, without `tc` and the netns."""
    dev = f"dev {shaper.ifname}"
    default = f" default {shaper.default:x}" if shaper.default else ""
    yield f"qdisc add {dev} root handle 1: htb{default}"
    for item in shaper.classes:
        rate = "rate 32gbit burst 1000000 cburst 1000000 quantum 60000"
        yield f"class add {dev} parent 1: classid 1:{item.number:x} htb {rate}"
        parent = f"parent 1:{item.number:x} handle {item.number + 1:x}:"
        yield f"qdisc add {dev} {parent} {queue_words(item.queue)}"
    for match, number in shaper.filters:
        where = f"parent 1: protocol {match.protocol} prio {PRIORITY[match.protocol]}"
        yield f"filter add {dev} {where} u32 {_match_words(match)} flowid 1:{number:x}"


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
