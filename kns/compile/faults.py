"""Faults in the kernel: what links do to the packets that leave by them. Pure.

Where a packet is impaired is where its addresses are what the fault says: after translation.

    to a pod              the node's port of the pod's cable     by the sender's address
    pod → node, outside   the pod's eth0                         by the destination
    node → node           the node's eth0                        by the other node's MAC address
    node → outside        the node's eth0                        by the destination
    outside → node        the fabric's port of the node          by the sender's address
    one end alone         the link by which all of it leaves, or comes to it

What a partition keeps apart is discarded there, in both directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network

from kns.addresses import IPNetwork
from kns.cluster.faults import FaultEnds, ImpairedWay
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.cables import port_name
from kns.compile.pods import host_veth
from kns.kinds.faults import Impairment
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.state.model import HostState, Netns
from kns.state.requirements import Feature, Need
from kns.state.traffic import (
    DISCARDED,
    FIRST,
    NETEM_LIMIT,
    PRIORITY,
    WHOLE_LINK,
    Discard,
    Netem,
    PacketMatch,
    Queue,
    Shaper,
    TokenBucket,
    TrafficClass,
)

NETEM = Feature(
    "netem",
    Need.OPTIONAL,
    "faults: delay and loss on a link",
    ("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"),
    "sch_netem",
)
SHAPING = Feature(
    "rates of links",
    Need.OPTIONAL,
    "faults: rate, delay and loss between two places",
    ("tc", "-batch", "-"),
    "sch_htb sch_tbf cls_u32",
    """\
qdisc add dev lo root handle 1: htb
class add dev lo parent 1: classid 1:1 htb rate 1gbit
qdisc add dev lo parent 1:1 handle 2: tbf rate 1mbit burst 16384 limit 65536
filter add dev lo parent 1: protocol ip prio 1 u32 match ip src 10.0.0.1 flowid 1:1
""",
)
#: a link: its netns and name
_Place = tuple[str, str]
_Thing = Pod | Node | InternetHost


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a fault wants of one link; without matches: of all that leaves by it."""

    place: _Place
    matches: tuple[PacketMatch, ...] = ()


def with_faults(cluster: Cluster, state: HostState) -> HostState:
    """The state with the shapers of the lab's faults on its links, and no others."""
    found: dict[str, list[Shaper]] = {}
    for (netns, _), shaper in _shapers(cluster).items():
        found.setdefault(netns, []).append(shaper)

    def shaped(space: Netns) -> Netns:
        shapers = tuple(found.get(space.name, ()))
        return space if shapers == space.shapers else replace(space, shapers=shapers)

    return HostState(tuple(map(shaped, state.netns)))


def _shapers(cluster: Cluster) -> dict[_Place, Shaper]:
    made: dict[_Place, Shaper] = {}
    for queue, wishes in _queues(cluster):
        places: dict[_Place, list[PacketMatch]] = {}
        for wish in wishes:
            places.setdefault(wish.place, []).extend(wish.matches)
        for place, matches in places.items():
            before = made.get(place, Shaper(place[1], ()))
            made[place] = _with_class(before, queue, _ordered(matches))
    return made


def _queues(cluster: Cluster) -> Iterator[tuple[Queue, Iterator[_Wish]]]:
    """Each queue that packets go through, with where; what is discarded has one."""
    if cluster.faults.apart:
        yield Discard(), _discarded(cluster)
    for way in cluster.faults.impaired:
        yield queue_of(way.impairment), _wishes(cluster, way)


def _discarded(cluster: Cluster) -> Iterator[_Wish]:
    """Where packets between the sides of partitions are; a match is what makes it not all."""
    for item in cluster.faults.apart:
        for one, other in ((item.one, item.other), (item.other, item.one)):
            found = _pairs(cluster, one, other)
            yield from (wish for wish in found if wish.matches)


def _with_class(shaper: Shaper, queue: Queue, matches: tuple[PacketMatch, ...]) -> Shaper:
    """The shaper with one more class; of several for the whole link the last counts."""
    classes = {item.number: item for item in shaper.classes}
    others = classes.keys() - {DISCARDED, WHOLE_LINK}
    number = WHOLE_LINK if not matches else FIRST + len(others)
    if isinstance(queue, Discard):
        number = DISCARDED
    classes[number] = TrafficClass(number, queue, matches)
    return replace(shaper, classes=tuple(classes[key] for key in sorted(classes)))


