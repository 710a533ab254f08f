"""kube-proxy's nftables mode, pure: services and endpoints of one family → the table `kube-proxy`.

    services ── service-ips, service-nodeports ──▶ service-X    internalTrafficPolicy Cluster
                                                   local-X      … Local
                                                   external-X   from outside: mark or short cut
                                                      ▼         numgen random vmap
                                                   endpoint-Y   hairpin mark, affinity, DNAT
    firewall-check ── firewall-ips ──▶ firewall-X               loadBalancerSourceRanges
    …-endpoints-check ── no-endpoint-… ──▶ reject-chain or drop

X is HASH-namespace/name/protocol/port, Y the same with __address/port. A chain that no packet can
reach any more is deleted by kube-proxy a second or more after it became empty; here it never is
part of the table. Source: syncProxyRules in pkg/proxy/nftables/proxier.go of Kubernetes v1.30.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from kns.addresses import IPAddress, IPFamily
from kns.cluster.model import KubeProxyOptions, ProxyMode
from kns.compile.proxy.base import Objects, Proxy, start_sysctls
from kns.compile.proxy.endpoints import ProxyEndpoint, ServicePortView, service_ports
from kns.compile.proxy.nftables_base import (
    CLUSTER_IPS,
    FIREWALL_IPS,
    MARK,
    NO_ENDPOINT_NODEPORTS,
    NO_ENDPOINT_SERVICES,
    REJECT,
    SERVICE_IPS,
    SERVICE_NODEPORTS,
    TABLE,
    TableDraft,
    address_text,
    base_table,
    local_traffic,
    source_set_text,
)
from kns.compile.proxy.on_node import proxy_node_ip
from kns.compile.proxy.release import DEFAULT, Release, ReleaseChange
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.node import Node
from kns.kinds.service import Service, SessionAffinity
from kns.state import nft
from kns.state.model import Netns, NftTable, RuleNames
from kns.state.requirements import Feature, Need, Tool

#: nft's NFT_NAME_MAXLEN is 256; knftables keeps 16 of it for the prefix
NAME_BASE_MAX = 240
#: what the kernel gives a set that rules add to, if none was asked for (nft_dynset)
DYNAMIC_SET_SIZE = 65535


#: what shows that the kernel has all that the rules use
_NFT_PROOF = """\
add table ip kns
add chain ip kns nat { type nat hook postrouting priority srcnat; }
add map ip kns services { type ipv4_addr . inet_proto . inet_service : verdict; }
add rule ip kns nat numgen random mod 2 vmap { 0 : accept, 1 : accept }
add rule ip kns nat mark & 0x4000 != 0 masquerade fully-random
"""


class NftablesProxy(Proxy):
    """kube-proxy's mode nftables."""

    MODE = ProxyMode.NFTABLES
    TOOLS = (Tool("nft", Need.OPTIONAL, "kubeProxyMode: nftables, NetworkPolicies"),)
    FEATURES = (
        Feature(
            "nftables",
            Need.OPTIONAL,
            "kubeProxyMode: nftables",
            ("nft", "-f", "-"),
            "nf_tables nft_numgen",
            _NFT_PROOF,
        ),
    )
    OWN = RuleNames(nft_tables=(TABLE,))

    def on_node(self, name: str, objects: Objects, node: Node, options: KubeProxyOptions) -> Netns:
        """The table `kube-proxy` of both families."""
        tables = tuple(self._tables(objects, node, options, IPFamily))
        return Netns(name, links=(), sysctls=start_sysctls(options), nftables=tables)

    def render(
        self,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        families: Iterable[IPFamily],
    ) -> str:
        """What `nft -f` loads."""
        tables = self._tables(objects, node, options, families)
        return "".join(nft.table_text(table) for table in tables)

    def _tables(
        self,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        families: Iterable[IPFamily],
    ) -> Iterator[NftTable]:
        services, slices = objects.services, objects.endpoint_slices
        for family in families:
            yield from nft_tables(services, slices, node, options, family, release=self.release)

    def is_in(self, space: Netns) -> bool:
        """A table of that name."""
        return any(table.name == TABLE for table in space.nftables)

    def health_check_addresses(self, node: Node, options: KubeProxyOptions) -> tuple[str, ...]:
        """Its --nodeport-addresses are `primary` by default: the node's own addresses."""
        if not options.nodeport_addresses:
            return tuple(str(address) for address in node.addresses)
        return super().health_check_addresses(node, options)


