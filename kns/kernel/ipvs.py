"""IPVS of a netns: read, and brought to what is desired.

Virtual servers are written by pyroute2's ipvsmsg over generic netlink, many in one send. They are
read by one dump, their real servers from /proc's ip_vs, because netlink needs a dump of its own for
each virtual server.

Its part of pyroute2 brings asyncio along: it is imported where there is IPVS to look at
(`features.has_ipvs_here`).

Functions that end in `_here` act on the netns of the calling thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from pyroute2.netlink import (
    CTRL_CMD_GETFAMILY,
    GENL_ID_CTRL,
    NETLINK_GENERIC,
    NLM_F_DUMP,
    ctrlmsg,
    nlmsg,
)
from pyroute2.netlink.generic.ipvs import (
    GENL_NAME,
    GENL_VERSION,
    IPVS_CMD_DEL_DEST,
    IPVS_CMD_DEL_SERVICE,
    IPVS_CMD_GET_CONFIG,
    IPVS_CMD_GET_SERVICE,
    IPVS_CMD_NEW_DEST,
    IPVS_CMD_NEW_SERVICE,
    IPVS_CMD_SET_CONFIG,
    IPVS_CMD_SET_DEST,
    IPVS_CMD_SET_SERVICE,
    ipvsmsg,
)

from kns.addresses import IPAddress, IPFamily
from kns.errors import ApplyError, PlatformError
from kns.kernel import processes
from kns.kernel.features import IPVS_TABLE, has_ipvs_here
from kns.kernel.modules import modprobe
from kns.kernel.netlink import BODY, Refusal, Socket, attributes, wanted
from kns.kernel.shapes import Port, encoded, filled, request
from kns.plan.ops import SetVirtualServers
from kns.state import ipvs
from kns.state.ipvs import IpvsStep, Verb, steps
from kns.state.model import IpvsTimeouts, RealServer, VirtualServer

# linux/ip_vs.h, which pyroute2 has no names for
F_PERSISTENT = 0x1
#: IP_VS_SVC_F_SCHED1 to 3: a scheduler's own options
F_SCHED = 0x38
FLAGS_MASK = 0xFFFFFFFF
FORWARD_MASQ = 0

COMMANDS = {
    Verb.ADD_SERVICE: IPVS_CMD_NEW_SERVICE,
    Verb.EDIT_SERVICE: IPVS_CMD_SET_SERVICE,
    Verb.DELETE_SERVICE: IPVS_CMD_DEL_SERVICE,
    Verb.ADD_SERVER: IPVS_CMD_NEW_DEST,
    Verb.EDIT_SERVER: IPVS_CMD_SET_DEST,
    Verb.DELETE_SERVER: IPVS_CMD_DEL_DEST,
}
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
PROTOCOL_NAMES = {int(number): name for name, number in PROTOCOLS.items()}

#: struct genlmsghdr: command, version, reserved
_ATTRIBUTES = BODY + 4
_COMMAND = wanted(ipvsmsg, "IPVS_CMD_ATTR_SERVICE")
_SERVICE = wanted(
    ipvsmsg.service,
    "IPVS_SVC_ATTR_AF",
    "IPVS_SVC_ATTR_PROTOCOL",
    "IPVS_SVC_ATTR_ADDR",
    "IPVS_SVC_ATTR_PORT",
    "IPVS_SVC_ATTR_SCHED_NAME",
    "IPVS_SVC_ATTR_FLAGS",
    "IPVS_SVC_ATTR_TIMEOUT",
)
_TIMEOUTS = wanted(
    ipvsmsg,
    "IPVS_CMD_ATTR_TIMEOUT_TCP",
    "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN",
    "IPVS_CMD_ATTR_TIMEOUT_UDP",
)


# -- reading ---------------------------------------------------------------------------------------


def read_virtual_servers_here(*, counters: bool = False) -> tuple[VirtualServer, ...]:
    """The virtual servers with their real servers, in a fixed order; none without IPVS.

    `counters`: with what they have counted, if there is an `ipvsadm` to tell it.
    """
    if not has_ipvs_here():
        return ()
    with contextlib.closing(Socket(NETLINK_GENERIC)) as sock:
        family = _family(sock)
        if family is None:
            return ()
        answers = sock.dump(_request(family, IPVS_CMD_GET_SERVICE, flags=NLM_F_DUMP))
    real_servers = _parse_proc(IPVS_TABLE.read_text())
    found = []
    for answer in answers:
        item = _service(answer)
        if item is not None:
            key = (item.protocol, item.address, item.port)
            found.append(replace(item, real_servers=real_servers.get(key, ())))
    servers = tuple(sorted(found, key=ipvs.sort_key))
    return ipvs.with_counts(servers, _statistics_here()) if counters else servers


def _statistics_here() -> str:
    try:
        return processes.run(ipvs.STATISTICS, timeout=processes.patience()).stdout
    except PlatformError:  # the program is missing
        return ""


def _service(answer: bytes) -> VirtualServer | None:
    """One answer of a dump; None for a virtual server of a firewall mark, which kns never makes."""
    command = attributes(answer, _COMMAND, _ATTRIBUTES)
    parts = attributes(command["IPVS_CMD_ATTR_SERVICE"], _SERVICE)
    protocol = PROTOCOL_NAMES.get(_number(parts.get("IPVS_SVC_ATTR_PROTOCOL", b"")))
    if protocol is None or "IPVS_SVC_ATTR_ADDR" not in parts:
        return None
    flags, _mask = struct.unpack("=II", parts["IPVS_SVC_ATTR_FLAGS"])
    raw = parts["IPVS_SVC_ATTR_ADDR"]
    is_v4 = _number(parts["IPVS_SVC_ATTR_AF"]) == socket.AF_INET
    return VirtualServer(
        protocol=protocol,
        address=IPv4Address(raw[:4]) if is_v4 else IPv6Address(raw[:16]),
        port=int.from_bytes(parts["IPVS_SVC_ATTR_PORT"], "big"),
        scheduler=parts["IPVS_SVC_ATTR_SCHED_NAME"].rstrip(b"\0").decode(),
        persistent=_number(parts["IPVS_SVC_ATTR_TIMEOUT"]) if flags & F_PERSISTENT else 0,
        flags=flags & F_SCHED,
    )


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, sys.byteorder)


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
    return {key: tuple(sorted(servers, key=ipvs.server_key)) for key, servers in found.items()}


def _endpoint(text: str) -> tuple[IPAddress, int]:
    """`0A60000A:0035` or `[fd00:0010:…]:0035`."""
    host, _, port = text.rpartition(":")
    address = ip_address(host[1:-1]) if host[0] == "[" else IPv4Address(int(host, 16))
    return address, int(port, 16)


def read_timeouts_here() -> IpvsTimeouts:
    """The timeouts that are in force; all 0 without IPVS."""
    if not has_ipvs_here():
        return IpvsTimeouts()
    with contextlib.closing(Socket(NETLINK_GENERIC)) as sock:
        answer = sock.ask(_request(_require_family(sock), IPVS_CMD_GET_CONFIG))
    parts = attributes(answer, _TIMEOUTS, _ATTRIBUTES)
    return IpvsTimeouts(*(_number(parts[name]) for name in _TIMEOUTS.values()))


# -- writing ---------------------------------------------------------------------------------------


def apply_here(op: SetVirtualServers) -> None:
    """Carry out what is left to do between the op's two states."""
    if op.timeouts != IpvsTimeouts():
        _set_timeouts(op)
    carry_out_here(op.netns, steps(op.desired, op.observed, op.exclude))


