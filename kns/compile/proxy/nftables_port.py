"""One service port of kube-proxy's nftables mode: its elements, and its chains with their rules.

Source: syncProxyRules in pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from ipaddress import ip_network

from kns.addresses import IPAddress
from kns.compile.proxy.endpoints import ProxyEndpoint, ServicePortView
from kns.compile.proxy.nftables_base import (
    CLUSTER_IPS,
    FIREWALL_IPS,
    HAIRPINS,
    NO_ENDPOINT_NODEPORTS,
    NO_ENDPOINT_SERVICES,
    REJECT,
    SERVICE_IPS,
    SERVICE_NODEPORTS,
    TableDraft,
)
from kns.compile.proxy.nftables_generation import ClusterIPMasquerade
from kns.compile.proxy.nftables_words import address_text, network_set_text
from kns.compile.proxy.on_node import proxy_node_ip
from kns.compile.proxy.release import ReleaseChange, has
from kns.kinds.networking import KubeProxyOptions
from kns.kinds.node import Node
from kns.kinds.service import SessionAffinity

#: nft's NFT_NAME_MAXLEN is 256; knftables keeps 16 of it for the prefix
NAME_BASE_MAX = 240
#: what the kernel gives a set that rules add to, if none was asked for (nft_dynset)
DYNAMIC_SET_SIZE = 65535


def add_service_port(
    draft: TableDraft,
    view: ServicePortView,
    node: Node,
    options: KubeProxyOptions,
    local: tuple[str, str] | None,
) -> None:
    """Add what one service port needs to `draft`; `local` is how the node's pods are told."""
    _ServiceWriter(draft, node, options, local, view, service_names(view)).write()


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
    address = endpoint.spelling.replace(":", ".")
    name = _hashed(f"{base}__{address}/{endpoint.port}")
    return f"endpoint-{name}", f"affinity-{name}"


def _port_path(view: ServicePortView) -> str:
    service, port = view.service, view.port
    return f"{service.namespace}/{service.name}/{port.protocol.lower()}/{port.name}"


