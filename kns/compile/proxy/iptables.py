"""Services as kube-proxy's iptables mode writes them: tables nat and filter of one node and family.

    PREROUTING, OUTPUT ─▶ nat KUBE-SERVICES ─▶ per-service chains (iptables_port.py) ─▶ DNAT
    POSTROUTING ────────▶ nat KUBE-POSTROUTING: masquerade what KUBE-MARK-MASQ marked
    INPUT, FORWARD, OUTPUT ─▶ filter: KUBE-PROXY-FIREWALL, KUBE-FORWARD, KUBE-SERVICES (refusals)

Source: pkg/proxy/iptables/proxier.go of Kubernetes, in the form in which `iptables-save`
prints it back. kube-proxy inserts its jumps one by one, so they stand in reverse of its list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from kns.addresses import IPFamily
from kns.compile.proxy.base import Compilation, Objects, Proxy, ProxyRules, start_sysctls
from kns.compile.proxy.endpoints import ServicePortView, ports_of_service, slices_by_service
from kns.compile.proxy.iptables_port import Rules, Setting, add_service_port
from kns.compile.proxy.iptables_words import MARK_MASQ, comment, destination, nfacct
from kns.compile.proxy.on_node import (
    local_detector,
    localhost_node_ports,
    node_port_ips,
    proxy_node_ip,
)
from kns.compile.proxy.release import ReleaseChange, has
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.networking import KubeProxyOptions, NfacctUse, ProxyMode
from kns.kinds.node import Node
from kns.kinds.service import Service
from kns.state.iptables import save_text
from kns.state.model import Chain, IptablesTable, Netns
from kns.state.requirements import Feature, Need, Tool

#: proxier.go largeClusterEndpointsThreshold
LARGE_CLUSTER_ENDPOINTS: Final = 1000
#: util/iptables/monitor: the chains that kube-proxy looks for to notice a flush
CANARY: Final = "KUBE-PROXY-CANARY"

_NEW = "-m conntrack --ctstate NEW"
_SERVICES = f"{comment('kubernetes service portals')} -j KUBE-SERVICES"
_FIREWALL = f"{_NEW} {comment('kubernetes load balancer firewall')} -j KUBE-PROXY-FIREWALL"
_EXTERNAL = (
    f"{_NEW} {comment('kubernetes externally-visible service portals')} -j KUBE-EXTERNAL-SERVICES"
)
_NODE_PORTS = "kubernetes service nodeports; NOTE: this must be the last rule in this chain"

_NAT_BUILT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "PREROUTING": (_SERVICES,),
    "INPUT": (),
    "OUTPUT": (_SERVICES,),
    "POSTROUTING": (f"{comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING",),
}
_FILTER_BUILT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "INPUT": (
        "-j KUBE-FIREWALL",
        _FIREWALL,
        f"{comment('kubernetes health check service ports')} -j KUBE-NODEPORTS",
        _EXTERNAL,
    ),
    "FORWARD": (
        _FIREWALL,
        f"{comment('kubernetes forwarding rules')} -j KUBE-FORWARD",
        f"{_NEW} {_SERVICES}",
        _EXTERNAL,
    ),
    "OUTPUT": ("-j KUBE-FIREWALL", _FIREWALL, f"{_NEW} {_SERVICES}"),
}
_MANGLE_BUILT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "PREROUTING": (),
    "INPUT": (),
    "FORWARD": (),
    "OUTPUT": (),
    "POSTROUTING": (),
}


#: what shows that the kernel has all matches and targets that the rules use
_NAT_PROOF = """\
*nat
:KUBE-SVC-TEST - [0:0]
-A KUBE-SVC-TEST -m comment --comment "a/b" -m statistic --mode random --probability 0.5 -j RETURN
-A KUBE-SVC-TEST -p tcp -m tcp -j DNAT --to-destination 10.0.0.1:80
-A KUBE-SVC-TEST -m addrtype --dst-type LOCAL -j RETURN
-A KUBE-SVC-TEST -j MARK --or-mark 0x4000
-A KUBE-SVC-TEST -j MASQUERADE --random-fully
COMMIT
*filter
:KUBE-TEST - [0:0]
-A KUBE-TEST -m conntrack --ctstate INVALID -j DROP
-A KUBE-TEST -p tcp -m mark --mark 0x4000/0x4000 -j REJECT
COMMIT
"""
_AFFINITY_PROOF = """\
*nat
:KUBE-SVC-TEST - [0:0]
-A KUBE-SVC-TEST -m recent --name KUBE-SEP-TEST --rcheck --seconds 10800 --reap -j RETURN
COMMIT
"""


class IptablesProxy(Proxy):
    """kube-proxy's mode iptables."""

    MODE = ProxyMode.IPTABLES
    #: each family has a program of its own, so a text is for one
    RENDERED_FAMILIES = (IPFamily.IPV4,)
    TOOLS = (Tool("iptables-restore", Need.REQUIRED, "kube-proxy's rules in iptables mode"),)
    FEATURES = (
        Feature(
            "iptables nat",
            Need.REQUIRED,
            "kubeProxyMode: iptables, egress",
            ("iptables-restore",),
            "nf_nat xt_statistic xt_MASQUERADE xt_comment xt_addrtype",
            _NAT_PROOF,
        ),
        Feature(
            "iptables recent",
            Need.OPTIONAL,
            "sessionAffinity: ClientIP in iptables mode",
            ("iptables-restore",),
            "xt_recent",
            _AFFINITY_PROOF,
        ),
    )

    def on_node(
        self,
        name: str,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        before: ProxyRules | None = None,
    ) -> ProxyRules:
        """The tables of both families, canary chains included."""
        made = tuple(
            recompile(
                IptablesCompilation(node, options, family, canaries=True).after(before),
                objects.services,
                objects.endpoint_slices,
            )
            for family in IPFamily
        )
        localnet = localhost_node_ports(options, node, IPFamily.IPV4)
        space = Netns(
            name,
            links=(),
            sysctls=start_sysctls(options, localnet=localnet),
            iptables=tuple(table for item in made for table in item.tables),
        )
        return ProxyRules(space, made)

    def render(
        self,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        families: Iterable[IPFamily],
    ) -> str:
        """What `iptables-restore` or `ip6tables-restore` loads; no canary chains."""
        services, slices = objects.services, objects.endpoint_slices
        return "".join(
            save_text(iptables_tables(services, slices, node, options, family))
            for family in families
        )

    def is_in(self, space: Netns) -> bool:
        """KUBE-SERVICES in table nat, which IPVS mode has as well, and no ipsets."""
        return not any(item.name.startswith("KUBE-") for item in space.ipsets) and any(
            chain.name == "KUBE-SERVICES"
            for table in space.iptables
            if table.name == "nat"
            for chain in table.chains
        )


