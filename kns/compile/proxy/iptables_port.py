"""The chains and rules of one service port, as kube-proxy's iptables mode writes them.

    KUBE-SERVICES, KUBE-NODEPORTS                    shared: which port is meant
      cluster IP ──────────────▶ KUBE-SVC or KUBE-SVL
      external IP, node port ──▶ KUBE-EXT ──▶ KUBE-SVC or KUBE-SVL
      balancer IP ──(KUBE-FW)──▶ KUBE-EXT
    KUBE-SVC   endpoints of policy Cluster     ┐ affinity first, then by chance
    KUBE-SVL   endpoints of policy Local       ┘ ──▶ KUBE-SEP: hairpin mark, DNAT

What can't be sent anywhere is answered in table filter: REJECT if the service has no endpoint at
all, DROP if it has some but policy Local finds none here. Source: pkg/proxy/iptables/proxier.go
syncProxyRules of Kubernetes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network

from kns.addresses import IPAddress
from kns.compile.proxy.endpoints import ProxyEndpoint, ServicePortView
from kns.compile.proxy.iptables_words import (
    LOCALHOST,
    MARK_MASQ,
    chain_hash,
    comment,
    destination,
    from_pods,
    nfacct,
    not_from_pods,
    probability,
    recent_mask,
    reject,
    source,
)
from kns.compile.proxy.on_node import LocalDetector
from kns.kinds.service import SessionAffinity
from kns.state.model import Chain


@dataclass(frozen=True, slots=True)
class Setting:
    """What all service ports of a node and family share."""

    detector: LocalDetector | None
    masquerade_all: bool
    node_ip: IPAddress
    #: above 1000 endpoints kube-proxy leaves out the comments that only help a reader
    large_cluster: bool
    #: node ports that are asked for on 127.0.0.1 are counted
    counts_localhost: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What service ports add up to: rules of shared chains, and nat chains of their own."""

    nat_services: list[str] = field(default_factory=list)
    nat_node_ports: list[str] = field(default_factory=list)
    filter_services: list[str] = field(default_factory=list)
    filter_external_services: list[str] = field(default_factory=list)
    filter_node_ports: list[str] = field(default_factory=list)
    filter_proxy_firewall: list[str] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)

    def extend(self, other: Rules) -> None:
        """Add what `other` holds."""
        self.nat_services.extend(other.nat_services)
        self.nat_node_ports.extend(other.nat_node_ports)
        self.filter_services.extend(other.filter_services)
        self.filter_external_services.extend(other.filter_external_services)
        self.filter_node_ports.extend(other.filter_node_ports)
        self.filter_proxy_firewall.extend(other.filter_proxy_firewall)
        self.chains.extend(other.chains)


@dataclass(frozen=True, slots=True)
class _Port:
    """A service port with the decisions that several of its chains depend on."""

    view: ServicePortView
    setting: Setting
    name: str
    protocol: str
    svc: str
    svl: str
    ext: str
    fw: str
    #: the endpoints' chains, by their `ip:port`
    sep: dict[str, str]

    @property
    def internal_chain(self) -> str:
        return self.svl if self.view.internal_policy_local else self.svc

    @property
    def external_chain(self) -> str:
        return self.svl if self.view.external_policy_local else self.svc

    @property
    def has_internal(self) -> bool:
        local = self.view.internal_policy_local
        return bool(self.view.local) if local else self.view.has_any

    @property
    def has_external(self) -> bool:
        local = self.view.external_policy_local
        return bool(self.view.local) if local else self.view.has_any

    @property
    def firewalled(self) -> bool:
        view = self.view
        return bool(view.has_any and view.load_balancer_ips and view.source_ranges)

    @property
    def refusal(self) -> tuple[str, str]:
        """Comment and target of the filter rule where no endpoint can take a packet."""
        if self.view.has_any:
            return comment(f"{self.name} has no local endpoints"), "DROP"
        return comment(f"{self.name} has no endpoints"), reject(self.view.family)

    def match(self, address: IPAddress, note: str, *, port: int = 0) -> str:
        """The match of packets to `address` and the service's port, with comment `note`."""
        dport = port or self.view.port.port
        return f"{destination(address)}{self.proto_match(note)} --dport {dport}"

    def proto_match(self, note: str, between: str = "") -> str:
        return f"-p {self.protocol} {note} {between}-m {self.protocol}"