def carry_out_here(name: str, pending: Sequence[IpvsStep]) -> None:
    """Carry out the steps in the calling thread's netns, which `name` is for messages."""
    with contextlib.closing(Socket(NETLINK_GENERIC)) as sock:
        family = _require_family(sock)
        refused = sock.request([_message(family, step) for step in pending])
    for position, refusal in refused.items():
        step = pending[position]
        if refusal.number not in _already(step.verb):
            raise ApplyError(
                os.strerror(refusal.number),
                op=ipvs.command(step),
                netns=name,
                hint=_hint(step, refusal),
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


def _hint(step: IpvsStep, refusal: Refusal) -> str:
    if refusal.number == errno.ENOENT and step.server is None:
        return modprobe(f"ip_vs_{step.service.scheduler}")
    return refusal.words


def _set_timeouts(op: SetVirtualServers) -> None:
    wishes = zip(
        _TIMEOUTS.values(), (op.timeouts.tcp, op.timeouts.tcp_fin, op.timeouts.udp), strict=True
    )
    parts = [(name, seconds.to_bytes(4, sys.byteorder)) for name, seconds in wishes if seconds]
    with contextlib.closing(Socket(NETLINK_GENERIC)) as sock:
        refused = sock.request([_request(_require_family(sock), IPVS_CMD_SET_CONFIG, parts)])
    for refusal in refused.values():
        command = ipvs.timeouts_command(op.timeouts)
        raise ApplyError(
            os.strerror(refusal.number), op=command, netns=op.netns, hint=refusal.words
        )


def _message(family: int, step: IpvsStep) -> bytes:
    service, server = step.service, step.server
    shape = {
        "family": family,
        "command": COMMANDS[step.verb],
        "protocol": PROTOCOLS[service.protocol],
    }
    if server is not None:
        place = server.address, Port(server.port), server.weight
        return _change_server(service.address, Port(service.port), *place, **shape)
    if step.verb is Verb.DELETE_SERVICE:
        return _delete_service(service.address, Port(service.port), **shape)
    flags = service.flags | (F_PERSISTENT if service.persistent else 0)
    options = service.scheduler, flags, service.persistent
    return _set_service(service.address, Port(service.port), *options, **shape)


@filled
def _set_service(  # noqa: PLR0913 - one for each attribute
    address: IPAddress,
    port: Port,
    scheduler: str,
    flags: int,
    timeout: int,
    *,
    family: int,
    command: int,
    protocol: int,
) -> nlmsg:
    # of an affine client: itself alone. IPv4 has a mask here, IPv6 a prefix length in host order
    whole = b"\xff" * 4 if address.version == 4 else (128).to_bytes(4, sys.byteorder)
    attributes = [
        *_service_key(address, port, protocol),
        ("IPVS_SVC_ATTR_SCHED_NAME", scheduler),
        ("IPVS_SVC_ATTR_FLAGS", {"flags": flags, "mask": FLAGS_MASK}),
        ("IPVS_SVC_ATTR_TIMEOUT", timeout),
        ("IPVS_SVC_ATTR_NETMASK", str(IPv4Address(whole))),
    ]
    return _ipvs(family, command, [("IPVS_CMD_ATTR_SERVICE", {"attrs": attributes})])


@filled
def _delete_service(
    address: IPAddress, port: Port, *, family: int, command: int, protocol: int
) -> nlmsg:
    service = {"attrs": _service_key(address, port, protocol)}
    return _ipvs(family, command, [("IPVS_CMD_ATTR_SERVICE", service)])


@filled
def _change_server(  # noqa: PLR0913 - one for each attribute
    address: IPAddress,
    port: Port,
    server: IPAddress,
    server_port: Port,
    weight: int,
    *,
    family: int,
    command: int,
    protocol: int,
) -> nlmsg:
    attributes = [
        # before the address, whose encoding asks for it
        ("IPVS_DEST_ATTR_ADDR_FAMILY", IPFamily.of(server).af),
        ("IPVS_DEST_ATTR_ADDR", str(server)),
        ("IPVS_DEST_ATTR_PORT", server_port),
        ("IPVS_DEST_ATTR_FWD_METHOD", FORWARD_MASQ),
        ("IPVS_DEST_ATTR_WEIGHT", weight),
        ("IPVS_DEST_ATTR_U_THRESH", 0),
        ("IPVS_DEST_ATTR_L_THRESH", 0),
    ]
    service = {"attrs": _service_key(address, port, protocol)}
    parts = [("IPVS_CMD_ATTR_SERVICE", service), ("IPVS_CMD_ATTR_DEST", {"attrs": attributes})]
    return _ipvs(family, command, parts)


def _service_key(address: IPAddress, port: Port, protocol: int) -> list[tuple[str, object]]:
    """What a virtual server is known by."""
    return [
        ("IPVS_SVC_ATTR_AF", IPFamily.of(address).af),
        ("IPVS_SVC_ATTR_PROTOCOL", protocol),
        ("IPVS_SVC_ATTR_ADDR", str(address)),
        ("IPVS_SVC_ATTR_PORT", port),
    ]


def _ipvs(family: int, command: int, parts: Sequence[tuple[str, object]], flags: int = 0) -> nlmsg:
    return request(ipvsmsg, family, flags, parts, cmd=command, version=GENL_VERSION)


def _request(
    family: int, command: int, parts: Sequence[tuple[str, object]] = (), flags: int = 0
) -> bytes:
    return encoded(_ipvs(family, command, parts, flags))


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
    name = [("CTRL_ATTR_FAMILY_NAME", GENL_NAME)]
    message = request(ctrlmsg, GENL_ID_CTRL, 0, name, cmd=CTRL_CMD_GETFAMILY, version=1)
    try:
        answer = ctrlmsg(sock.ask(encoded(message)))
    except FileNotFoundError:
        return None
    answer.decode()
    return int(answer.get_attr("CTRL_ATTR_FAMILY_ID"))
