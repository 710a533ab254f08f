"""IPVS: the steps from the virtual servers that are there to those that are desired.

A real server that nobody wants any more is not removed while it has TCP connections: its weight
becomes 0, so that no new connection is given to it, and it goes when the last one has ended. UDP
has no end that IPVS could see and SCTP's is treated alike: there it goes at once, and the sysctl
expire_nodest_conn ends its connections with their next packet.

Source: pkg/proxy/ipvs/graceful_termination.go and proxier.go (syncEndpoint, cleanLegacyService) of
Kubernetes v1.30. kube-proxy looks again every minute; here whoever plans again does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from kns.addresses import IPAddress, IPNetwork
from kns.state.model import IpvsTimeouts, RealServer, VirtualServer

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
class Step:
    """One change; `server` is None when it is about the virtual server itself."""

    verb: Verb
    service: VirtualServer
    server: RealServer | None = None


def steps(
    desired: Iterable[VirtualServer],
    observed: Iterable[VirtualServer],
    exclude: Iterable[IPNetwork] = (),
) -> tuple[Step, ...]:
    """What turns `observed` into `desired`; nothing for a real server that is only waited for.

    Virtual servers with an address in `exclude` are left alone unless they are desired.
    """
    wanted = {_key(item): item for item in desired}
    found = {_key(item): item for item in observed}
    foreign = tuple(exclude)
    result = [
        Step(Verb.DELETE_SERVICE, item)
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


def _service_steps(want: VirtualServer, have: VirtualServer | None) -> Iterator[Step]:
    if have is None:
        yield Step(Verb.ADD_SERVICE, want)
    elif _settings(have) != _settings(want):
        yield Step(Verb.EDIT_SERVICE, want)
    before = _by_address(have) if have else {}
    after = _by_address(want)
    for address, server in after.items():
        if address not in before:
            yield Step(Verb.ADD_SERVER, want, server)
        elif before[address] != server:
            yield Step(Verb.EDIT_SERVER, want, server)
    for address, server in before.items():
        if address in after or _is_waited_for(want, server):
            continue
        if want.protocol in GRACEFUL and server.connections:
            yield Step(Verb.EDIT_SERVER, want, replace(server, weight=0))
        else:
            yield Step(Verb.DELETE_SERVER, want, server)


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
