"""Endpoints of v1: what EndpointSlices were before, and what still is written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from kns.addresses import IPAddress, IPFamily
from kns.kinds.common import Labels
from kns.kinds.endpointslice import TARGET, Endpoint, EndpointPort
from kns.kinds.fields import (
    ADDRESS,
    ANNOTATIONS_FIELD,
    ENDPOINT_PORT_NAME,
    LABEL_NAME,
    METADATA_PATHS,
    NAMED,
    PORT,
    PROTOCOL,
    QUALIFIED_NAME,
    SUBDOMAIN,
)
from kns.labfile.reader import ListOf
from kns.labfile.shape import Field, Form, Shape

#: kube-controller-manager's --mirroring-max-endpoints-per-subset
MAX_MIRRORED = 1000
#: discovery.k8s.io/v1 LabelSkipMirror
SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"
#: client-go's LeaderElectionRecordAnnotationKey: the object is a lock
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
#: EndpointsLastChangeTriggerTime and LabelManagedBy: the Endpoints controller wrote it
CONTROLLER_MARKS = frozenset({
    "endpoints.kubernetes.io/last-change-trigger-time",
    "endpoints.kubernetes.io/managed-by",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class EndpointSubset:
    """Addresses of either kind, each with all of the ports; an endpoint says if it is ready."""

    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoints:
    """An Endpoints object: it belongs to the Service of its name."""

    namespace: str
    name: str
    subsets: tuple[EndpointSubset, ...] = ()
    labels: Labels = field(default_factory=dict)
    annotations: Labels = field(default_factory=dict)

    @property
    def families(self) -> tuple[IPFamily, ...]:
        """The families of its addresses."""
        found = (IPFamily.of(e.addresses[0]) for part in self.subsets for e in part.endpoints)
        return tuple(sorted(set(found)))

    @property
    def mirrored(self) -> bool:
        """Whether it is meant to be mirrored (skipMirror, hasLeaderElection), given its Service."""
        wanted = self.labels.get(SKIP_MIRROR_LABEL) != "true"
        return wanted and LEADER_ANNOTATION not in self.annotations

    @property
    def by_controller(self) -> bool:
        """Whether the Endpoints controller wrote it, for a Service with a selector."""
        return not CONTROLLER_MARKS.isdisjoint({*self.labels, *self.annotations})


def _endpoint(ip: IPAddress, **rest: Any) -> Endpoint:
    return Endpoint((ip,), ready=True, **rest)


def _subset(
    addresses: tuple[Endpoint, ...] = (),
    not_ready_addresses: tuple[Endpoint, ...] = (),
    ports: tuple[EndpointPort, ...] = (),
) -> EndpointSubset:
    not_ready = (replace(endpoint, ready=False) for endpoint in not_ready_addresses)
    return EndpointSubset((*addresses, *not_ready), ports)


_ADDRESS = Shape(
    _endpoint,
    Field("ip", ADDRESS, required=True),
    Field("hostname", LABEL_NAME, zero=True),
    Field("nodeName", SUBDOMAIN),
    Field("targetRef", TARGET, "pod"),
    of=Endpoint,
)
_PORT = Shape(
    EndpointPort,
    Field("port", PORT, required=True),
    Field("name", ENDPOINT_PORT_NAME),
    Field("protocol", PROTOCOL, zero=True),
    Field("appProtocol", QUALIFIED_NAME),
)
_SUBSET = Shape(
    _subset,
    Field("addresses", ListOf(_ADDRESS)),
    Field("notReadyAddresses", ListOf(_ADDRESS)),
    Field("ports", ListOf(_PORT)),
    of=EndpointSubset,
)
FORM = Form(
    Shape(
        lambda name, namespace="default", **rest: Endpoints(namespace, name, **rest),
        *NAMED,
        ANNOTATIONS_FIELD,
        Field("subsets", ListOf(_SUBSET)),
        of=Endpoints,
    ),
    METADATA_PATHS,
)