def iptables_tables(
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    node: Node,
    options: KubeProxyOptions,
    family: IPFamily,
    *,
    canaries: bool = False,
) -> tuple[IptablesTable, ...]:
    """The nat and filter tables of `family` on `node`; with `canaries` their chains, and mangle.

    Chains are in `iptables-save`'s order, rules of chains whose order is free by service name.
    """
    start = IptablesCompilation(node, options, family, canaries=canaries)
    return recompile(start, services, slices).tables


@dataclass(frozen=True, slots=True)
class Part:
    """What one service contributes, and what that was made from."""

    service: Service
    slices: tuple[EndpointSlice, ...]
    views: tuple[ServicePortView, ...]
    setting: Setting
    rules: Rules


@dataclass(frozen=True, slots=True)
class IptablesCompilation(Compilation[Part, IptablesTable]):
    """Tables and the parts they are made of."""

    canaries: bool


def recompile(
    before: IptablesCompilation, services: Iterable[Service], slices: Iterable[EndpointSlice]
) -> IptablesCompilation:
    """The tables for `services` and `slices`; what is as in `before` is taken from there.

    Unchanged chains are the same objects, so that comparing two compilations is cheap as well.
    """
    by_service = slices_by_service(slices)
    found: list[tuple[Service, tuple[EndpointSlice, ...], tuple[ServicePortView, ...]]] = []
    for service in sorted(services, key=lambda item: (item.namespace, item.name)):
        key = (service.namespace, service.name)
        own = by_service.get(key, ())
        part = before.parts.get(key)
        same_service = part is not None and (part.service is service or part.service == service)
        if part is not None and same_service and part.slices == own:
            found.append((service, own, part.views))
        else:
            views = ports_of_service(service, own, before.node, before.options, before.family)
            found.append((service, own, views))
    setting = _setting(before, (views for _, _, views in found))
    parts = {
        (service.namespace, service.name): _part(before, service, own, views, setting)
        for service, own, views in found
    }
    return replace(before, parts=parts, tables=_tables(before, parts.values()))


def _setting(start: IptablesCompilation, views: Iterable[tuple[ServicePortView, ...]]) -> Setting:
    endpoints = sum(view.total_endpoints for group in views for view in group)
    return Setting(
        detector=local_detector(start.options, start.node, start.family),
        masquerade_all=start.options.masquerade_all,
        node_ip=proxy_node_ip(start.node, start.family),
        large_cluster=endpoints > LARGE_CLUSTER_ENDPOINTS,
        counts_localhost=counts_packets(start.options)
        and localhost_node_ports(start.options, start.node, start.family),
    )


def _part(
    before: IptablesCompilation,
    service: Service,
    slices: tuple[EndpointSlice, ...],
    views: tuple[ServicePortView, ...],
    setting: Setting,
) -> Part:
    old = before.parts.get((service.namespace, service.name))
    if old is not None and old.views is views and old.setting == setting:
        return old
    rules = Rules()
    for view in views:
        add_service_port(rules, view, setting)
    return Part(service, slices, views, setting, rules)


