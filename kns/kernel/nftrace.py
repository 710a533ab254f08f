"""Which rules the packets of a netns meet, told by the kernel itself (nf_tables' tracing).

    table inet kns-trace-PID      made by a socket that owns it: the kernel removes the table when
      chain prerouting, output    the socket closes, however its process ends
        meta l4proto tcp meta nftrace set 1

From there on the kernel tells the group NFNLGRP_NFTRACE each rule that matches, each end of a
chain and each policy. Rules of the iptables programs are rules of nf_tables too, unless the
programs are the legacy ones. Tables with an owner came with Linux 5.12.

Source: linux/netfilter/nf_tables.h, nfnetlink.h; net/netfilter/nf_tables_trace.c.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kns.kernel import netns
from kns.kernel.rtnetlink import Socket, attr, attr_text, nest, parse_attributes

NETLINK_NETFILTER = 12
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
SO_RCVBUFFORCE = 33
NFNLGRP_NFTRACE = 9
SUBSYSTEM = 10 << 8
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_GETCHAIN = 0, 3, 4
NFT_MSG_NEWRULE, NFT_MSG_GETRULE, NFT_MSG_TRACE = 6, 7, 17
NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6 = 1, 2, 10
NFT_TABLE_F_OWNER = 2
NFTA_LIST_ELEM, NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 1, 2
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK = 1, 3, 4
NFTA_CHAIN_TYPE, NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY = 7, 1, 2
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_EXPRESSIONS = 1, 2, 3, 4
NFT_META_NFTRACE, NFT_META_L4PROTO, NFT_REG_1 = 12, 16, 1
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE, NLM_F_APPEND = 1, 4, 0x400, 0x800
NLMSG_ERROR = 2

#: with the process' number behind it, so that two traces don't meet
TABLE = "kns-trace-"
#: before conntrack's defragmentation (-400) and every other chain of the two hooks
PRIORITY = -450
#: where packets come into sight: the hooks at which marking begins
ENTRIES = {"prerouting": 0, "output": 3}
#: linux/netfilter.h: the hooks by number
HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
BUFFER = 16 << 20

_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct("=BBH")
_VERDICTS = {
    0: "drop",
    1: "accept",
    2: "stolen",
    3: "queue",
    -1: "continue",
    -2: "break",
    -3: "jump",
    -4: "goto",
    -5: "return",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One message: a rule that matched, the end of a chain (no handle), or a policy.

    `network` and `transport` are the headers as they were when the packet came into a base chain;
    only the first message of each base chain has them.
    """

    netns: str
    packet: int
    family: int
    table: str
    chain: str
    handle: int
    verdict: str
    target: str = ""
    is_policy: bool = False
    network: bytes = b""
    transport: bytes = b""
    mark: int = 0


class RuleTrace:
    """The rules met in a netns from the moment of opening on; `close` ends it."""

    def __init__(self, name: str, owner: socket.socket, ear: socket.socket) -> None:
        self.netns = name
        self._owner = owner
        self._ear = ear
        self.lost = False

    def read(self) -> list[Step]:
        """What has been met since the last call, in order. `lost` is set if some found no room."""
        found: list[Step] = []
        while True:
            try:
                data = self._ear.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost = True
                continue
            found += (step for body in _bodies(data) if (step := _step(self.netns, body)))

    def close(self) -> None:
        """Let the kernel remove the table."""
        self._ear.close()
        self._owner.close()


def open_trace(name: str, protocols: Sequence[int]) -> RuleTrace:
    """Begin to trace the packets of these IP protocols in the netns. OSError if it can't be."""
    return RuleTrace(name, *netns.call_in(name, _open_here, protocols))


def _open_here(protocols: Sequence[int]) -> tuple[socket.socket, socket.socket]:
    with contextlib.ExitStack() as stack:
        ear, owner = (stack.enter_context(_netfilter_socket()) for _ in range(2))
        with contextlib.suppress(PermissionError):
            ear.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        ear.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTRACE)
        _commit(owner, list(_table(protocols)))
        stack.pop_all()
    return owner, ear


