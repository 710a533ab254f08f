"""IPVS mode as text: a part for each program that loads it, each under a comment line.

# sysctl -p -            key = value
# ipset restore          before the rules that name the sets
# iptables-restore, # ip6tables-restore
# ip                     whole commands: the device, its addresses
# ipvsadm -R             virtual and real servers
# ipvsadm --set          only with timeouts: TCP, TCP after FIN, UDP
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kns.addresses import IPFamily
from kns.compile.proxy.ipvs_rules import IpvsRules
from kns.state import ipset, ipvs
from kns.state.iptables import save_text
from kns.state.model import IpvsTimeouts

_PROGRAMS = {IPFamily.IPV4: "iptables-restore", IPFamily.IPV6: "ip6tables-restore"}


def render_text(rules: IpvsRules) -> str:
    """All parts in the order in which they load; none that would be empty."""
    return "".join(f"# {title}\n{text}" for title, text in render_parts(rules) if text)


def render_parts(rules: IpvsRules) -> Iterator[tuple[str, str]]:
    """The comment line, and what it stands above."""
    yield "sysctl -p -", _lines(f"net/{item.key} = {item.value}" for item in rules.sysctls)
    yield "ipset restore", ipset.changes(rules.ipsets, ())
    for family, program in _PROGRAMS.items():
        yield program, save_text(table for table in rules.tables if table.family is family)
    yield "ip", _lines(_ip_commands(rules))
    yield "ipvsadm -R", ipvs.save_text(rules.virtual_servers)
    if rules.timeouts != IpvsTimeouts():
        yield "ipvsadm --set", _lines([ipvs.timeouts_command(rules.timeouts)])


def _ip_commands(rules: IpvsRules) -> Iterator[str]:
    for link in rules.links:
        yield f"ip link add {link.name} type dummy"
    for address in rules.addresses:
        yield f"ip addr add {address.interface} dev {address.ifname}"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