def add_service_port(rules: Rules, view: ServicePortView, setting: Setting) -> None:
    """Add the rules of one service port to `rules`."""
    port = _port(view, setting)
    _capture_cluster_ip(rules, port)
    _capture_external_ips(rules, port)
    _capture_node_port(rules, port)
    _accept_health_checks(rules, port)
    chains = rules.chains
    if view.has_any and view.externally_accessible:
        chains.append(Chain(port.ext, _external_rules(port)))
    if port.firewalled:
        chains.append(Chain(port.fw, _firewall_rules(port)))
    for name, endpoints in ((port.svc, view.cluster), (port.svl, view.local)):
        if endpoints:
            chains.append(Chain(name, _masquerade_rule(port, name) + _balance(port, endpoints)))
    chains.extend(Chain(port.sep[e.text], _endpoint_rules(port, e)) for e in view.reachable)


def _port(view: ServicePortView, setting: Setting) -> _Port:
    name, protocol = view.name, view.port.protocol.value.lower()
    end = chain_hash(name + protocol)
    return _Port(
        view=view,
        setting=setting,
        name=name,
        protocol=protocol,
        svc=f"KUBE-SVC-{end}",
        svl=f"KUBE-SVL-{end}",
        ext=f"KUBE-EXT-{end}",
        fw=f"KUBE-FW-{end}",
        sep={e.text: f"KUBE-SEP-{chain_hash(name + protocol + e.text)}" for e in view.reachable},
    )


def _capture_cluster_ip(rules: Rules, port: _Port) -> None:
    address = port.view.cluster_ip
    if port.has_internal:
        match = port.match(address, comment(f"{port.name} cluster IP"))
        rules.nat_services.append(f"{match} -j {port.internal_chain}")
    else:
        note, target = port.refusal
        rules.filter_services.append(f"{port.match(address, note)} -j {target}")


def _capture_external_ips(rules: Rules, port: _Port) -> None:
    """External and balancer IPs: both lead to KUBE-EXT, balancer IPs by KUBE-FW if restricted."""
    view = port.view
    targets = [(ip, "external IP", port.ext) for ip in view.external_ips]
    first = port.fw if port.firewalled else port.ext
    targets += [(ip, "loadbalancer IP", first) for ip in view.load_balancer_ips]
    for address, kind, chain in targets:
        if view.has_any:
            match = port.match(address, comment(f"{port.name} {kind}"))
            rules.nat_services.append(f"{match} -j {chain}")
        if not port.has_external:
            note, target = port.refusal
            rules.filter_external_services.append(f"{port.match(address, note)} -j {target}")
    if port.firewalled:
        note = comment(f"{port.name} traffic not accepted by {port.fw}")
        rules.filter_proxy_firewall.extend(
            f"{port.match(address, note)} -j DROP" for address in view.load_balancer_ips
        )


def _capture_node_port(rules: Rules, port: _Port) -> None:
    number = port.view.port.node_port
    if not number:
        return
    if port.view.has_any:
        match = f"{port.proto_match(comment(port.name))} --dport {number}"
        if port.setting.counts_localhost:
            counted = f"{LOCALHOST} {match} {nfacct('localhost_nps_accepted_pkts')}"
            rules.nat_node_ports.append(f"{counted} -j {port.ext}")
        rules.nat_node_ports.append(f"{match} -j {port.ext}")
    if not port.has_external:
        note, target = port.refusal
        match = port.proto_match(note, "-m addrtype --dst-type LOCAL ")
        rules.filter_external_services.append(f"{match} --dport {number} -j {target}")


def _accept_health_checks(rules: Rules, port: _Port) -> None:
    number = port.view.health_check_node_port
    if number:
        note = comment(f"{port.name} health check node port")
        rules.filter_node_ports.append(f"-p tcp {note} -m tcp --dport {number} -j ACCEPT")