def nft_tables(
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    node: Node,
    options: KubeProxyOptions,
    family: IPFamily,
    *,
    release: Release = DEFAULT,
) -> tuple[NftTable, ...]:
    """What kube-proxy on `node` keeps in nftables for `family`: always one table."""
    draft = base_table(node, options, family)
    local = local_traffic(node, options, family, release)
    for view in service_ports(services, slices, node, family):
        _ServiceWriter(draft, node, options, local, view, service_names(view), release).write()
    return (draft.finish(),)


# -- names -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServiceNames:
    """The names of a service port's chains; they exist only as far as traffic can reach them."""

    base: str
    cluster: str
    local: str
    external: str
    firewall: str


def service_names(view: ServicePortView) -> ServiceNames:
    """Chain names of a service port, the same in both families."""
    base = _port_path(view)
    name = _hashed(base)
    return ServiceNames(
        base, f"service-{name}", f"local-{name}", f"external-{name}", f"firewall-{name}"
    )


def endpoint_names(base: str, endpoint: ProxyEndpoint) -> tuple[str, str]:
    """The chain of an endpoint of the service port `base`, and its affinity set."""
    # nft names may hold letters, digits and _./- only
    address = str(endpoint.address).replace(":", ".")
    name = _hashed(f"{base}__{address}/{endpoint.port}")
    return f"endpoint-{name}", f"affinity-{name}"


def _port_path(view: ServicePortView) -> str:
    service, port = view.service, view.port
    return f"{service.namespace}/{service.name}/{port.protocol.lower()}/{port.name}"


def _hashed(path: str) -> str:
    digest = base64.b32encode(hashlib.sha256(path.encode()).digest()).decode()
    name = f"{digest[:8]}-{path}"
    return name if len(name) <= NAME_BASE_MAX else name[: NAME_BASE_MAX - 3] + "..."


