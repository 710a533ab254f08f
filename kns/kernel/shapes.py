"""Messages of pyroute2, each shape of message encoded once and then filled in.

    @filled
    def message(index, ip, *, prefixlen) -> nlmsg      positional values are filled in,
        …                                              keywords are part of the shape

pyroute2 takes 20 to 180 µs to encode a message, and a lab of 1,000 netns needs 8,000 of them;
filling one in takes 3. Nothing here knows an attribute or an offset: where a value stands is seen
by encoding two messages that differ in every value, and a shape counts only if filling it in gives
what pyroute2 writes for the message at hand.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from operator import itemgetter
from typing import Any, ParamSpec

from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST, nlmsg

P = ParamSpec("P")

#: what can be filled in. An int is one of 32 bits in host order; None is an attribute left out
Value = int | str | IPv4Address | IPv6Address | None
#: a shape's bytes with a `%b` for each value, and which values go there
_Shape = tuple[bytes, Callable[[Sequence[bytes]], object]]


class Mac(str):
    """A MAC address as text."""

    __slots__ = ()


class Port(int):
    """A port: two bytes in network order."""

    __slots__ = ()


def request(
    kind: type[nlmsg],
    number: int,
    flags: int,
    attributes: Sequence[tuple[str, object]] = (),
    /,
    **fields: object,
) -> nlmsg:
    """A request that the kernel acknowledges, not yet encoded.

    `number` is the message's type, `fields` are those of its fixed part.
    """
    message = kind()
    message["header"] = {"type": number, "flags": NLM_F_REQUEST | NLM_F_ACK | flags}
    message.update(fields)
    message["attrs"] = list(attributes)
    return message


def encoded(message: nlmsg) -> bytes:
    """What pyroute2 writes; the sequence number is 0."""
    message.encode()
    return bytes(message.data)


def filled(build: Callable[P, nlmsg]) -> Callable[P, bytes]:
    """`build`, encoded: its positional values are filled in, its keywords make the shape."""
    shapes: dict[tuple[object, ...], _Shape] = {}

    @functools.wraps(build)
    def fill(*values: P.args, **shape: P.kwargs) -> bytes:
        raw = [_BYTES[type(value)](value) for value in values]
        key = (*map(type, values), *map(len, raw), *shape.values())
        found = shapes.get(key)
        if found is None:
            found = shapes[key] = _learn(build, values, shape)
        layout, pick = found
        return layout % pick(raw)

    return fill


def _learn(
    build: Callable[..., nlmsg], values: Sequence[Any], shape: Mapping[str, object]
) -> _Shape:
    first, ours = _with_samples(build, values, shape, 0x41)
    second, theirs = _with_samples(build, values, shape, 0x61)
    places = {
        at: n
        for n, (one, other) in enumerate(zip(ours, theirs, strict=True))
        for at in _found(first, one)
        if second.startswith(other, at)
    }
    layout, end = b"", 0
    for at in sorted(places):
        layout += _escaped(first[end:at]) + b"%b"
        end = at + len(ours[places[at]])
    layout += _escaped(first[end:])
    order = [places[at] for at in sorted(places)]
    pick: Callable[[Sequence[bytes]], object] = itemgetter(*order) if order else _nothing
    raw = [_BYTES[type(value)](value) for value in values]
    if layout % pick(raw) != encoded(build(*values, **shape)):
        raise ValueError(f"{build.__name__} can't be filled in: {values} {shape}")
    return layout, pick


def _with_samples(
    build: Callable[..., nlmsg], values: Sequence[Any], shape: Mapping[str, object], byte: int
) -> tuple[bytes, list[bytes]]:
    """The message with each value made of one byte of its own, and those values' bytes."""
    samples = [
        _sample(value, len(_BYTES[type(value)](value)), byte + n) for n, value in enumerate(values)
    ]
    message = encoded(build(*samples, **shape))
    return message, [_BYTES[type(sample)](sample) for sample in samples]


def _nothing(_raw: Sequence[bytes]) -> object:
    return ()


def _escaped(data: bytes) -> bytes:
    return data.replace(b"%", b"%%")


def _found(data: bytes, part: bytes) -> Iterator[int]:
    at = data.find(part) if part else -1
    while at >= 0:
        yield at
        at = data.find(part, at + len(part))


_BYTES: Mapping[type, Callable[..., bytes]] = {
    int: lambda value: value.to_bytes(4, sys.byteorder),
    Port: lambda value: value.to_bytes(2, "big"),
    str: str.encode,
    Mac: lambda value: bytes.fromhex(value.replace(":", "")),
    IPv4Address: lambda value: value.packed,
    IPv6Address: lambda value: value.packed,
    type(None): lambda _value: b"",
}


def _sample(value: Value, width: int, byte: int) -> Value:
    """A value of the same type and width, every byte of it the same."""
    raw = bytes([byte]) * width
    match value:
        case None:
            return None
        case Mac():
            return Mac(raw.hex(":"))
        case str():
            return raw.decode()
        case Port():
            return Port(int.from_bytes(raw, "big"))
        case int():
            return int.from_bytes(raw, "big")
        case IPv4Address():
            return IPv4Address(raw)
        case IPv6Address():
            return IPv6Address(raw)