def _netfilter_socket() -> socket.socket:
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
    )
    sock.bind((0, 0))
    return sock


# -- the table -------------------------------------------------------------------------------------


def _u32(kind: int, value: int) -> bytes:
    """nf_tables has all its numbers in network order."""
    return attr(kind, (value & 0xFFFFFFFF).to_bytes(4, "big"))


def _table(protocols: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    table = f"{TABLE}{os.getpid()}"
    yield NFT_MSG_NEWTABLE, attr_text(1, table) + _u32(2, NFT_TABLE_F_OWNER)
    for name, hook in ENTRIES.items():
        place = nest(
            NFTA_CHAIN_HOOK, _u32(NFTA_HOOK_HOOKNUM, hook), _u32(NFTA_HOOK_PRIORITY, PRIORITY)
        )
        yield (
            NFT_MSG_NEWCHAIN,
            attr_text(NFTA_CHAIN_TABLE, table)
            + attr_text(NFTA_CHAIN_NAME, name)
            + place
            + attr_text(NFTA_CHAIN_TYPE, "filter"),
        )
        for protocol in protocols:
            body = attr_text(NFTA_RULE_TABLE, table) + attr_text(NFTA_RULE_CHAIN, name)
            yield NFT_MSG_NEWRULE, body + nest(NFTA_RULE_EXPRESSIONS, *_mark_rule(protocol))


def _mark_rule(protocol: int) -> Iterator[bytes]:
    """`meta l4proto PROTOCOL meta nftrace set 1`."""
    yield _expression("meta", _u32(1, NFT_REG_1), _u32(2, NFT_META_L4PROTO))
    yield _expression("cmp", _u32(1, NFT_REG_1), _u32(2, 0), nest(3, attr(1, bytes((protocol,)))))
    yield _expression("immediate", _u32(1, NFT_REG_1), nest(2, attr(1, b"\x01")))
    yield _expression("meta", _u32(2, NFT_META_NFTRACE), _u32(3, NFT_REG_1))


def _expression(name: str, *attributes: bytes) -> bytes:
    return nest(NFTA_LIST_ELEM, attr_text(NFTA_EXPR_NAME, name), nest(NFTA_EXPR_DATA, *attributes))


def _commit(sock: socket.socket, messages: Sequence[tuple[int, bytes]]) -> None:
    """One transaction of new objects; OSError if the kernel refuses it."""
    chunks = [_batch(NFNL_MSG_BATCH_BEGIN, 0)]
    flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND
    for number, (kind, attributes) in enumerate(messages, 1):
        ack = NLM_F_ACK if number == len(messages) else 0
        body = _GENERIC.pack(NFPROTO_INET, 0, 0) + attributes
        chunks.append(_HEADER.pack(16 + len(body), SUBSYSTEM | kind, flags | ack, number, 0) + body)
    chunks.append(_batch(NFNL_MSG_BATCH_END, len(messages) + 1))
    sock.send(b"".join(chunks))
    sock.settimeout(5)
    while True:
        data = sock.recv(1 << 16)
        for length, kind, _flags, sequence, offset in _messages(data):
            if kind != NLMSG_ERROR:
                continue
            number = -struct.unpack_from("=i", data, offset)[0]
            if number:
                raise OSError(number, os.strerror(number))
            if sequence == len(messages) and length:
                return


def _batch(kind: int, sequence: int) -> bytes:
    # res_id, in network order, says whose batch it is
    body = struct.pack("=BB", 0, 0) + (SUBSYSTEM >> 8).to_bytes(2, "big")
    return _HEADER.pack(16 + len(body), kind, NLM_F_REQUEST, sequence, 0) + body


# -- what the kernel tells -------------------------------------------------------------------------


def _messages(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield length, kind, flags, sequence, offset + 16
        offset += (length + 3) & ~3


def _bodies(data: bytes) -> Iterator[bytes]:
    for length, kind, _flags, _sequence, offset in _messages(data):
        if kind == SUBSYSTEM | NFT_MSG_TRACE:
            yield data[offset : offset - 16 + length]


def _step(name: str, body: bytes) -> Step | None:
    parts = parse_attributes(body, _GENERIC.size)
    table = _text(parts.get(1, b""))
    if table.startswith(TABLE):
        return None
    verdict, target = _verdict(parts.get(5, b""))
    policy = parts.get(16)
    if policy is not None:
        verdict = _VERDICTS.get(_number(policy), "accept")
    return Step(
        netns=name,
        packet=_number(parts.get(6, b"")),
        family=body[0],
        table=table,
        chain=_text(parts.get(2, b"")),
        handle=_number(parts.get(3, b"")),
        verdict=verdict,
        target=target,
        is_policy=policy is not None,
        network=parts.get(8, b""),
        transport=parts.get(9, b""),
        mark=_number(parts.get(14, b"")),
    )


def _verdict(data: bytes) -> tuple[str, str]:
    parts = parse_attributes(data)
    code = int.from_bytes(parts.get(1, b"\xff\xff\xff\xff"), "big", signed=True)
    # the upper bits of a drop or queue hold an errno or a queue's number
    return _VERDICTS.get(code if code < 0 else code & 0xFF, "continue"), _text(parts.get(2, b""))


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


# -- which rule has which handle -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChainRules:
    """A chain: the handles of its rules in their order, and its hook if packets begin in it."""

    family: int
    table: str
    chain: str
    handles: tuple[int, ...]
    hook: str = ""
    priority: int = 0


def has_hooks(name: str) -> bool:
    """True if packets can meet rules of nf_tables in the netns."""
    return any(item.hook for item in netns.call_in(name, _hooks_here))


def _hooks_here() -> tuple[ChainRules, ...]:
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        return tuple(_chains(sock.dump(SUBSYSTEM | NFT_MSG_GETCHAIN, _GENERIC.pack(0, 0, 0)), {}))


def list_chains(name: str) -> tuple[ChainRules, ...]:
    """Every chain of nf_tables in the netns, those of the iptables programs too."""
    return netns.call_in(name, _list_here)


def _list_here() -> tuple[ChainRules, ...]:
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        chains = sock.dump(SUBSYSTEM | NFT_MSG_GETCHAIN, _GENERIC.pack(0, 0, 0))
        rules = sock.dump(SUBSYSTEM | NFT_MSG_GETRULE, _GENERIC.pack(0, 0, 0))
    handles: dict[tuple[int, str, str], list[int]] = {}
    for body in rules:
        parts = parse_attributes(body, _GENERIC.size)
        key = (body[0], _text(parts[NFTA_RULE_TABLE]), _text(parts[NFTA_RULE_CHAIN]))
        handles.setdefault(key, []).append(_number(parts[NFTA_RULE_HANDLE]))
    return tuple(_chains(chains, handles))


def _chains(
    bodies: Iterable[bytes], handles: dict[tuple[int, str, str], list[int]]
) -> Iterator[ChainRules]:
    for body in bodies:
        parts = parse_attributes(body, _GENERIC.size)
        key = (body[0], _text(parts[NFTA_CHAIN_TABLE]), _text(parts[NFTA_CHAIN_NAME]))
        place = parse_attributes(parts.get(NFTA_CHAIN_HOOK, b""))
        number = _number(place.get(NFTA_HOOK_HOOKNUM, b""))
        hook = HOOKS[number] if place and number < len(HOOKS) else ""
        priority = int.from_bytes(place.get(NFTA_HOOK_PRIORITY, b""), "big", signed=True)
        yield ChainRules(*key, tuple(handles.get(key, ())), hook, priority)