def duration_text(seconds: int) -> str:
    """A time span as nft prints it: `3h`, `1m30s`, `1d`."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{value}{unit}" for value, unit in parts if value) or "0s"


# -- one service port ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ServiceWriter:
    """Adds one service port to a table that is being written."""

    draft: TableDraft
    node: Node
    options: KubeProxyOptions
    local: tuple[str, str] | None
    view: ServicePortView
    names: ServiceNames
    release: Release

    def write(self) -> None:
        self.draft.add_element(CLUSTER_IPS, address_text(self.view.cluster_ip))
        self._write_internal()
        if self.view.externally_accessible:
            self._write_external()
        self._write_firewall()
        if self.view.cluster:
            self._write_balancing(self.names.cluster, self.view.cluster)
        if self.view.local:
            self._write_balancing(self.names.local, self.view.local)
        for endpoint in self.view.reachable:
            self._write_endpoint(endpoint)

    @property
    def affinity(self) -> bool:
        return self.view.service.session_affinity is SessionAffinity.CLIENT_IP

    @property
    def protocol(self) -> str:
        return self.view.port.protocol.lower()

    def _key(self, address: IPAddress) -> str:
        return f"{address_text(address)} . {self.protocol} . {self.view.port.port}"

    def _write_internal(self) -> None:
        """What reaches the cluster IP."""
        view = self.view
        local = view.internal_policy_local
        chain = self.names.local if local else self.names.cluster
        key = self._key(view.cluster_ip)
        if not (view.local if local else view.has_any):
            verdict = "drop" if view.has_any else f"goto {REJECT}"
            self.draft.add_element(NO_ENDPOINT_SERVICES, key, verdict, view.name)
            return
        self.draft.add_element(SERVICE_IPS, key, f"goto {chain}")
        destination = (
            f"{self.draft.ip} daddr {address_text(view.cluster_ip)}"
            f" {self.protocol} dport {view.port.port}"
        )
        if self.options.nftables.masquerade_all:
            self.draft.add_rules(chain, f"{destination} jump {MARK}")
        elif self.local is not None:
            # somebody outside routed the service range here: the answer must come back this way
            self.draft.add_rules(chain, f"{destination} {self.local[1]} jump {MARK}")

    def _write_external(self) -> None:
        """What reaches external, load balancer and node port addresses."""
        view, draft = self.view, self.draft
        served = bool(view.local) if view.external_policy_local else view.has_any
        refusal = "drop" if view.has_any else f"goto {REJECT}"
        for address in (*view.external_ips, *view.load_balancer_ips):
            key = self._key(address)
            if view.has_any:
                draft.add_element(SERVICE_IPS, key, f"goto {self.names.external}")
            if not served:
                draft.add_element(NO_ENDPOINT_SERVICES, key, refusal, view.name)
        if view.port.node_port:
            key = f"{self.protocol} . {view.port.node_port}"
            if view.has_any:
                draft.add_element(SERVICE_NODEPORTS, key, f"goto {self.names.external}")
            if not served:
                draft.add_element(NO_ENDPOINT_NODEPORTS, key, refusal, view.name)
        if view.has_any:
            draft.add_rules(self.names.external, *self._external_rules())

    def _external_rules(self) -> tuple[str, ...]:
        if not self.view.external_policy_local:
            return f"jump {MARK}", f"goto {self.names.cluster}"
        last = (f"goto {self.names.local}",) if self.view.local else ()
        short_cut = f"goto {self.names.cluster} comment"
        # the load balancer's address may be local to this node, and so the source of its packets
        pods = (f'{self.local[0]} {short_cut} "short-circuit pod traffic"',) if self.local else ()
        return (
            *pods,
            f'fib saddr type local jump {MARK} comment "masquerade local traffic"',
            f'fib saddr type local {short_cut} "short-circuit local traffic"',
            *last,
        )

    def _write_firewall(self) -> None:
        """LoadBalancerSourceRanges; node ports are not subject to them."""
        view = self.view
        if not (view.load_balancer_ips and view.source_ranges):
            return
        own = proxy_node_ip(self.node, view.family)
        # a node that holds the load balancer's address sends from it: allow that with the node
        allowed = any(own in ip_network(text) for text in view.source_ranges)
        sources = source_set_text(view.source_ranges, view.load_balancer_ips if allowed else ())
        self.draft.add_rules(self.names.firewall, f"{self.draft.ip} saddr != {sources} drop")
        silent = self.release.has(ReleaseChange.FIREWALL_ELEMENTS_WITHOUT_COMMENT)
        comment = "" if silent else view.name
        for address in view.load_balancer_ips:
            verdict = f"goto {self.names.firewall}"
            self.draft.add_element(FIREWALL_IPS, self._key(address), verdict, comment)

    def _write_balancing(self, chain: str, endpoints: tuple[ProxyEndpoint, ...]) -> None:
        """Clients that an endpoint knows first, then a random endpoint."""
        names = [endpoint_names(self.names.base, endpoint) for endpoint in endpoints]
        if self.affinity:
            ip = self.draft.ip
            self.draft.add_rules(chain, *(f"{ip} saddr @{s} goto {c}" for c, s in names))
        targets = ", ".join(f"{i} : goto {c}" for i, (c, _) in enumerate(names))
        self.draft.add_rules(chain, f"numgen random mod {len(names)} vmap {{ {targets} }}")

    def _write_endpoint(self, endpoint: ProxyEndpoint) -> None:
        chain, affinity_set = endpoint_names(self.names.base, endpoint)
        ip = self.draft.ip
        address = address_text(endpoint.address)
        # a pod that reaches itself through the service would drop an answer from its own address
        rules = [f"{ip} saddr {address} jump {MARK}"]
        if self.affinity:
            self.draft.add_set(
                affinity_set,
                f"type {self.draft.address_type}",
                f"size {DYNAMIC_SET_SIZE}",
                "flags dynamic,timeout",
                f"timeout {duration_text(self.view.service.session_affinity_timeout)}",
            )
            rules.append(f"update @{affinity_set} {{ {ip} saddr }}")
        target = f"[{address}]" if ip == "ip6" else address
        rules.append(f"meta l4proto {self.protocol} dnat to {target}:{endpoint.port}")
        self.draft.add_rules(chain, *rules)
