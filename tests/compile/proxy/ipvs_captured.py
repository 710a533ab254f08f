"""What the real kube-proxy left in IPVS mode, read into the same types as ours."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_interface

from kns.addresses import IPFamily
from kns.compile.proxy.ipvs import DEVICE, ipvs_rules
from kns.compile.proxy.ipvs_rules import IpvsRules
from kns.state.ipset import parse_save as parse_ipset
from kns.state.iptables import parse_save as parse_iptables
from kns.state.ipvs import parse_save as parse_ipvsadm
from kns.state.ipvs import sort_key
from kns.state.model import Address, IptablesTable
from tests.kube_proxy_cases import CapturedState

SAVED = {IPFamily.IPV4: "iptables.save", IPFamily.IPV6: "ip6tables.save"}


def captured_rules(state: CapturedState) -> IpvsRules:
    """The captured state; device, sysctls and timeouts are not part of the comparison."""
    folder = state.folder
    tables = (
        table
        for family, name in SAVED.items()
        for table in parse_iptables((folder / name).read_text(), family)
    )
    return comparable(
        IpvsRules(
            tables=tuple(tables),
            ipsets=parse_ipset((folder / "ipset.save").read_text()),
            virtual_servers=parse_ipvsadm((folder / "ipvsadm.save").read_text()),
            addresses=parse_addresses((folder / "kube-ipvs0.txt").read_text()),
        )
    )


def compiled_rules(state: CapturedState) -> IpvsRules:
    """What we make for the same objects, in both families."""
    services, slices = state.objects.services, state.objects.endpoint_slices
    four, six = (
        ipvs_rules(services, slices, state.node, state.options, family) for family in IPFamily
    )
    return comparable(four.joined(six))


def comparable(rules: IpvsRules) -> IpvsRules:
    """Without what has no order, and without what is not captured."""
    return IpvsRules(
        tables=tuple(sorted(map(_by_name, rules.tables), key=lambda t: (t.family, t.name))),
        ipsets=tuple(sorted(rules.ipsets, key=lambda item: item.name)),
        virtual_servers=tuple(sorted(rules.virtual_servers, key=sort_key)),
        addresses=tuple(sorted(rules.addresses, key=lambda item: str(item.interface))),
    )


def _by_name(table: IptablesTable) -> IptablesTable:
    return replace(table, chains=tuple(sorted(table.chains, key=lambda chain: chain.name)))


def parse_addresses(text: str) -> tuple[Address, ...]:
    """The global addresses in the output of `ip addr show kube-ipvs0`."""
    found = re.findall(r"inet6? (\S+) scope global", text)
    return tuple(Address(DEVICE, ip_interface(item)) for item in found)
