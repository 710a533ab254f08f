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

from pyroute2.netlink import (
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_NETFILTER,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    SOL_NETLINK,
    nlmsg,
)
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, NFNLGRP_NFTRACE, nfgen_msg, nftsocket
from pyroute2.netlink.nfnetlink.nftsocket import (
    NFT_MSG_GETCHAIN,
    NFT_MSG_GETRULE,
    NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWRULE,
    NFT_MSG_NEWTABLE,
    NFT_MSG_TRACE,
    Cmp,
    Meta,
    Regs,
    nft_chain_msg,
    nft_rule_msg,
    nft_table_msg,
)

from kns.kernel import netns
from kns.kernel.netlink import BODY, Socket, attributes, messages, wanted
from kns.kernel.shapes import encoded, request

# what pyroute2 has no names for
SO_RCVBUFFORCE = 33
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NFT_TABLE_F_OWNER = 2
#: enum nft_trace_attributes, those that are looked at
_TRACE = {
    1: "TABLE",
    2: "CHAIN",
    3: "RULE_HANDLE",
    5: "VERDICT",
    6: "ID",
    8: "NETWORK_HEADER",
    9: "TRANSPORT_HEADER",
    14: "MARK",
    16: "POLICY",
}

#: a message's type is its subsystem's number, then its own
SUBSYSTEM = NFNL_SUBSYS_NFTABLES << 8
#: struct nfgenmsg: family, version, resource
_ATTRIBUTES = BODY + 4
_CHAIN = wanted(nft_chain_msg, "NFTA_CHAIN_TABLE", "NFTA_CHAIN_NAME", "NFTA_CHAIN_HOOK")
_HOOK = wanted(nft_chain_msg.hook, "NFTA_HOOK_HOOKNUM", "NFTA_HOOK_PRIORITY")
_RULE = wanted(nft_rule_msg, "NFTA_RULE_TABLE", "NFTA_RULE_CHAIN", "NFTA_RULE_HANDLE")
_VERDICT = wanted(
    nft_rule_msg.nft_expr.nft_immediate.nfta_data.verdict,
    "NFTA_VERDICT_CODE",
    "NFTA_VERDICT_CHAIN",
)

#: the families of tables
NFPROTO_INET: int = nftsocket.NFPROTO_INET
NFPROTO_IPV4: int = nftsocket.NFPROTO_IPV4
NFPROTO_IPV6: int = nftsocket.NFPROTO_IPV6

#: with the process' number behind it, so that two traces don't meet
TABLE = "kns-trace-"
#: before conntrack's defragmentation (-400) and every other chain of the two hooks
PRIORITY = -450
#: where packets come into sight: the hooks at which marking begins
ENTRIES = {"prerouting": 0, "output": 3}
#: linux/netfilter.h: the hooks by number
HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
BUFFER = 16 << 20

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
class TraceMessage:
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

    def read(self) -> list[TraceMessage]:
        """What has been met since the last call, in order. `lost` is set if some found no room."""
        found: list[TraceMessage] = []
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
            found += (step for part in _traces(data) if (step := _step(self.netns, part)))

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
        _commit(owner, _table(protocols))
        stack.pop_all()
    return owner, ear


def _netfilter_socket() -> socket.socket:
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
    )
    sock.bind((0, 0))
    return sock


# -- the table -------------------------------------------------------------------------------------


def _table(protocols: Sequence[int]) -> Iterator[nlmsg]:
    table = f"{TABLE}{os.getpid()}"
    named = [("NFTA_TABLE_NAME", table), ("NFTA_TABLE_FLAGS", NFT_TABLE_F_OWNER)]
    yield _new(nft_table_msg, NFT_MSG_NEWTABLE, named)
    for name, hook in ENTRIES.items():
        place = [("NFTA_HOOK_HOOKNUM", hook), ("NFTA_HOOK_PRIORITY", PRIORITY)]
        chain = [
            ("NFTA_CHAIN_TABLE", table),
            ("NFTA_CHAIN_NAME", name),
            ("NFTA_CHAIN_HOOK", {"attrs": place}),
            ("NFTA_CHAIN_TYPE", "filter"),
        ]
        yield _new(nft_chain_msg, NFT_MSG_NEWCHAIN, chain)
        for protocol in protocols:
            rule = [
                ("NFTA_RULE_TABLE", table),
                ("NFTA_RULE_CHAIN", name),
                ("NFTA_RULE_EXPRESSIONS", list(_mark_rule(protocol))),
            ]
            yield _new(nft_rule_msg, NFT_MSG_NEWRULE, rule)


def _new(kind: type[nlmsg], number: int, parts: Sequence[tuple[str, object]]) -> nlmsg:
    flags = NLM_F_CREATE | NLM_F_APPEND
    return request(kind, SUBSYSTEM | number, flags, parts, nfgen_family=NFPROTO_INET)


def _mark_rule(protocol: int) -> Iterator[dict[str, object]]:
    """`meta l4proto PROTOCOL meta nftrace set 1`."""
    register = Regs.NFT_REG_1.value
    yield _expression(
        "meta", ("NFTA_META_DREG", register), ("NFTA_META_KEY", Meta.NFT_META_L4PROTO.value)
    )
    yield _expression(
        "cmp",
        ("NFTA_CMP_SREG", register),
        ("NFTA_CMP_OP", Cmp.NFT_CMP_EQ.value),
        ("NFTA_CMP_DATA", _value(protocol)),
    )
    yield _expression(
        "immediate", ("NFTA_IMMEDIATE_DREG", register), ("NFTA_IMMEDIATE_DATA", _value(1))
    )
    yield _expression(
        "meta", ("NFTA_META_KEY", Meta.NFT_META_NFTRACE.value), ("NFTA_META_SREG", register)
    )