def _masquerade_rule(port: _Port, chain: str) -> tuple[str, ...]:
    """Packets to the cluster IP from outside the pod network: their answer must come back here."""
    if chain != port.internal_chain:
        return ()
    address = destination(port.view.cluster_ip)
    if not port.setting.masquerade_all:
        if port.setting.detector is None:
            return ()
        address = not_from_pods(port.setting.detector, address)
    match = port.proto_match(comment(f"{port.name} cluster IP"))
    return (f"{address}{match} --dport {port.view.port.port} -j {MARK_MASQ}",)


def _external_rules(port: _Port) -> tuple[str, ...]:
    """KUBE-EXT: policy Cluster masquerades; policy Local treats this node's own clients apart.

    A pod or the node itself that uses an external address is short-cut to all endpoints, as if
    it had gone out to a balancer and come back in.
    """
    what = f"traffic for {port.name} external destinations"
    rules = []
    if not port.view.external_policy_local:
        rules.append(f"{comment(f'masquerade {what}')} -j {MARK_MASQ}")
    else:
        detector = port.setting.detector
        if detector is not None:
            rules.append(f"{from_pods(detector)}{comment(f'pod {what}')} -j {port.svc}")
        local = "-m addrtype --src-type LOCAL -j"
        rules.append(f"{comment(f'masquerade LOCAL {what}')} {local} {MARK_MASQ}")
        rules.append(f"{comment(f'route LOCAL {what}')} {local} {port.svc}")
    if port.has_external:
        rules.append(f"-j {port.external_chain}")
    return tuple(rules)


def _firewall_rules(port: _Port) -> tuple[str, ...]:
    """KUBE-FW: allowed sources go on to KUBE-EXT; others fall through and meet filter's DROP.

    The balancer's IP is often local to the node, and then is also the source of what the node
    sends to it: allowed if the ranges allow the node.
    """
    view = port.view
    note = comment(f"{port.name} loadbalancer IP")
    ranges = [ip_network(text) for text in view.source_ranges]
    rules = [f"{source(network)}{note} -j {port.ext}" for network in ranges]
    if any(port.setting.node_ip in network for network in ranges):
        rules += (f"{source(ip)}{note} -j {port.ext}" for ip in view.load_balancer_ips)
    rules.append(comment(f"other traffic to {port.name} will be dropped by KUBE-PROXY-FIREWALL"))
    return tuple(rules)


def _balance(port: _Port, endpoints: tuple[ProxyEndpoint, ...]) -> tuple[str, ...]:
    """KUBE-SVC's and KUBE-SVL's choice: who is known goes where it went, others by chance."""
    rules = []
    notes = {e.text: _note(port, f"{port.name} -> {e.text}") for e in endpoints}
    if port.view.service.session_affinity is SessionAffinity.CLIENT_IP:
        seconds = port.view.service.session_affinity_timeout
        mask = recent_mask(port.view.family)
        for endpoint in endpoints:
            chain = port.sep[endpoint.text]
            rules.append(
                f"{notes[endpoint.text]}-m recent --rcheck --seconds {seconds} --reap"
                f" --name {chain} --mask {mask} --rsource -j {chain}"
            )
    for left, endpoint in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
        chance = f"{probability(left)} " if left > 1 else ""
        rules.append(f"{notes[endpoint.text]}{chance}-j {port.sep[endpoint.text]}")
    return tuple(rules)


def _endpoint_rules(port: _Port, endpoint: ProxyEndpoint) -> tuple[str, ...]:
    """KUBE-SEP: a pod that reaches itself must not see its own address as the client's; DNAT."""
    note = _note(port, port.name)
    remember = ""
    if port.view.service.session_affinity is SessionAffinity.CLIENT_IP:
        chain, mask = port.sep[endpoint.text], recent_mask(port.view.family)
        remember = f"-m recent --set --name {chain} --mask {mask} --rsource "
    return (
        f"-s {endpoint.host}/{endpoint.address.max_prefixlen} {note}-j {MARK_MASQ}",
        f"-p {port.protocol} {note}{remember}-m {port.protocol}"
        f" -j DNAT --to-destination {endpoint.target}",
    )


def _note(port: _Port, text: str) -> str:
    """A comment with its blank, left out in a large cluster."""
    return "" if port.setting.large_cluster else f"{comment(text)} "
