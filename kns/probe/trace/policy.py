"""The line of the network policy by whose rule a traced packet was dropped. Pure."""

from __future__ import annotations

from dataclasses import replace

from kns.cluster.model import Cluster
from kns.compile.networkpolicy.table import TABLE
from kns.kinds.common import Protocol
from kns.probe.policy import denying
from kns.probe.trace.model import EndKind, Trace
from kns.promise.flow import Flow
from kns.promise.location import Location
from kns.promise.lookup import Lookup


def with_policy(cluster: Cluster, start: Location, found: Trace) -> Trace:
    """The trace; where the table of the policies dropped the packet, with what the policies say."""
    request, result = found.request, found.probe
    if request is None or request.end.kind is not EndKind.DROPPED or TABLE not in request.end.text:
        return found
    if result.address is None:
        return found
    is_echo = result.protocol == "icmp"
    protocol = Protocol.TCP if is_echo else Protocol(result.protocol.upper())
    port = None if is_echo else result.port
    ruling = denying(Lookup(cluster), Flow(start, result.address, port, protocol))
    if ruling is None:
        return found
    end = replace(request.end, text=f"{request.end.text}: {ruling.reason}")
    return replace(found, request=replace(request, end=end))