def _expression(name: str, *parts: tuple[str, object]) -> dict[str, object]:
    return {"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", {"attrs": list(parts)})]}


def _value(byte: int) -> dict[str, object]:
    return {"attrs": [("NFTA_DATA_VALUE", bytes((byte,)))]}


def _commit(sock: socket.socket, objects: Iterable[nlmsg]) -> None:
    """One transaction of new objects; OSError if the kernel refuses it."""
    batch = [_mark(NFNL_MSG_BATCH_BEGIN), *objects, _mark(NFNL_MSG_BATCH_END)]
    for number, message in enumerate(batch):
        message["header"]["sequence_number"] = number
    sock.send(b"".join(encoded(message) for message in batch))
    sock.settimeout(5)
    last = len(batch) - 2
    while True:
        for kind, _flags, sequence, data in messages(sock.recv(1 << 16)):
            if kind != NLMSG_ERROR:
                continue
            number = -struct.unpack_from("=i", data, BODY)[0]
            if number:
                raise OSError(number, os.strerror(number))
            if sequence == last:
                return


def _mark(number: int) -> nlmsg:
    """The begin or end of a transaction; the resource says whose it is."""
    message = nfgen_msg()
    message["header"] = {"type": number, "flags": NLM_F_REQUEST}
    message.update(res_id=NFNL_SUBSYS_NFTABLES)
    return message


# -- what the kernel tells -------------------------------------------------------------------------


def _traces(data: bytes) -> Iterator[bytes]:
    for kind, _flags, _sequence, message in messages(data):
        if kind == SUBSYSTEM | NFT_MSG_TRACE:
            yield message


def _step(name: str, message: bytes) -> TraceMessage | None:
    parts = attributes(message, _TRACE, _ATTRIBUTES)
    table = _text(parts.get("TABLE", b""))
    if table.startswith(TABLE):
        return None
    verdict, target = _verdict(parts.get("VERDICT", b""))
    policy = parts.get("POLICY")
    if policy is not None:
        verdict = _VERDICTS.get(_number(policy), "accept")
    return TraceMessage(
        netns=name,
        packet=_number(parts.get("ID", b"")),
        family=message[BODY],
        table=table,
        chain=_text(parts.get("CHAIN", b"")),
        handle=_number(parts.get("RULE_HANDLE", b"")),
        verdict=verdict,
        target=target,
        is_policy=policy is not None,
        network=parts.get("NETWORK_HEADER", b""),
        transport=parts.get("TRANSPORT_HEADER", b""),
        mark=_number(parts.get("MARK", b"")),
    )


def _verdict(data: bytes) -> tuple[str, str]:
    parts = attributes(data, _VERDICT)
    raw = parts.get("NFTA_VERDICT_CODE", b"\xff\xff\xff\xff")
    code = int.from_bytes(raw, "big", signed=True)
    # the upper bits of a drop or queue hold an errno or a queue's number
    name = _VERDICTS.get(code if code < 0 else code & 0xFF, "continue")
    return name, _text(parts.get("NFTA_VERDICT_CHAIN", b""))


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


# -- which rule has which handle -------------------------------------------------------------------


_GET_CHAINS = encoded(request(nft_chain_msg, SUBSYSTEM | NFT_MSG_GETCHAIN, NLM_F_DUMP))
_GET_RULES = encoded(request(nft_rule_msg, SUBSYSTEM | NFT_MSG_GETRULE, NLM_F_DUMP))


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
        return tuple(_chains(sock.dump(_GET_CHAINS), {}))


def list_chains(name: str) -> tuple[ChainRules, ...]:
    """Every chain of nf_tables in the netns, those of the iptables programs too."""
    return netns.call_in(name, _list_here)


def _list_here() -> tuple[ChainRules, ...]:
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock:
        chains, rules = sock.dump(_GET_CHAINS), sock.dump(_GET_RULES)
    handles: dict[tuple[int, str, str], list[int]] = {}
    for message in rules:
        parts = attributes(message, _RULE, _ATTRIBUTES)
        table, chain = _text(parts["NFTA_RULE_TABLE"]), _text(parts["NFTA_RULE_CHAIN"])
        handle = _number(parts["NFTA_RULE_HANDLE"])
        handles.setdefault((message[BODY], table, chain), []).append(handle)
    return tuple(_chains(chains, handles))


def _chains(
    found: Iterable[bytes], handles: dict[tuple[int, str, str], list[int]]
) -> Iterator[ChainRules]:
    for message in found:
        parts = attributes(message, _CHAIN, _ATTRIBUTES)
        table, chain = _text(parts["NFTA_CHAIN_TABLE"]), _text(parts["NFTA_CHAIN_NAME"])
        key = message[BODY], table, chain
        place = attributes(parts.get("NFTA_CHAIN_HOOK", b""), _HOOK)
        number = _number(place.get("NFTA_HOOK_HOOKNUM", b""))
        hook = HOOKS[number] if place and number < len(HOOKS) else ""
        priority = int.from_bytes(place.get("NFTA_HOOK_PRIORITY", b""), "big", signed=True)
        yield ChainRules(*key, tuple(handles.get(key, ())), hook, priority)
