"""Traffic control by rtnetlink: a link's shaper as messages, and the shapers that are found.

Sources: linux/pkt_sched.h, linux/pkt_cls.h; net/sched/sch_htb.c, sch_netem.c, sch_tbf.c,
sch_fifo.c, cls_u32.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import assert_never

from pyroute2.netlink import NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE
from pyroute2.netlink.rtnl import (
    RTM_DELQDISC,
    RTM_DELTCLASS,
    RTM_DELTFILTER,
    RTM_GETTCLASS,
    RTM_GETTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTCLASS,
    RTM_NEWTFILTER,
)

from kns.kernel import values
from kns.kernel.netlink import BODY, Socket, attribute, attributes, readdressed
from kns.state.traffic import (
    PRIORITY,
    UNSHAPED,
    WHOLE_LINK,
    AddClass,
    AddFilter,
    ChangeQueue,
    DeleteClass,
    DeleteFilters,
    Discard,
    MakeRoot,
    Netem,
    PacketMatch,
    Queue,
    Shaper,
    Step,
    TokenBucket,
    TrafficClass,
    steps,
)

#: struct tcmsg: family, ifindex, handle, parent, info
TCMSG = struct.Struct("=BxxxiIII")
#: linux/pkt_sched.h TC_H_ROOT
ROOT = 0xFFFFFFFF
#: the handle `1:` of each shaper's root
HANDLE = 0x1_0000
KIND, OPTIONS = 1, 2

_U32 = struct.Struct("=I")
#: struct tc_fifo_qopt: limit, in packets for pfifo
_NO_ROOM = _U32.pack(0)
#: struct tc_ratespec: cell_log, linklayer (1: Ethernet), overhead, cell_align, mpu, bytes/s
_RATESPEC = struct.Struct("=BBHhHI")
_ETHERNET = 1
#: struct tc_htb_glob: version, rate2quantum, default class, debug, direct packets
_HTB_GLOB = struct.Struct("=IIIII")
_HTB_VERSION, _HTB_R2Q = 3, 10
_HTB_PARMS, _HTB_INIT = 1, 2
#: struct tc_htb_opt after its two rates: buffer and cbuffer in ticks of 64 ns, quantum, level, prio
_HTB_REST = struct.Struct("=IIIII")
_BURST_TICKS = 1_000_000 * 8 * 1_000_000_000 // UNSHAPED // 64
_QUANTUM = 60_000
#: struct tc_tbf_qopt after its two rates: limit, buffer, mtu
_TBF_REST = struct.Struct("=III")
_TBF_PARMS, _TBF_BURST = 1, 6
#: struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter
_NETEM = struct.Struct("=IIIIII")
_CORRELATIONS, _PAIR = struct.Struct("=III"), struct.Struct("=II")
_NETEM_RATE = struct.Struct("=IiIi")
_NANOSECONDS = struct.Struct("=q")
_N_CORR, _N_REORDER, _N_CORRUPT, _N_RATE, _N_LATENCY, _N_JITTER = 1, 3, 4, 6, 10, 11
_NETEM_NAMES = {_N_CORR: "corr", _N_REORDER: "reorder", _N_CORRUPT: "corrupt", _N_RATE: "rate",
                _N_LATENCY: "latency", _N_JITTER: "jitter"}  # fmt: skip
#: struct tc_u32_sel: flags, offshift, nkeys, offmask, off, offoff, hoff, hmask; then its keys
_SEL = struct.Struct("=BBBxHHhhI")
_KEY = struct.Struct("=4s4sii")
_TERMINAL = 1
_U32_CLASSID, _U32_SEL = 1, 5
#: linux/if_ether.h ETH_P_*
_PROTOCOLS = {"all": 0x0003, "ip": 0x0800, "ipv6": 0x86DD}
_FULL = 0xFFFFFFFF


# -- messages --------------------------------------------------------------------------------------


def shape(before: Shaper | None, after: Shaper, index: int) -> Iterator[bytes]:
    """Make the one shaper of a link the other; None: from nothing."""
    for step in steps(before, after):
        yield from _messages(step, index)


def _messages(step: Step, index: int) -> Iterator[bytes]:
    match step:
        case MakeRoot():
            glob = _HTB_GLOB.pack(_HTB_VERSION, _HTB_R2Q, WHOLE_LINK, 0, 0)
            yield _message(RTM_NEWQDISC, index, HANDLE, ROOT, "htb", attribute(_HTB_INIT, glob))
        case AddClass(number, queue):
            classid = HANDLE | number
            yield _message(RTM_NEWTCLASS, index, classid, HANDLE, "htb", _class_options())
            kind, options = _queue_options(queue)
            yield _message(RTM_NEWQDISC, index, (number + 1) << 16, classid, kind, options)
        case ChangeQueue(number, queue):
            # without a handle the queue that is there is changed, or if it is of another kind left
            kind, options = _queue_options(queue)
            parent, flags = HANDLE | number, NLM_F_CREATE | NLM_F_REPLACE
            yield _message(RTM_NEWQDISC, index, 0, parent, kind, options, flags=flags)
        case AddFilter(match, number, priority):
            info = _info(priority, match.protocol)
            options = _filter_options(match, number)
            yield _message(RTM_NEWTFILTER, index, 0, HANDLE, "u32", options, info)
        case DeleteFilters(priority, protocol):
            body = TCMSG.pack(0, index, 0, HANDLE, _info(priority, protocol))
            yield readdressed(body, RTM_DELTFILTER)
        case DeleteClass(number):
            yield readdressed(TCMSG.pack(0, index, HANDLE | number, HANDLE, 0), RTM_DELTCLASS)
        case _:
            assert_never(step)


def _info(priority: int, protocol: str) -> int:
    return priority << 16 | _swapped(_PROTOCOLS[protocol])


def _filter_options(match: PacketMatch, number: int) -> bytes:
    keys = tuple(_keys(match))
    selector = _SEL.pack(_TERMINAL, 0, len(keys), 0, 0, 0, 0, 0)
    for mask, value, offset in keys:
        selector += _KEY.pack(mask, value, offset, 0)
    classid = attribute(_U32_CLASSID, _U32.pack(HANDLE | number))
    return classid + attribute(_U32_SEL, selector)


def delete_shaper(index: int) -> bytes:
    """Take the root off the link; classes, queues and filters go with it."""
    return readdressed(TCMSG.pack(0, index, 0, ROOT, 0), RTM_DELQDISC)


def _message(  # noqa: PLR0913, PLR0917 - the fields of a tcmsg
    number: int,
    index: int,
    handle: int,
    parent: int,
    kind: str,
    options: bytes,
    info: int = 0,
    *,
    flags: int = NLM_F_CREATE | NLM_F_EXCL,
) -> bytes:
    body = TCMSG.pack(0, index, handle, parent, info)
    body += attribute(KIND, f"{kind}\0".encode()) + attribute(OPTIONS, options)
    return readdressed(body, number, flags)


def _swapped(number: int) -> int:
    return int.from_bytes(number.to_bytes(2, "big"), "little")


def _ratespec(bits: int) -> bytes:
    return _RATESPEC.pack(0, _ETHERNET, 0, 0, 0, bits // 8)


def _class_options() -> bytes:
    rest = _HTB_REST.pack(_BURST_TICKS, _BURST_TICKS, _QUANTUM, 0, 0)
    return attribute(_HTB_PARMS, _ratespec(UNSHAPED) * 2 + rest)


def _queue_options(queue: Queue) -> tuple[str, bytes]:
    if isinstance(queue, TokenBucket):
        nothing = bytes(_RATESPEC.size)
        parms = _ratespec(queue.rate) + nothing + _TBF_REST.pack(queue.limit, 0, 0)
        burst = attribute(_TBF_BURST, _U32.pack(queue.burst))
        return "tbf", attribute(_TBF_PARMS, parms) + burst
    if isinstance(queue, Discard):
        return "pfifo", _NO_ROOM
    # netem reorders every gap-th packet with that probability
    gap = 1 if queue.reorder else 0
    head = _NETEM.pack(0, queue.limit, _part(queue.loss), gap, _part(queue.duplicate), 0)
    correlations = (queue.delay_correlation, queue.loss_correlation, queue.duplicate_correlation)
    options = head + attribute(_N_CORR, _CORRELATIONS.pack(*map(_part, correlations)))
    options += attribute(_N_REORDER, _pair(queue.reorder, queue.reorder_correlation))
    options += attribute(_N_CORRUPT, _pair(queue.corrupt, queue.corrupt_correlation))
    options += attribute(_N_RATE, _NETEM_RATE.pack(queue.rate // 8, 0, 0, 0))
    options += attribute(_N_LATENCY, _NANOSECONDS.pack(queue.delay * 1000))
    return "netem", options + attribute(_N_JITTER, _NANOSECONDS.pack(queue.jitter * 1000))


def _microseconds(nanoseconds: bytes) -> int:
    """Rounded: what `tc` sets is a number of its ticks of 64 ns."""
    return (int(_NANOSECONDS.unpack(nanoseconds)[0]) + 500) // 1000


def _pair(share: int, correlation: int) -> bytes:
    return _PAIR.pack(_part(share), _part(correlation))


def _part(millionths: int) -> int:
    """A share as the kernel has it: of 2³² - 1."""
    return round(millionths * _FULL / 1_000_000)


def _millionths(part: int) -> int:
    return round(part * 1_000_000 / _FULL)


def _keys(match: PacketMatch) -> Iterator[tuple[bytes, bytes, int]]:
    """What u32 compares: mask, value and offset of each four bytes, from the network header."""
    if match.destination_mac:
        mac = bytes.fromhex(match.destination_mac.replace(":", ""))
        yield b"\0\0\xff\xff", b"\0\0" + mac[:2], -16
        yield b"\xff" * 4, mac[2:], -12
        return
    network = match.source or match.destination
    assert network is not None  # noqa: S101 - a match has one of its fields
    is_source = match.source is not None
    start = (12 if is_source else 16) if network.version == 4 else (8 if is_source else 24)
    mask, value = network.netmask.packed, network.network_address.packed
    for at in range(0, len(mask), 4):
        if any(mask[at : at + 4]):
            yield mask[at : at + 4], value[at : at + 4], start + at


# -- dumps -----------------------------------------------------------------------------------------


def read_shaper(
    sock: Socket, index: int, ifname: str, root: bytes, leaves: Mapping[int, tuple[str, bytes]]
) -> Shaper | None:
    """The shaper of a link whose root is HTB's; None if it is not as kns makes one.

    `root` are the options of the root, `leaves` kind and options of the qdiscs by their parent.
    """
    found = attributes(root, {_HTB_INIT: "init"}).get("init", b"")
    numbers = sorted(_classes(sock, index))
    queues = {number: _read_queue(*leaves.get(HANDLE | number, ("", b""))) for number in numbers}
    filters = _filters(sock, index)
    if len(found) < _HTB_GLOB.size or _HTB_GLOB.unpack_from(found)[2] != WHOLE_LINK:
        return None
    if filters is None:
        return None
    matches, band = filters
    classes = []
    for number, queue in queues.items():
        if queue is None:
            return None
        own = tuple(match for match, classid in matches if classid == HANDLE | number)
        classes.append(TrafficClass(number, queue, own))
    return Shaper(ifname, tuple(classes), band)


def _classes(sock: Socket, index: int) -> Iterator[int]:
    request = readdressed(TCMSG.pack(0, index, 0, 0, 0), RTM_GETTCLASS, NLM_F_DUMP)
    for data in sock.dump(request):
        _family, _index, handle, parent, _info = TCMSG.unpack_from(data, BODY)
        if parent in (ROOT, HANDLE) and handle >> 16 == HANDLE >> 16:
            yield handle & 0xFFFF


def _read_queue(kind: str, options: bytes) -> Queue | None:
    if kind == "tbf":
        parms = attributes(options, {_TBF_PARMS: "parms"})["parms"]
        queue = TokenBucket(_RATESPEC.unpack_from(parms)[5] * 8)
        limit = _TBF_REST.unpack_from(parms, 2 * _RATESPEC.size)[0]
        return queue if limit == queue.limit else None
    if kind == "pfifo":
        return Discard() if options[: _U32.size] == _NO_ROOM else None
    if kind != "netem":
        return None
    _latency, limit, loss, _gap, duplicate, _jitter = _NETEM.unpack_from(options)
    parts = attributes(options, _NETEM_NAMES, _NETEM.size)
    delay_corr, loss_corr, duplicate_corr = _CORRELATIONS.unpack(parts["corr"])
    reorder, reorder_corr = _PAIR.unpack(parts["reorder"])
    corrupt, corrupt_corr = _PAIR.unpack(parts["corrupt"])
    return Netem(
        delay=_microseconds(parts["latency"]),
        jitter=_microseconds(parts["jitter"]),
        delay_correlation=_millionths(delay_corr),
        loss=_millionths(loss),
        loss_correlation=_millionths(loss_corr),
        duplicate=_millionths(duplicate),
        duplicate_correlation=_millionths(duplicate_corr),
        corrupt=_millionths(corrupt),
        corrupt_correlation=_millionths(corrupt_corr),
        reorder=_millionths(reorder),
        reorder_correlation=_millionths(reorder_corr),
        rate=_NETEM_RATE.unpack(parts["rate"])[0] * 8,
        limit=limit,
    )


def _filters(sock: Socket, index: int) -> tuple[Sequence[tuple[PacketMatch, int]], int] | None:
    """Each filter's match and class, in their order, and the band of their priorities.

    None if one of them is none of kns', or not all are of one band.
    """
    request = readdressed(TCMSG.pack(0, index, 0, HANDLE, 0), RTM_GETTFILTER, NLM_F_DUMP)
    found: list[tuple[PacketMatch, int]] = []
    bands: set[int] = set()
    for data in sock.dump(request):
        info = TCMSG.unpack_from(data, BODY)[4]
        outer = attributes(data, {KIND: "kind", OPTIONS: "options"}, BODY + TCMSG.size)
        if values.text(outer["kind"]) != "u32":
            return None
        inner = attributes(outer.get("options", b""), {_U32_CLASSID: "class", _U32_SEL: "sel"})
        if "sel" not in inner:
            continue  # a hash table, which the first filter makes
        match = _read_match(inner["sel"], info & 0xFFFF)
        if match is None:
            return None
        band, place = divmod((info >> 16) - 1, len(PRIORITY))
        if place + 1 != PRIORITY[match.protocol] or band > 1:
            return None
        bands.add(band)
        found.append((match, values.number(inner.get("class", b""))))
    return (found, bands.pop() if bands else 0) if len(bands) < 2 else None


def _read_match(selector: bytes, protocol: int) -> PacketMatch | None:
    count = _SEL.unpack_from(selector)[2]
    keys = [
        _KEY.unpack_from(selector, _SEL.size + number * _KEY.size)[:3] for number in range(count)
    ]
    if protocol == _swapped(_PROTOCOLS["all"]):
        found = PacketMatch(destination_mac=values.mac(b"".join(value for _, value, _ in keys)[2:]))
    else:
        size = 4 if protocol == _swapped(_PROTOCOLS["ip"]) else 16
        mask = b"".join(mask for mask, _, _ in keys).ljust(size, b"\0")
        value = b"".join(value for _, value, _ in keys).ljust(size, b"\0")
        try:
            network = ip_network((value, int.from_bytes(mask).bit_count()))
        except ValueError:
            return None
        is_source = bool(keys) and keys[0][2] in (8, 12)
        found = PacketMatch(source=network) if is_source else PacketMatch(destination=network)
    return found if list(_keys(found)) == keys else None
