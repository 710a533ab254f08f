"""The iptables part of kube-proxy's IPVS mode: tables nat and filter of one family.

Its size does not grow with the services: rules match ipsets. IPVS does the balancing; iptables
marks what has to be masqueraded and refuses what a service address must not lead to.

    nat     PREROUTING, OUTPUT ─▶ KUBE-SERVICES ─▶ KUBE-LOAD-BALANCER, KUBE-NODE-PORT: mark or not
            POSTROUTING ─▶ KUBE-POSTROUTING: masquerade hairpins and what was marked
    filter  INPUT ─▶ KUBE-NODE-PORT (health checks), KUBE-PROXY-FIREWALL (source ranges),
                     KUBE-IPVS-FILTER: the host's own ports are not reached by a service address
            FORWARD ─▶ KUBE-FORWARD, KUBE-PROXY-FIREWALL     OUTPUT ─▶ KUBE-IPVS-OUT-FILTER

Source: pkg/proxy/ipvs/proxier.go (writeIptablesRules) of Kubernetes v1.30, in the form in which
`iptables-save` prints it back. kube-proxy inserts its jumps one by one: reverse of its list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kns.addresses import IPAddress, IPFamily
from kns.compile.proxy.iptables_words import comment, not_from_pods, reject, source
from kns.compile.proxy.ipvs_sets import COMMENTS, SetName, Sets
from kns.compile.proxy.on_node import LocalDetector
from kns.kinds.common import Protocol
from kns.state.model import Chain, IptablesTable

_SERVICES = f"{comment('kubernetes service portals')} -j KUBE-SERVICES"
_ACCESS = comment("kubernetes ipvs access filter")
_RANGES = f"{comment('kube-proxy firewall rules')} -j KUBE-PROXY-FIREWALL"
_FORWARDING = comment("kubernetes forwarding rules")
_NAT_BUILT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "PREROUTING": (_SERVICES,),
    "INPUT": (),
    "OUTPUT": (_SERVICES,),
    "POSTROUTING": (f"{comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING",),
}
_FILTER_BUILT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "INPUT": (
        f"{_ACCESS} -j KUBE-IPVS-FILTER",
        _RANGES,
        f"{comment('kubernetes health check rules')} -j KUBE-NODE-PORT",
    ),
    "FORWARD": (_RANGES, f"{_FORWARDING} -j KUBE-FORWARD"),
    "OUTPUT": (f"{_ACCESS} -j KUBE-IPVS-OUT-FILTER",),
}
#: service addresses that lead on to IPVS: these return from KUBE-IPVS-FILTER
_REACHABLE: Final = (
    SetName.LOAD_BALANCER,
    SetName.CLUSTER_IP,
    SetName.EXTERNAL_IP,
    SetName.EXTERNAL_IP_LOCAL,
)
#: IANA's numbers, by which `-m ipvs --vproto` is printed
_PROTOCOL_NUMBERS: Final = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}
_LOCAL_TARGET = "-m addrtype --dst-type LOCAL"
_MASQUERADE = "KUBE-MARK-MASQ"


@dataclass(frozen=True, slots=True)
class Masquerading:
    """What decides who is masqueraded: the mark, `--masquerade-all`, the detector of pods."""

    bit: int
    everything: bool
    detector: LocalDetector | None

    @property
    def mark(self) -> str:
        """The mark in hexadecimal digits."""
        return f"{1 << self.bit:#x}"


@dataclass(frozen=True, slots=True)
class Blocked:
    """A balancer's address and port that this node itself may not use (source ranges)."""

    address: IPAddress
    protocol: Protocol
    port: int


def ipvs_tables(
    sets: Sets, masquerading: Masquerading, blocked: Iterable[Blocked]
) -> tuple[IptablesTable, ...]:
    """The nat and filter tables that go with filled sets, chains in `iptables-save`'s order."""
    return (
        _table(sets.family, "nat", _NAT_BUILT_IN, _nat(sets, masquerading)),
        _table(sets.family, "filter", _FILTER_BUILT_IN, _filter(sets, masquerading, blocked)),
    )


def _table(
    family: IPFamily,
    name: str,
    built_in: Mapping[str, tuple[str, ...]],
    own: Mapping[str, tuple[str, ...]],
) -> IptablesTable:
    chains = [Chain(chain, rules, policy="ACCEPT") for chain, rules in built_in.items()]
    chains += (Chain(chain, own[chain]) for chain in sorted(own))
    return IptablesTable(family, name, tuple(chains))


def _matches(sets: Sets, name: SetName, fields: str) -> str:
    return f"-m set --match-set {name.of(sets.family)} {fields}"


def _commented(sets: Sets, name: SetName, fields: str) -> str:
    return f"{comment(COMMENTS[name])} {_matches(sets, name, fields)}"


def _where_held(sets: Sets, name: SetName, fields: str, target: str) -> tuple[str, ...]:
    """The rule on a set, if the set has entries."""
    return (f"{_commented(sets, name, fields)} -j {target}",) if sets.holds(name) else ()


# -- nat -------------------------------------------------------------------------------------------