def _ordered(matches: Iterable[PacketMatch]) -> tuple[PacketMatch, ...]:
    """Each once, in the order in which a link tries them."""
    unique = dict.fromkeys(matches)
    return tuple(sorted(unique, key=lambda item: (PRIORITY[item.protocol], -item.length)))


def queue_of(impairment: Impairment) -> Queue:
    """The qdisc that does it: netem, or for a rate alone tbf, which every kernel has."""
    if impairment == Impairment(rate=impairment.rate, limit=impairment.limit):
        return TokenBucket(impairment.rate)
    fields = {name: getattr(impairment, name) for name in Netem.__slots__}
    return Netem(**{**fields, "limit": impairment.limit or NETEM_LIMIT})


# -- which links -----------------------------------------------------------------------------------


def _wishes(cluster: Cluster, way: ImpairedWay) -> Iterator[_Wish]:
    if way.sources is None:
        for target in _things(cluster, way.targets or FaultEnds()):
            yield _Wish(_towards(cluster, target))
    elif way.targets is None:
        for source in _things(cluster, way.sources):
            yield _Wish(_leaving(cluster, source))
    else:
        yield from _pairs(cluster, way.sources, way.targets)


def _pairs(cluster: Cluster, sources: FaultEnds, targets: FaultEnds) -> Iterator[_Wish]:
    found = tuple(_things(cluster, targets))
    for source in _things(cluster, sources):
        for target in found:
            if target is not source:
                yield from _between(cluster, source, target)


def _things(cluster: Cluster, ends: FaultEnds) -> Iterator[_Thing]:
    pods = {pod.full_name: pod for pod in cluster.pods if not pod.host_network}
    hosts = {host.name: host for host in cluster.internet}
    nodes = {node.name: node for node in cluster.nodes}
    yield from (pods[name] for name in ends.pods if name in pods)
    yield from (nodes[name] for name in ends.nodes)
    yield from (hosts[name] for name in ends.hosts)


def _between(cluster: Cluster, source: _Thing, target: _Thing) -> Iterator[_Wish]:
    match source, target:
        case _, Pod():
            yield _Wish(_towards(cluster, target), tuple(_from(_addresses(source))))
        case Node(), Node():
            mac = names.mac(f"{names.netns_of_node(cluster.name, target.name)}/eth0")
            yield _Wish(_leaving(cluster, source), (PacketMatch(destination_mac=mac),))
        case Pod(), Node():
            own = (*target.addresses, *target.host_addresses)
            yield _Wish(_leaving(cluster, source), tuple(_to(map(ip_network, own))))
            for pod in cluster.pods_on(target.name):
                if not pod.host_network and pod is not source:
                    yield from _between(cluster, source, pod)
        case _, InternetHost():
            yield _Wish(_leaving(cluster, source), tuple(_to(_addresses(target))))
        case _:  # InternetHost(), Node()
            yield _Wish(_towards(cluster, target), tuple(_from(_addresses(source))))


def _addresses(thing: _Thing) -> Iterator[IPNetwork]:
    """The addresses under which it sends; a node's are also those of its pods."""
    yield from map(ip_network, thing.addresses)
    if isinstance(thing, Node):
        yield from map(ip_network, thing.host_addresses)
        yield from thing.pod_cidrs


def _from(networks: Iterable[IPNetwork]) -> Iterator[PacketMatch]:
    return (PacketMatch(source=network) for network in networks)


def _to(networks: Iterable[IPNetwork]) -> Iterator[PacketMatch]:
    return (PacketMatch(destination=network) for network in networks)


def _leaving(cluster: Cluster, thing: _Thing) -> _Place:
    """The link by which all leaves that the thing sends over its cable."""
    match thing:
        case Pod():
            return names.netns_of_pod(cluster.name, thing.namespace, thing.name), "eth0"
        case Node():
            return names.netns_of_node(cluster.name, thing.name), "eth0"
        case InternetHost():
            return names.netns_of_internet(cluster.name, thing.name), "eth0"


def _towards(cluster: Cluster, thing: _Thing) -> _Place:
    """The far end of its cable, by which all leaves that comes to it."""
    if isinstance(thing, Pod):
        return names.netns_of_node(cluster.name, thing.node), host_veth(cluster, thing)
    return names.fabric_netns(cluster.name), port_name("port", thing.name)