def _hashed(path: str) -> str:
    # five bytes are the eight letters that are kept
    digest = base64.b32encode(hashlib.sha256(path.encode()).digest()[:5]).decode()
    name = f"{digest}-{path}"
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
            if self.has_endpoint_chains:
                self._write_endpoint(endpoint)
            if endpoint.is_local and not self.draft.structure.small_chains:
                self._add_hairpin(endpoint)

    @property
    def affinity(self) -> bool:
        return self.view.service.session_affinity is SessionAffinity.CLIENT_IP

    @property
    def has_endpoint_chains(self) -> bool:
        return self.affinity or self.draft.structure.small_chains

    @property
    def protocol(self) -> str:
        return self.view.port.protocol.lower()

    def _match_pods(self) -> tuple[str, str] | None:
        """What tells the node's pods, for a rule that does: if nft refuses it, the table fails."""
        self.draft.fails |= self.options.interface_refused and self.local is not None
        return self.local

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
        self.draft.add_rules(chain, *self._masquerade_rules())

    def _masquerade_rules(self) -> tuple[str, ...]:
        """Somebody outside routed the service range here: the answer must come back this way."""
        how = self.draft.structure.cluster_ip_masquerade
        if how is ClusterIPMasquerade.AT_ONCE:
            return ()
        match = f"{self.draft.ip} daddr {address_text(self.view.cluster_ip)}"
        if how is ClusterIPMasquerade.BY_PORT:
            match += f" {self.protocol} dport {self.view.port.port}"
        if self.options.nftables.masquerade_all:
            return (self.draft.mark_rule(match),)
        pods = self._match_pods()
        return () if pods is None else (self.draft.mark_rule(f"{match} {pods[1]}"),)

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
            note = "" if self.draft.structure.small_chains else ' comment "masquerade"'
            return f"{self.draft.mark_rule('')}{note}", f"goto {self.names.cluster}"
        last = (f"goto {self.names.local}",) if self.view.local else ()
        local = self._match_pods()
        short_cut = f"goto {self.names.cluster} comment"
        # the load balancer's address may be local to this node, and so the source of its packets
        pods = (f'{local[0]} {short_cut} "short-circuit pod traffic"',) if local else ()
        mark = self.draft.mark_rule("fib saddr type local")
        return (
            *pods,
            f'{mark} comment "masquerade local traffic"',
            f'fib saddr type local {short_cut} "short-circuit local traffic"',
            *last,
        )

    def _write_firewall(self) -> None:
        """LoadBalancerSourceRanges; node ports are not subject to them."""
        view = self.view
        if not (view.load_balancer_ips and view.source_ranges):
            return
        own = proxy_node_ip(self.node, view.family)
        networks = [ip_network(text) for text in view.source_ranges]
        if any(own in network for network in networks):
            # a node that holds the load balancer's address sends from it: allow that with the node
            networks += map(ip_network, view.load_balancer_ips)
        sources = network_set_text(networks)
        self.draft.add_rules(self.names.firewall, f"{self.draft.ip} saddr != {sources} drop")
        silent = has(self.options.version, ReleaseChange.FIREWALL_ELEMENTS_WITHOUT_COMMENT)
        comment = "" if silent else view.name
        for address in view.load_balancer_ips:
            verdict = f"goto {self.names.firewall}"
            self.draft.add_element(FIREWALL_IPS, self._key(address), verdict, comment)

    def _write_balancing(self, chain: str, endpoints: tuple[ProxyEndpoint, ...]) -> None:
        """Clients that an endpoint knows first, then a random endpoint."""
        if not self.has_endpoint_chains:
            self.draft.add_rules(chain, self._translation(endpoints))
            return
        names = [endpoint_names(self.names.base, endpoint) for endpoint in endpoints]
        if self.affinity:
            ip = self.draft.ip
            self.draft.add_rules(chain, *(f"{ip} saddr @{s} goto {c}" for c, s in names))
        targets = ", ".join(f"{i} : goto {c}" for i, (c, _) in enumerate(names))
        self.draft.add_rules(chain, f"numgen random mod {len(names)} vmap {{ {targets} }}")

    def _translation(self, endpoints: tuple[ProxyEndpoint, ...]) -> str:
        """The DNAT to one of the endpoints."""
        if self.draft.structure.plain_single and len(endpoints) == 1:
            return self._plain_translation(endpoints[0])
        targets = ", ".join(f"{i} : {_host(e)} . {e.port}" for i, e in enumerate(endpoints))
        chance = f"numgen random mod {len(endpoints)} map {{ {targets} }}"
        return f"meta l4proto {self.protocol} dnat {self.draft.ip} to {chance}"

    def _plain_translation(self, endpoint: ProxyEndpoint) -> str:
        target = f"[{_host(endpoint)}]" if self.draft.ip == "ip6" else _host(endpoint)
        return f"meta l4proto {self.protocol} dnat to {target}:{endpoint.port}"

    def _add_hairpin(self, endpoint: ProxyEndpoint) -> None:
        """A pod that reaches itself through the service would drop an answer from its own address.

        Only endpoints on this node can be such pods.
        """
        host = _host(endpoint)
        self.draft.add_element(HAIRPINS, f"{host} . {host} . {self.protocol} . {endpoint.port}")

    def _write_endpoint(self, endpoint: ProxyEndpoint) -> None:
        """The endpoint's chain: the hairpin rule, who is remembered, the DNAT."""
        chain, affinity_set = endpoint_names(self.names.base, endpoint)
        ip = self.draft.ip
        rules: list[str] = []
        if self.draft.structure.small_chains:
            rules.append(self.draft.mark_rule(f"{ip} saddr {_host(endpoint)}"))
        if self.affinity:
            self.draft.add_set(
                affinity_set,
                f"type {self.draft.address_type}",
                f"size {DYNAMIC_SET_SIZE}",
                "flags dynamic,timeout",
                f"timeout {duration_text(self.view.service.session_affinity_timeout)}",
            )
            rules.append(f"update @{affinity_set} {{ {ip} saddr }}")
        self.draft.add_rules(chain, *rules, self._plain_translation(endpoint))


def _host(endpoint: ProxyEndpoint) -> str:
    """The endpoint's address as nft prints it."""
    is_ipv4 = endpoint.address.version == 4
    return endpoint.host if is_ipv4 else address_text(endpoint.address)
