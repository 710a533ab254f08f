"""IPVS' virtual servers of a Service with what they have counted, as `ipvsadm` lists them."""

from __future__ import annotations

from collections.abc import Iterator

from kns.kinds.service import Service
from kns.report.rules import CountedRule, Entry

_ABOUT = "virtual servers: IPVS takes one of their real servers for each connection"


def walk_ipvs(statistics: str, service: Service | None) -> tuple[Entry, ...]:
    """The lines of `ipvsadm -Ln --stats --exact` that belong to `service`; all, if it is None."""
    lines = tuple(_lines(statistics, service))
    return (Entry("ipvs", "virtual servers", 0, _ABOUT), *lines) if lines else ()


def _lines(statistics: str, service: Service | None) -> Iterator[Entry]:
    shown = False
    for line in statistics.splitlines():
        words = line.split()
        if len(words) != 7 or not words[2].isdigit():
            continue
        is_real_server = words[0] == "->"
        if not is_real_server:
            shown = service is None or _belongs(words[0], words[1], service)
        if shown:
            text = f"-> {words[1]}" if is_real_server else f"{words[0]} {words[1]}"
            rule = CountedRule(int(words[3]), int(words[5]), text)
            yield Entry("ipvs", "virtual servers", 1 + is_real_server, rule=rule)


def _belongs(protocol: str, endpoint: str, service: Service) -> bool:
    """True for the service's own addresses at its ports, and for any address at its node ports."""
    host, _, number = endpoint.rpartition(":")
    balancer = (entry.ip for entry in service.load_balancer_ingress if entry.ip is not None)
    own = {str(ip) for ip in (*service.cluster_ips, *service.external_ips, *balancer)}
    for port in service.ports:
        if port.protocol != protocol:
            continue
        if int(number) == port.node_port or (int(number) == port.port and host.strip("[]") in own):
            return True
    return False
