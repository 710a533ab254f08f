"""IPVS and ipsets of a netns: read, and brought to what is desired.

Virtual servers are written by generic netlink, many in one send; pyroute2's IPVS would take one
round trip and some 0.3 ms each. They are read by one dump, their real servers from /proc's ip_vs,
because netlink needs a dump of its own for each virtual server. ipsets are read and written by the
program `ipset`, one process for all sets of a netns, however many entries they have.

Functions that end in `_here` act on the netns of the calling thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from kns.addresses import IPAddress, IPFamily
from kns.errors import ApplyError, PlatformError
from kns.kernel import processes
from kns.kernel.modules import modprobe
from kns.kernel.rtnetlink import (
    Message,
    Socket,
    attr,
    attr_text,
    attr_u16be,
    attr_u32,
    nest,
    parse_attributes,
)
from kns.plan import ipset_text, ipvs_text
from kns.plan.ipvs import Step, Verb, steps
from kns.plan.ops import RestoreIpsets, SetVirtualServers
from kns.state.model import IpSet, IpvsTimeouts, RealServer, VirtualServer

NETLINK_GENERIC = 16
# linux/genetlink.h
GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 0x10, 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 1, 2
# linux/ip_vs.h
FAMILY_NAME, VERSION = "IPVS", 1
CMD_GET_SERVICE, CMD_SET_CONFIG, CMD_GET_CONFIG = 4, 12, 13
CMD_ATTR_SERVICE, CMD_ATTR_DEST = 1, 2
CMD_ATTR_TIMEOUT_TCP, CMD_ATTR_TIMEOUT_TCP_FIN, CMD_ATTR_TIMEOUT_UDP = 4, 5, 6
SVC_AF, SVC_PROTOCOL, SVC_ADDR, SVC_PORT = 1, 2, 3, 4
SVC_SCHED_NAME, SVC_FLAGS, SVC_TIMEOUT, SVC_NETMASK = 6, 7, 8, 9
DEST_ADDR, DEST_PORT, DEST_FWD_METHOD, DEST_WEIGHT = 1, 2, 3, 4
DEST_U_THRESH, DEST_L_THRESH, DEST_ADDR_FAMILY = 5, 6, 11
F_PERSISTENT = 0x1
#: IP_VS_SVC_F_SCHED1 to 3: a scheduler's own options
F_SCHED = 0x38
FLAGS_MASK = 0xFFFFFFFF
FORWARD_MASQ = 0

COMMANDS = {
    Verb.ADD_SERVICE: 1,
    Verb.EDIT_SERVICE: 2,
    Verb.DELETE_SERVICE: 3,
    Verb.ADD_SERVER: 5,
    Verb.EDIT_SERVER: 6,
    Verb.DELETE_SERVER: 7,
}
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
PROTOCOL_NAMES = {int(number): name for name, number in PROTOCOLS.items()}
#: what kube-proxy names its sets by; others in a node's netns are nobody's business
SET_PREFIX = "KUBE-"
#: seconds; ten thousand entries take ipset a fraction of one
TIMEOUT = 60.0

_GENERIC = struct.Struct("=BBH")
#: not /proc/net, which is the main thread's
_TABLE = Path("/proc/thread-self/net/ip_vs")
#: there once the kernel has ipsets, as a module or built in
_IP_SET = Path("/sys/module/ip_set")


# -- reading ---------------------------------------------------------------------------------------


def read_virtual_servers_here() -> tuple[VirtualServer, ...]:
    """The virtual servers with their real servers, in a fixed order; none without IPVS."""
    if not _TABLE.exists():
        return ()
    with contextlib.closing(Socket(NETLINK_GENERIC)) as sock:
        family = _family(sock)
        if family is None:
            return ()
        answers = sock.dump(family, _GENERIC.pack(CMD_GET_SERVICE, VERSION, 0))
    real_servers = _parse_proc(_TABLE.read_text())
    found = []
    for answer in answers:
        item = _service(answer)
        if item is not None:
            key = (item.protocol, item.address, item.port)
            found.append(replace(item, real_servers=real_servers.get(key, ())))
    return tuple(sorted(found, key=ipvs_text.sort_key))


def _service(answer: bytes) -> VirtualServer | None:
    """One answer of a dump; None for a virtual server of a firewall mark, which kns never makes."""
    parts = parse_attributes(parse_attributes(answer, _GENERIC.size)[CMD_ATTR_SERVICE])
    protocol = PROTOCOL_NAMES.get(_u16(parts.get(SVC_PROTOCOL, b"\0\0")))
    if protocol is None or SVC_ADDR not in parts:
        return None
    flags = struct.unpack_from("=I", parts[SVC_FLAGS])[0]
    timeout = struct.unpack("=I", parts[SVC_TIMEOUT])[0]
    raw = parts[SVC_ADDR]
    is_v4 = _u16(parts[SVC_AF]) == IPFamily.IPV4.af
    return VirtualServer(
        protocol=protocol,
        address=IPv4Address(raw[:4]) if is_v4 else IPv6Address(raw[:16]),
        port=int.from_bytes(parts[SVC_PORT], "big"),
        scheduler=parts[SVC_SCHED_NAME].rstrip(b"\0").decode(),
        persistent=timeout if flags & F_PERSISTENT else 0,
        flags=flags & F_SCHED,
    )


def _u16(raw: bytes) -> int:
    return int(struct.unpack("=H", raw)[0])


def _parse_proc(text: str) -> dict[tuple[str, IPAddress, int], tuple[RealServer, ...]]:
    """The real servers in /proc/net/ip_vs by virtual server."""
    found: dict[tuple[str, IPAddress, int], list[RealServer]] = {}
    current: list[RealServer] = []
    for line in text.splitlines()[3:]:
        words = line.split()
        if words[0] == "->":
            address, port = _endpoint(words[1])
            weight, active, inactive = (int(word) for word in words[3:6])
            current.append(RealServer(address, port, weight, connections=active + inactive))
        elif words[0] == "FWM":
            current = []
        else:
            current = found.setdefault((words[0].lower(), *_endpoint(words[1])), [])
    return {key: tuple(sorted(servers, key=ipvs_text.server_key)) for key, servers in found.items()}


def _endpoint(text: str) -> tuple[IPAddress, int]:
    """`0A60000A:0035` or `[fd00:0010:…]:0035`."""
    host, _, port = text.rpartition(":")
    address = ip_address(host[1:-1]) if host[0] == "[" else IPv4Address(int(host, 16))
    return address, int(port, 16)


def read_timeouts_here() -> IpvsTimeouts:
    """The timeouts that are in force; all 0 without IPVS."""
    if not _TABLE.exists():
        return IpvsTimeouts()
    with contextlib.closing(Socket(NETLINK_GENERIC)) as sock:
        request = _GENERIC.pack(CMD_GET_CONFIG, VERSION, 0)
        answer = sock.ask(Message(_require_family(sock), 0, request))
    parts = parse_attributes(answer, _GENERIC.size)
    tcp, tcp_fin, udp = (
        struct.unpack("=I", parts[kind])[0]
        for kind in (CMD_ATTR_TIMEOUT_TCP, CMD_ATTR_TIMEOUT_TCP_FIN, CMD_ATTR_TIMEOUT_UDP)
    )
    return IpvsTimeouts(tcp, tcp_fin, udp)


def read_ipsets_here() -> tuple[IpSet, ...]:
    """The sets whose name begins as kube-proxy's do, by name; none where nobody ever used one."""
    if not _IP_SET.exists():
        return ()
    try:
        done = processes.run(["ipset", "save"], timeout=TIMEOUT)
    except PlatformError:  # the program is missing: a lab in another mode must not care
        return ()
    if done.returncode != 0:
        raise ApplyError(done.stderr.strip(), op="ipset save")
    return tuple(s for s in ipset_text.parse_save(done.stdout) if s.name.startswith(SET_PREFIX))


