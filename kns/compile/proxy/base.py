"""What every mode of kube-proxy answers; whoever wants to know asks the mode's object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from kns.addresses import IPFamily, IPNetwork
from kns.compile.proxy.on_node import reachable_on
from kns.kinds.endpointslice import EndpointSlice
from kns.kinds.networking import KubeProxyOptions, ProxyMode
from kns.kinds.node import Node
from kns.kinds.service import Service
from kns.state.model import Netns, RuleNames, Sysctl
from kns.state.requirements import Feature, Tool

PartT = TypeVar("PartT")
TableT = TypeVar("TableT")


class Objects(Protocol):
    """What kube-proxy watches: a Cluster has it, and so have the objects of manifests."""

    @property
    def services(self) -> tuple[Service, ...]:
        """The Services."""

    @property
    def endpoint_slices(self) -> tuple[EndpointSlice, ...]:
        """Their EndpointSlices."""

    @property
    def service_cidrs(self) -> tuple[IPNetwork, ...]:
        """The ranges of cluster IPs that ServiceCIDR objects name."""


@dataclass(frozen=True, slots=True)
class Compilation(Generic[PartT, TableT]):
    """A node's tables of a family, and what each Service adds: the next cost what has changed."""

    node: Node
    options: KubeProxyOptions
    family: IPFamily
    #: by namespace and name of the Service
    parts: Mapping[tuple[str, str], PartT] = field(default_factory=dict, kw_only=True)
    tables: tuple[TableT, ...] = field(default=(), kw_only=True)

    def after(self, before: ProxyRules | None) -> Self:
        """The one of `before` that this one, which has no parts yet, goes on from; or this one."""
        for old in () if before is None else before.compilations:
            if isinstance(old, type(self)) and replace(old, parts={}, tables=()) == self:
                return old
        return self


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """What kube-proxy adds to a node's netns.

    `compilations`: what the next rules of the same node can be made from, if the mode keeps any.
    """

    netns: Netns
    compilations: tuple[Compilation[Any, Any], ...] = ()


class Proxy(ABC):
    """A mode of kube-proxy; `options.version` is the release. Its objects have no state."""

    MODE: ClassVar[ProxyMode]
    #: programs and kernel features that it uses, told by `kns doctor`
    TOOLS: ClassVar[tuple[Tool, ...]] = ()
    FEATURES: ClassVar[tuple[Feature, ...]] = ()
    #: without one of these a lab in this mode isn't begun
    REQUIRED: ClassVar[tuple[Feature, ...]] = ()
    #: what to do where the kernel lacks them
    ALTERNATIVE: ClassVar[str] = ""
    #: whose rules `kns render` gives if none is named
    RENDERED_FAMILIES: ClassVar[tuple[IPFamily, ...]] = tuple(IPFamily)
    #: the nft tables and ipsets of this mode
    OWN: ClassVar[RuleNames] = RuleNames()
    #: True if conntrack keeps the translation of open connections when another mode takes over
    CONNECTIONS_OUTLIVE: ClassVar[bool] = True
    #: True if a real server that has left its service stays until its connections have ended
    DRAINS: ClassVar[bool] = False

    @abstractmethod
    def on_node(
        self,
        name: str,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        before: ProxyRules | None = None,
    ) -> ProxyRules:
        """What kube-proxy adds to the node's netns `name`, in both families.

        What is as it was is taken from the rules `before`, whatever node they were for.
        """

    @abstractmethod
    def render(
        self,
        objects: Objects,
        node: Node,
        options: KubeProxyOptions,
        families: Iterable[IPFamily],
    ) -> str:
        """The same as text that the mode's own programs load, for `families` in turn."""

    @abstractmethod
    def is_in(self, space: Netns) -> bool:
        """True if the rules of this mode are in an observed netns."""

    def health_check_addresses(self, node: Node, options: KubeProxyOptions) -> tuple[str, ...]:
        """The addresses on which healthCheckNodePorts listen on the node."""
        return reachable_on(node, options)


def start_sysctls(
    options: KubeProxyOptions, *, localnet: bool = False, strict_arp: bool = False
) -> tuple[Sysctl, ...]:
    """What kube-proxy writes at its start; conntrack's sizes are the host's and stay.

    `localnet`: node ports answer on 127.0.0.1, whose packets DNAT sends out of the node, where
    they would be dropped as martians. Without `strict_arp` the kernel's own values stand: the
    strict ARP of IPVS mode must leave nothing behind.
    """
    sysctls = (
        Sysctl("netfilter/nf_conntrack_tcp_timeout_established", "86400"),
        Sysctl("netfilter/nf_conntrack_tcp_timeout_close_wait", "3600"),
        Sysctl("netfilter/nf_conntrack_tcp_be_liberal", str(int(options.conntrack_tcp_be_liberal))),
        Sysctl("ipv4/conf/all/route_localnet", str(int(localnet))),
    )
    if strict_arp:
        return sysctls
    keys = ("arp_ignore", "arp_announce")
    return (*sysctls, *(Sysctl(f"ipv4/conf/all/{key}", "0") for key in keys))
