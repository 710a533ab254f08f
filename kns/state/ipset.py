"""ipsets as text: what `ipset restore` loads to turn some sets into others, and `ipset save` back.

Sets are made before the rules that name them and destroyed after those are gone, so there are two
texts: `changes` comes before the rules, `leftovers` after.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network

from kns.state.model import IpSet
from kns.state.packet import Packet

SAVE = ("ipset", "save")
RESTORE = ("ipset", "-exist", "restore")
#: what ipset itself asks for; the kernel doubles it when a bucket gets too full
HASH_SIZE = 1024
_GROWN = re.compile(r"\bhashsize \d+\b")


def changes(desired: Iterable[IpSet], observed: Iterable[IpSet]) -> str:
    """The input of `ipset restore` that makes the desired sets and their entries.

    A set whose type or options differ is made anew: rules that name it must be gone by then,
    which is so because options follow from the family and the set's name alone.
    """
    found = {item.name: item for item in observed}
    return _joined(line for item in desired for line in _to(item, found.get(item.name)))


def leftovers(desired: Iterable[IpSet], observed: Iterable[IpSet]) -> str:
    """The input of `ipset restore` that destroys the sets that nobody desires any more."""
    wanted = {item.name for item in desired}
    return _joined(f"destroy {item.name}" for item in observed if item.name not in wanted)


def _to(item: IpSet, before: IpSet | None) -> Iterator[str]:
    same = before is not None and (before.type, before.options) == (item.type, item.options)
    if before is not None and not same:
        yield f"destroy {item.name}"
    if not same:
        yield f"create {item.name} {item.type} {item.options}".rstrip()
    have = set(before.entries) if before is not None and same else set()
    want = set(item.entries)
    yield from (f"add {item.name} {entry}" for entry in item.entries if entry not in have)
    yield from (f"del {item.name} {entry}" for entry in sorted(have - want))


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def parse_save(text: str) -> tuple[IpSet, ...]:
    """What `ipset save` printed, by name; entries sorted as text.

    No part of what a set is: `initval`, the hash's random seed, which newer releases print; and a
    `hashsize` above what was asked for, which is how far the kernel has let the table grow.
    """
    created: dict[str, tuple[str, str]] = {}
    entries: dict[str, list[str]] = {}
    for line in text.splitlines():
        verb, name, rest = line.split(" ", 2)
        if verb == "create":
            kind, _, options = rest.partition(" ")
            created[name] = (kind, _as_created(options))
            entries[name] = []
        else:
            entries[name].append(rest)
    return tuple(
        IpSet(name, kind, options, tuple(sorted(entries[name])))
        for name, (kind, options) in sorted(created.items())
    )


def _as_created(options: str) -> str:
    before, _, after = options.partition(" initval ")
    stated = f"{before} {after.partition(' ')[2]}".strip() if after else before.strip()
    return _GROWN.sub(f"hashsize {HASH_SIZE}", stated)


# -- membership ------------------------------------------------------------------------------------


def is_member(item: IpSet, directions: Sequence[str], packet: Packet) -> bool:
    """True if the packet's addresses and port are an entry of the set.

    `directions` are `src` or `dst`, one for each part of the set's type (`hash:ip,port`).
    """
    method, _, parts = item.type.partition(":")
    kinds = parts.split(",")
    return any(
        all(
            _fits(method, kind, direction, text, packet)
            for kind, direction, text in zip(
                kinds, directions, entry.partition(" ")[0].split(","), strict=False
            )
        )
        for entry in item.entries
    )


def _fits(method: str, kind: str, direction: str, text: str, packet: Packet) -> bool:
    if kind == "port":
        port = packet.source_port if direction == "src" else packet.port
        return text == (str(port) if method == "bitmap" else f"{packet.protocol}:{port}")
    address = packet.source if direction == "src" else packet.destination
    return address in ip_network(text)
