"""IPVS: the steps from the virtual servers that are there to the desired ones; `ipvsadm`'s texts.

A real server that nobody wants any more is not removed while it has TCP connections: its weight
becomes 0, so that no new connection is given to it, and it goes when the last one has ended. UDP
has no end that IPVS could see and SCTP's is treated alike: there it goes at once, and the sysctl
expire_nodest_conn ends its connections with their next packet.
Whoever plans again looks again whether it has.

Texts: `ipvsadm -Sn` prints one line a virtual server (`-A -t 10.96.0.1:443 -s rr`) and one a real
server (`-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 1`); `ipvsadm -R` reads the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address

from kns.addresses import IPAddress, IPNetwork
from kns.state.model import Count, IpvsTimeouts, RealServer, VirtualServer

#: protocols whose connections are waited for
GRACEFUL = frozenset({"tcp"})
#: how a virtual server is told from others
Key = tuple[str, IPAddress, int]


class Verb(StrEnum):
    """What a step does; the values are ipvsadm's own options."""

    ADD_SERVICE = "-A"
    EDIT_SERVICE = "-E"
    DELETE_SERVICE = "-D"
    ADD_SERVER = "-a"
    EDIT_SERVER = "-e"
    DELETE_SERVER = "-d"


@dataclass(frozen=True, slots=True)
class IpvsStep:
    """One change; `server` is None when it is about the virtual server itself."""

    verb: Verb
    service: VirtualServer
    server: RealServer | None = None


def steps(
    desired: Iterable[VirtualServer],
    observed: Iterable[VirtualServer],
    exclude: Iterable[IPNetwork] = (),
) -> tuple[IpvsStep, ...]:
    """What turns `observed` into `desired`; nothing for a real server that is only waited for.

    Virtual servers with an address in `exclude` are left alone unless they are desired.
    """
    wanted = {_key(item): item for item in desired}
    found = {_key(item): item for item in observed}
    foreign = tuple(exclude)
    result = [
        IpvsStep(Verb.DELETE_SERVICE, item)
        for key, item in found.items()
        if key not in wanted and not any(item.address in network for network in foreign)
    ]
    for key, item in wanted.items():
        result += _service_steps(item, found.get(key))
    return tuple(result)


def draining(
    desired: Iterable[VirtualServer], observed: Iterable[VirtualServer]
) -> tuple[tuple[VirtualServer, RealServer], ...]:
    """The real servers that are waited for: of weight 0, not desired, with connections."""
    wanted = {_key(item): _by_address(item) for item in desired}
    return tuple(
        (item, server)
        for item in observed
        for address, server in _by_address(item).items()
        if _key(item) in wanted
        and address not in wanted[_key(item)]
        and _is_waited_for(item, server)
    )


def _service_steps(want: VirtualServer, have: VirtualServer | None) -> Iterator[IpvsStep]:
    if have is None:
        yield IpvsStep(Verb.ADD_SERVICE, want)
    elif _settings(have) != _settings(want):
        yield IpvsStep(Verb.EDIT_SERVICE, want)
    before = _by_address(have) if have else {}
    after = _by_address(want)
    for address, server in after.items():
        if address not in before:
            yield IpvsStep(Verb.ADD_SERVER, want, server)
        elif before[address] != server:
            yield IpvsStep(Verb.EDIT_SERVER, want, server)
    for address, server in before.items():
        if address in after or _is_waited_for(want, server):
            continue
        if want.protocol in GRACEFUL and server.connections:
            yield IpvsStep(Verb.EDIT_SERVER, want, replace(server, weight=0))
        else:
            yield IpvsStep(Verb.DELETE_SERVER, want, server)


def _is_waited_for(service: VirtualServer, server: RealServer) -> bool:
    return service.protocol in GRACEFUL and server.weight == 0 and server.connections > 0


def _key(item: VirtualServer) -> Key:
    return item.protocol, item.address, item.port


def _settings(item: VirtualServer) -> tuple[str, int, int]:
    return item.scheduler, item.persistent, item.flags


def _by_address(item: VirtualServer) -> Mapping[tuple[IPAddress, int], RealServer]:
    return {(server.address, server.port): server for server in item.real_servers}


def timeouts_to_set(desired: IpvsTimeouts, observed: IpvsTimeouts) -> IpvsTimeouts:
    """Those of the desired timeouts that are not in force yet; 0 for the others."""

    def changed(want: int, have: int) -> int:
        return want if want != have else 0

    return IpvsTimeouts(
        tcp=changed(desired.tcp, observed.tcp),
        tcp_fin=changed(desired.tcp_fin, observed.tcp_fin),
        udp=changed(desired.udp, observed.udp),
    )


# -- text ------------------------------------------------------------------------------------------

#: prints what virtual and real servers have counted
STATISTICS = ("ipvsadm", "-Ln", "--stats", "--exact")
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


def command(step: IpvsStep) -> str:
    """The `ipvsadm` command that does the step."""
    return f"ipvsadm {line(step)}"


def line(step: IpvsStep) -> str:
    """The arguments of that command, which are a line of `ipvsadm -R`."""
    head = f"{step.verb} {_service_words(step.service)}"
    match step.verb:
        case Verb.ADD_SERVICE | Verb.EDIT_SERVICE:
            return head + _setting_words(step.service)
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


def _service_words(item: VirtualServer) -> str:
    return f"{SERVICE_OPTIONS[item.protocol]} {endpoint(item.address, item.port)}"


def _setting_words(item: VirtualServer) -> str:
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
    yield line(IpvsStep(Verb.ADD_SERVICE, item))
    for server in item.real_servers:
        yield line(IpvsStep(Verb.ADD_SERVER, item, server))


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


def with_counts(servers: Iterable[VirtualServer], statistics: str) -> tuple[VirtualServer, ...]:
    """The servers with the packets and bytes that came in for them.

    As `ipvsadm -Ln --stats --exact` prints them: connections, packets and bytes in and out.
    """
    counts = dict(_parse_statistics(statistics))
    return tuple(
        replace(
            item,
            count=counts.get((*_key(item), None)),
            real_servers=tuple(
                replace(server, count=counts.get((*_key(item), (server.address, server.port))))
                for server in item.real_servers
            ),
        )
        for item in servers
    )


def _parse_statistics(
    text: str,
) -> Iterator[tuple[tuple[str, IPAddress, int, tuple[IPAddress, int] | None], Count]]:
    service: Key | None = None
    for row in text.splitlines():
        words = row.split()
        if len(words) != 7 or not words[2].isdigit():
            continue
        count = Count(int(words[3]), int(words[5]))
        if words[0] != "->":
            service = (words[0].lower(), *_parse_endpoint(words[1])) if ":" in words[1] else None
            key = None
        else:
            key = _parse_endpoint(words[1])
        if service is not None:
            yield (*service, key), count