# -- writing ---------------------------------------------------------------------------------------


def restore_ipsets_here(op: RestoreIpsets) -> None:
    """Feed the op's text to `ipset restore`."""
    done = processes.run(["ipset", "-exist", "restore"], input=op.text, timeout=TIMEOUT)
    if done.returncode != 0:
        message = done.stderr.strip() or f"exit code {done.returncode}"
        raise ApplyError(message, op="ipset restore", netns=op.netns)


def apply_here(op: SetVirtualServers) -> None:
    """Carry out what is left to do between the op's two states."""
    if op.timeouts != IpvsTimeouts():
        _set_timeouts(op)
    carry_out_here(op.netns, steps(op.desired, op.observed, op.exclude))


def carry_out_here(name: str, pending: Sequence[Step]) -> None:
    """Carry out the steps in the calling thread's netns, which `name` is for messages."""
    with contextlib.closing(Socket(NETLINK_GENERIC)) as sock:
        family = _require_family(sock)
        results = sock.request([_message(family, step) for step in pending])
    for step, number in zip(pending, results, strict=True):
        if number not in {0, *_already(step.verb)}:
            raise ApplyError(
                os.strerror(number),
                op=ipvs_text.command(step),
                netns=name,
                hint=_hint(step, number),
            )


def _already(verb: Verb) -> Iterable[int]:
    """Errors that say that it is so already."""
    match verb:
        case Verb.ADD_SERVICE | Verb.ADD_SERVER:
            return (errno.EEXIST,)
        case Verb.DELETE_SERVICE:
            return (errno.ESRCH,)
        case Verb.DELETE_SERVER:
            return (errno.ENOENT, errno.ESRCH)
        case _:
            return ()