def _tables(start: IptablesCompilation, parts: Iterable[Part]) -> tuple[IptablesTable, ...]:
    node, options, family = start.node, start.options, start.family
    rules = Rules()
    for part in parts:
        rules.extend(part.rules)
    node_port_jumps = _node_port_jumps(options, node, family)
    nat = [
        Chain(MARK_MASQ, (f"-j MARK --set-xmark {_mark(options)}/{_mark(options)}",)),
        Chain("KUBE-NODEPORTS", tuple(rules.nat_node_ports)),
        Chain("KUBE-POSTROUTING", _postrouting_rules(options)),
        Chain("KUBE-SERVICES", (*rules.nat_services, *node_port_jumps)),
        *rules.chains,
    ]
    filter_ = [
        Chain("KUBE-EXTERNAL-SERVICES", tuple(rules.filter_external_services)),
        Chain("KUBE-FIREWALL", _martian_rules(options, node, family)),
        Chain("KUBE-FORWARD", _forward_rules(options)),
        Chain("KUBE-NODEPORTS", tuple(rules.filter_node_ports)),
        Chain("KUBE-PROXY-FIREWALL", tuple(rules.filter_proxy_firewall)),
        Chain("KUBE-SERVICES", tuple(rules.filter_services)),
    ]
    canary = [Chain(CANARY)] if start.canaries else []
    tables = (
        _table(family, "nat", _NAT_BUILT_IN, nat + canary),
        _table(family, "filter", _FILTER_BUILT_IN, filter_ + canary),
    )
    mangle = _table(family, "mangle", _MANGLE_BUILT_IN, canary)
    return (*tables, mangle) if canary else tables


def _table(
    family: IPFamily, name: str, built_in: Mapping[str, tuple[str, ...]], own: Iterable[Chain]
) -> IptablesTable:
    chains = [Chain(chain, rules, policy="ACCEPT") for chain, rules in built_in.items()]
    chains += sorted(own, key=lambda chain: chain.name)
    return IptablesTable(family, name, tuple(chains))


def _mark(options: KubeProxyOptions) -> str:
    return f"{1 << options.masquerade_bit:#x}"


def _postrouting_rules(options: KubeProxyOptions) -> tuple[str, ...]:
    """Masquerade what is marked; unmark it first, or the mark would follow it into a tunnel."""
    mark = _mark(options)
    note = comment("kubernetes service traffic requiring SNAT")
    return (
        f"-m mark ! --mark {mark}/{mark} -j RETURN",
        f"-j MARK --set-xmark {mark}/0x0",
        f"{note} -j MASQUERADE --random-fully",
    )


def _forward_rules(options: KubeProxyOptions) -> tuple[str, ...]:
    """KUBE-FORWARD: what conntrack calls invalid would reach the client with the pod's address."""
    mark = _mark(options)
    marked = f"{comment('kubernetes forwarding rules')} -m mark --mark {mark}/{mark} -j ACCEPT"
    known = comment("kubernetes forwarding conntrack rule")
    rules = (marked, f"{known} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    if options.conntrack_tcp_be_liberal:
        return rules
    counted = f" {nfacct('ct_state_invalid_dropped_pkts')}" if counts_packets(options) else ""
    return (f"-m conntrack --ctstate INVALID{counted} -j DROP", *rules)


def counts_packets(options: KubeProxyOptions) -> bool:
    """True if rules count packets by nfacct objects, which are there before the rules are loaded.

    kube-proxy tries whether the kernel has them. Nothing is known of a kernel here: whoever builds
    a lab has turned `auto` into `on` or `off`, and where it is left it means no.
    """
    return options.nfacct is NfacctUse.ON and has(options.version, ReleaseChange.NFACCT)


def _martian_rules(options: KubeProxyOptions, node: Node, family: IPFamily) -> tuple[str, ...]:
    """route_localnet opens 127.0.0.0/8 to neighbours (kubernetes issue 90259); this shuts it."""
    if not localhost_node_ports(options, node, family):
        return ()
    note = comment("block incoming localnet connections")
    states = "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT"
    return (f"! -s 127.0.0.0/8 -d 127.0.0.0/8 {note} {states} -j DROP",)


def _node_port_jumps(options: KubeProxyOptions, node: Node, family: IPFamily) -> tuple[str, ...]:
    """KUBE-SERVICES' last rules: packets to the node itself may be for a node port."""
    addresses = node_port_ips(options, node, family)
    if addresses is not None:
        return tuple(
            f"{destination(ip)}{comment(_NODE_PORTS)} -j KUBE-NODEPORTS" for ip in addresses
        )
    but = ""
    if family is IPFamily.IPV6:
        but = "! -d ::1/128 "
    elif not localhost_node_ports(options, node, family):
        but = "! -d 127.0.0.0/8 "
    return (f"{but}{comment(_NODE_PORTS)} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",)