def _nat(sets: Sets, masquerading: Masquerading) -> dict[str, tuple[str, ...]]:
    mark = masquerading.mark
    return {
        "KUBE-LOAD-BALANCER": (
            *_where_held(sets, SetName.LOAD_BALANCER_LOCAL, "dst,dst", "RETURN"),
            f"-j {_MASQUERADE}",
        ),
        _MASQUERADE: (f"-j MARK --set-xmark {mark}/{mark}",),
        "KUBE-NODE-PORT": tuple(_node_ports(sets)),
        "KUBE-POSTROUTING": (
            *_where_held(sets, SetName.LOOP_BACK, "dst,dst,src", "MASQUERADE"),
            f"-m mark ! --mark {mark}/{mark} -j RETURN",
            f"-j MARK --set-xmark {mark}/0x0",
            f"{comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully",
        ),
        "KUBE-SERVICES": tuple(_services(sets, masquerading)),
    }


def _services(sets: Sets, masquerading: Masquerading) -> Iterable[str]:
    localhost = "127.0.0.0/8" if sets.family is IPFamily.IPV4 else "::1/128"
    yield f"-s {localhost} -j RETURN"
    yield from _where_held(sets, SetName.LOAD_BALANCER, "dst,dst", "KUBE-LOAD-BALANCER")
    if sets.holds(SetName.CLUSTER_IP):
        yield _cluster_ip(sets, masquerading)
    for name in (SetName.EXTERNAL_IP, SetName.EXTERNAL_IP_LOCAL):
        if sets.holds(name):
            yield from _external_ip(sets, name)
    yield f"{_LOCAL_TARGET} -j KUBE-NODE-PORT"
    # last: other rules of nat must not take what IPVS is to balance
    for name in (SetName.CLUSTER_IP, SetName.LOAD_BALANCER):
        if sets.holds(name):
            yield f"{_matches(sets, name, 'dst,dst')} -j ACCEPT"


def _cluster_ip(sets: Sets, masquerading: Masquerading) -> str:
    """Who is masqueraded on the way to a cluster IP.

    Where the pods are not told from others, it is only the node itself: it takes a service address
    of kube-ipvs0 for its own source.
    """
    detector = masquerading.detector
    if masquerading.everything:
        return f"{_commented(sets, SetName.CLUSTER_IP, 'dst,dst')} -j {_MASQUERADE}"
    if detector is None:
        return f"{_commented(sets, SetName.CLUSTER_IP, 'src,dst')} -j {_MASQUERADE}"
    off_node = not_from_pods(detector, "")
    return f"{off_node}{_commented(sets, SetName.CLUSTER_IP, 'dst,dst')} -j {_MASQUERADE}"


def _external_ip(sets: Sets, name: SetName) -> Iterable[str]:
    """Masquerade, unless the policy is Local; then IPVS for what comes from off the machine."""
    matched = _commented(sets, name, "dst,dst")
    if name is SetName.EXTERNAL_IP:
        yield f"{matched} -j {_MASQUERADE}"
    off_machine = "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL"
    yield f"{matched} {off_machine} -j ACCEPT"
    yield f"{matched} {_LOCAL_TARGET} -j ACCEPT"


def _node_ports(sets: Sets) -> Iterable[str]:
    for protocol, fields, local, every in (
        ("tcp", "dst", SetName.NODE_PORT_LOCAL_TCP, SetName.NODE_PORT_TCP),
        ("udp", "dst", SetName.NODE_PORT_LOCAL_UDP, SetName.NODE_PORT_UDP),
        ("sctp", "dst,dst", SetName.NODE_PORT_LOCAL_SCTP, SetName.NODE_PORT_SCTP),
    ):
        for name, target in ((local, "RETURN"), (every, _MASQUERADE)):
            for rule in _where_held(sets, name, fields, target):
                yield f"-p {protocol} {rule}"


# -- filter ----------------------------------------------------------------------------------------


def _filter(
    sets: Sets, masquerading: Masquerading, blocked: Iterable[Blocked]
) -> dict[str, tuple[str, ...]]:
    mark = masquerading.mark
    ranges = (SetName.LOAD_BALANCER_SOURCE_CIDR, SetName.LOAD_BALANCER_SOURCE_IP)
    health = SetName.HEALTH_CHECK_NODE_PORT
    related = comment("kubernetes forwarding conntrack rule")
    return {
        "KUBE-FORWARD": (
            f"{_FORWARDING} -m mark --mark {mark}/{mark} -j ACCEPT",
            f"{related} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ),
        "KUBE-IPVS-FILTER": (
            *(f"{_matches(sets, name, 'dst,dst')} -j RETURN" for name in _REACHABLE),
            f"{_matches(sets, health, 'dst')} -j RETURN",
            f"-m conntrack --ctstate NEW {_matches(sets, SetName.IPVS_IPS, 'dst')}"
            f" -j {reject(sets.family)}",
        ),
        "KUBE-IPVS-OUT-FILTER": tuple(_block(item) for item in blocked),
        "KUBE-NODE-PORT": (f"{_commented(sets, health, 'dst')} -j ACCEPT",),
        "KUBE-PROXY-FIREWALL": _where_held(
            sets, SetName.LOAD_BALANCER_FW, "dst,dst", "KUBE-SOURCE-RANGES-FIREWALL"
        ),
        "KUBE-SOURCE-RANGES-FIREWALL": (
            *(rule for n in ranges for rule in _where_held(sets, n, "dst,dst,src", "RETURN")),
            "-j DROP",
        ),
    }


def _block(item: Blocked) -> str:
    """The node reaches a balancer's address with that same address as its source."""
    server = f"--vproto {_PROTOCOL_NUMBERS[item.protocol]} --vaddr {item.address}"
    return f"{source(item.address)}-m ipvs {server} --vport {item.port} -j DROP"
