"""A flow and what is promised of it: who may answer and sees whom, or where and why it ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Protocol
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service, ServicePort, TrafficPolicy
from kns.promise.location import Location, label
from kns.promise.networkpolicy import Ruling


class Outcome(StrEnum):
    """How a connection ended, told apart as a network engineer would."""

    #: the other side accepted the connection (or answered the datagram)
    CONNECTED = "CONNECTED"
    #: a TCP reset or an ICMP port unreachable came back at once
    REFUSED = "REFUSED"
    #: nothing came back: dropped, lost or answered by another way
    TIMEOUT = "TIMEOUT"
    #: a router, or this host's own routing table, said that there is no way
    UNREACHABLE = "UNREACHABLE"
    #: the name did not resolve
    DNS = "DNS"
    #: anything else; `detail` holds the tool's own words
    OTHER = "OTHER"


#: nothing may come back; whether a router says so or drops the packet is the router's business
NO_WAY = (Outcome.TIMEOUT, Outcome.UNREACHABLE)
REFUSED = (Outcome.REFUSED,)
DROPPED = (Outcome.TIMEOUT,)
#: a proxy has taken the connection before it can say no: it is closed without an answer
CLOSED = (Outcome.OTHER,)


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection, datagram or echo request. `port` None: ICMP echo, which has none."""

    source: Location
    destination: IPAddress
    port: int | None = None
    protocol: Protocol = Protocol.TCP

    @property
    def family(self) -> IPFamily:
        """The family of its addresses."""
        return IPFamily.of(self.destination)


class FrontendKind(StrEnum):
    """By which of its addresses a service is entered."""

    CLUSTER_IP = "cluster-ip"
    NODE_PORT = "node-port"
    EXTERNAL_IP = "external-ip"
    LOAD_BALANCER_IP = "load-balancer-ip"


@dataclass(frozen=True, slots=True)
class Frontend:
    """An address and port by which a service port is entered; `address` None: every node's."""

    kind: FrontendKind
    service: Service
    port: ServicePort
    address: IPAddress | None
    number: int

    @property
    def policy(self) -> TrafficPolicy:
        """The traffic policy that counts here."""
        if self.kind is FrontendKind.CLUSTER_IP:
            return self.service.internal_traffic_policy
        return self.service.external_traffic_policy

    @property
    def label(self) -> str:
        """`svc-a`, or `svc-a:80`, `svc-a:53/udp` where the name alone would not do."""
        return port_label(self.service, self.port)


def port_label(service: Service, port: ServicePort) -> str:
    """A service port in words: the service alone where it has one TCP port."""
    name = label(service)
    if len(service.ports) == 1 and port.protocol is Protocol.TCP:
        return name
    return f"{name}:{port.port}{protocol_suffix(port.protocol)}"


def protocol_suffix(protocol: Protocol) -> str:
    """`/udp` behind a port number; nothing for TCP."""
    return "" if protocol is Protocol.TCP else f"/{protocol.lower()}"


@dataclass(frozen=True, slots=True)
class Backend:
    """An endpoint by the name under which it answers. `port` None: it answers echo requests."""

    name: str
    address: IPAddress
    port: int | None
    node: str = ""
    pod: Pod | None = None


class Stage(StrEnum):
    """What a flow passes, in this order."""

    ROUTE = "route"
    RULES = "rules"
    TRANSLATE = "translate"
    FAULT = "fault"
    POLICY = "policy"
    MASQUERADE = "masquerade"
    DELIVER = "deliver"


@dataclass(frozen=True, slots=True)
class Stop:
    """Where and why a flow ends. No `outcomes`: what comes of it can't be told."""

    stage: Stage
    outcomes: tuple[Outcome, ...]
    reason: str


class Origin(StrEnum):
    """Whom a node's proxy takes a packet's sender for."""

    #: a pod of the node
    POD = "pod"
    #: the node itself
    NODE = "node"
    #: anybody whose packets come in by the node's link
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class ProxyEntry:
    """A node whose proxy may translate the flow, and the client as that node sees it."""

    node: Node
    origin: Origin
    client: IPAddress
    #: the client, if it is a pod of the node
    pod: Pod | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A backend that may answer, and the source addresses of which it sees one each time."""

    backend: Backend
    sources: tuple[IPAddress, ...]
    #: what the network policies say of it that isolate one of the two ends: they allow it
    rulings: tuple[Ruling, ...] = ()


@dataclass(frozen=True, slots=True)
class Denial:
    """A backend that can't answer, and the stage at which the flow, or its answer, is lost.

    `ruling` is the network policies', if they keep the flow from it.
    """

    backend: Backend
    reason: str
    stage: Stage
    outcomes: tuple[Outcome, ...] = DROPPED
    ruling: Ruling | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """What must come of a flow: one of `answers`, or `stop`."""

    flow: Flow
    answers: tuple[Answer, ...] = ()
    stop: Stop | None = None
    frontend: Frontend | None = None
    #: the nodes by which the service is entered: several if a load balancer spreads flows
    entries: tuple[ProxyEntry, ...] = ()
    #: further words: what hides or keeps the client
    note: str = ""
    #: the proxy's choice gives each backend the same share
    is_even: bool = True
    #: a client of a service with session affinity has one backend by this address
    sticks: bool = True
    #: backends that the flow is kept from, by some entry: who is led there gets no answer
    denied: tuple[Denial, ...] = ()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """How the flow may end; nothing: that can't be told."""
        if self.stop is not None:
            return self.stop.outcomes
        failures = (outcome for item in self.denied for outcome in item.outcomes)
        return tuple(dict.fromkeys((Outcome.CONNECTED, *failures)))

    @property
    def names(self) -> tuple[str, ...]:
        """Who may answer."""
        return tuple(dict.fromkeys(answer.backend.name for answer in self.answers))

    @property
    def rulings(self) -> tuple[Ruling, ...]:
        """What network policies say of it; nothing: they isolate neither end."""
        denying = (item.ruling for item in self.denied if item.ruling is not None)
        allowing = (ruling for answer in self.answers for ruling in answer.rulings)
        return (*denying, *allowing)

    @property
    def kept_out(self) -> str:
        """What keeps it from a backend that is there: a policy, a fault, rules that nft refuses."""
        if self.denied:
            return self.denied[0].reason
        is_kept = self.stop is not None and self.stop.stage in (Stage.RULES, Stage.FAULT)
        return self.stop.reason if self.stop and is_kept else ""

    @property
    def sources(self) -> tuple[IPAddress, ...]:
        """Every source address that some backend may see, once."""
        return tuple(dict.fromkeys(a for answer in self.answers for a in answer.sources))
