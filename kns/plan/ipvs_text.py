"""IPVS as text: `ipvsadm` lines of single steps, of a whole state, and back.

`ipvsadm -Sn` prints one line a virtual server (`-A -t 10.96.0.1:443 -s rr`) and one a real server
(`-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 1`); `ipvsadm -R` reads the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address

from kns.addresses import IPAddress
from kns.plan.ipvs import Step, Verb
from kns.state.model import IpvsTimeouts, RealServer, VirtualServer

SERVICE_OPTIONS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
_PROTOCOLS = {option: name for name, option in SERVICE_OPTIONS.items()}
#: linux/ip_vs.h IP_VS_SVC_F_SCHED1 to 3, in the order in which ipvsadm names them
_FLAGS = ((0x08, "flag-1"), (0x10, "flag-2"), (0x20, "flag-3"))
#: two schedulers have names of their own for them
_FLAG_NAMES = {
    "sh": {"flag-1": "sh-fallback", "flag-2": "sh-port"},
    "mh": {"flag-1": "mh-fallback", "flag-2": "mh-port"},
}


def sort_key(item: VirtualServer) -> tuple[str, int, int, int]:
    """The fixed order of virtual servers: protocol, family, address, port."""
    return item.protocol, item.address.version, int(item.address), item.port


def command(step: Step) -> str:
    """The `ipvsadm` command that does the step."""
    return f"ipvsadm {line(step)}"


def line(step: Step) -> str:
    """The arguments of that command, which are a line of `ipvsadm -R`."""
    head = f"{step.verb} {_service(step.service)}"
    match step.verb:
        case Verb.ADD_SERVICE | Verb.EDIT_SERVICE:
            return head + _settings(step.service)
        case Verb.DELETE_SERVICE:
            return head
        case _:
            pass
    server = step.server
    if server is None:
        msg = f"{step.verb} needs a real server"
        raise ValueError(msg)
    text = f"{head} -r {endpoint(server.address, server.port)}"
    return text if step.verb is Verb.DELETE_SERVER else f"{text} -m -w {server.weight}"


def timeouts_command(timeouts: IpvsTimeouts) -> str:
    """The command that sets the timeouts; 0 leaves one as it is."""
    return f"ipvsadm --set {timeouts.tcp} {timeouts.tcp_fin} {timeouts.udp}"


def endpoint(address: IPAddress, port: int) -> str:
    """`ip:port`, `[ip]:port` for IPv6."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _service(item: VirtualServer) -> str:
    return f"{SERVICE_OPTIONS[item.protocol]} {endpoint(item.address, item.port)}"


def _settings(item: VirtualServer) -> str:
    text = f" -s {item.scheduler}"
    if item.persistent:
        text += f" -p {item.persistent}"
    names = _FLAG_NAMES.get(item.scheduler, {})
    flags = [names.get(name, name) for bit, name in _FLAGS if item.flags & bit]
    return f"{text} -b {','.join(flags)}" if flags else text


def save_text(virtual_servers: Iterable[VirtualServer]) -> str:
    """What `ipvsadm -R` loads into an empty netns."""
    return "".join(f"{text}\n" for item in virtual_servers for text in _lines(item))


def _lines(item: VirtualServer) -> Iterator[str]:
    yield line(Step(Verb.ADD_SERVICE, item))
    for server in item.real_servers:
        yield line(Step(Verb.ADD_SERVER, item, server))


def parse_save(text: str) -> tuple[VirtualServer, ...]:
    """What `ipvsadm -Sn` printed, in the fixed order. Virtual servers of a mark are left out."""
    found: dict[tuple[str, IPAddress, int], VirtualServer] = {}
    for row in text.splitlines():
        words = row.split()
        if words[1] not in _PROTOCOLS:
            continue
        key = (_PROTOCOLS[words[1]], *_parse_endpoint(words[2]))
        options = dict(itertools.pairwise(words[3:]))
        if words[0] == "-A":
            found[key] = VirtualServer(
                *key,
                scheduler=options["-s"],
                persistent=int(options.get("-p", 0)),
                flags=_parse_flags(options.get("-b", "")),
            )
        else:
            server = RealServer(*_parse_endpoint(options["-r"]), weight=int(options["-w"]))
            item = found[key]
            found[key] = replace(item, real_servers=(*item.real_servers, server))
    return tuple(sorted((_sorted(item) for item in found.values()), key=sort_key))


def _sorted(item: VirtualServer) -> VirtualServer:
    return replace(item, real_servers=tuple(sorted(item.real_servers, key=server_key)))


def server_key(server: RealServer) -> tuple[int, int, int]:
    """The fixed order of real servers: family, address, port."""
    return server.address.version, int(server.address), server.port


def _parse_endpoint(text: str) -> tuple[IPAddress, int]:
    host, _, port = text.rpartition(":")
    return ip_address(host.strip("[]")), int(port)


def _parse_flags(text: str) -> int:
    bits = {name: bit for bit, name in _FLAGS}
    for names in _FLAG_NAMES.values():
        bits.update({special: bits[name] for name, special in names.items()})
    return sum(bits[name] for name in text.split(",") if name)