def _hint(step: Step, number: int) -> str:
    if number == errno.ENOENT and step.server is None:
        return modprobe(f"ip_vs_{step.service.scheduler}")
    return ""


def _set_timeouts(op: SetVirtualServers) -> None:
    wanted = (
        (CMD_ATTR_TIMEOUT_TCP, op.timeouts.tcp),
        (CMD_ATTR_TIMEOUT_TCP_FIN, op.timeouts.tcp_fin),
        (CMD_ATTR_TIMEOUT_UDP, op.timeouts.udp),
    )
    body = _GENERIC.pack(CMD_SET_CONFIG, VERSION, 0)
    body += b"".join(attr_u32(kind, seconds) for kind, seconds in wanted if seconds)
    with contextlib.closing(Socket(NETLINK_GENERIC)) as sock:
        number = sock.request([Message(_require_family(sock), 0, body)])[0]
    if number:
        command = ipvs_text.timeouts_command(op.timeouts)
        raise ApplyError(os.strerror(number), op=command, netns=op.netns)


def _message(family: int, step: Step) -> Message:
    body = _GENERIC.pack(COMMANDS[step.verb], VERSION, 0)
    full = step.verb in {Verb.ADD_SERVICE, Verb.EDIT_SERVICE}
    body += nest(CMD_ATTR_SERVICE, *_service_attributes(step.service, full=full))
    if step.server is not None:
        body += nest(CMD_ATTR_DEST, *_server_attributes(step.server))
    return Message(family, 0, body)


def _service_attributes(item: VirtualServer, *, full: bool) -> Iterator[bytes]:
    family = IPFamily.of(item.address)
    yield attr(SVC_AF, struct.pack("=H", family.af))
    yield attr(SVC_PROTOCOL, struct.pack("=H", PROTOCOLS[item.protocol]))
    yield attr(SVC_ADDR, item.address.packed.ljust(16, b"\0"))
    yield attr_u16be(SVC_PORT, item.port)
    if full:
        flags = item.flags | (F_PERSISTENT if item.persistent else 0)
        yield attr_text(SVC_SCHED_NAME, item.scheduler)
        yield attr(SVC_FLAGS, struct.pack("=II", flags, FLAGS_MASK))
        yield attr_u32(SVC_TIMEOUT, item.persistent)
        # of an affine client: itself alone. IPv4 has a mask here, IPv6 a prefix length
        yield attr_u32(SVC_NETMASK, 0xFFFFFFFF if family is IPFamily.IPV4 else 128)


def _server_attributes(item: RealServer) -> Iterator[bytes]:
    yield attr(DEST_ADDR, item.address.packed.ljust(16, b"\0"))
    yield attr_u16be(DEST_PORT, item.port)
    yield attr(DEST_ADDR_FAMILY, struct.pack("=H", IPFamily.of(item.address).af))
    yield attr_u32(DEST_FWD_METHOD, FORWARD_MASQ)
    yield attr_u32(DEST_WEIGHT, item.weight)
    yield attr_u32(DEST_U_THRESH, 0)
    yield attr_u32(DEST_L_THRESH, 0)


# -- the generic netlink family --------------------------------------------------------------------


def _require_family(sock: Socket) -> int:
    """The family's number, its module loaded if it can be; PlatformError if it can't."""
    family = _family(sock)
    if family is None:
        with contextlib.suppress(PlatformError):
            processes.run(["modprobe", "-q", "ip_vs"])
        family = _family(sock)
    if family is None:
        raise PlatformError("this kernel has no IPVS", hint=modprobe("ip_vs"))
    return family


def _family(sock: Socket) -> int | None:
    """The number that the kernel gave to IPVS; None if it has none."""
    body = _GENERIC.pack(CTRL_CMD_GETFAMILY, 1, 0) + attr_text(CTRL_ATTR_FAMILY_NAME, FAMILY_NAME)
    try:
        answer = sock.ask(Message(GENL_ID_CTRL, 0, body))
    except FileNotFoundError:
        return None
    return _u16(parse_attributes(answer, _GENERIC.size)[CTRL_ATTR_FAMILY_ID])
