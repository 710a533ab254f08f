"""A probe that failed: what was asked, what came of it, and what was promised. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kns.kinds.endpointslice import unjoined
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from kns.probe.model import Attempt, overall
from kns.probe.target import Target
from kns.promise.endpoints import selected_pods
from kns.promise.flow import Outcome, Promise, Stop
from kns.promise.location import Location, label
from kns.promise.lookup import Lookup
from kns.promise.promise import promise


@dataclass(frozen=True, slots=True)
class FailedProbe:
    """`promised` is None where the name led to no address, so that no packet was sent."""

    lookup: Lookup
    source: Location
    target: Target
    attempts: tuple[Attempt, ...]
    promised: Promise | None

    @property
    def outcome(self) -> Outcome:
        """The most frequent failure."""
        return overall(tuple(attempt.outcome for attempt in self.attempts))

    @property
    def stop(self) -> Stop | None:
        """Where the promise ends the flow."""
        return self.promised.stop if self.promised is not None else None

    @property
    def service(self) -> Service | None:
        """The service that was asked."""
        if self.promised is not None and self.promised.frontend is not None:
            return self.promised.frontend.service
        return self.target.service

    @property
    def node(self) -> Node | None:
        """The node whose proxy decides, or by which the source leaves."""
        if self.promised is not None and self.promised.entries:
            return self.promised.entries[0].node
        return self.home

    @property
    def home(self) -> Node | None:
        """The source's own node."""
        match self.source.item:
            case Pod() as pod:
                return self.lookup.node_of(pod)
            case Node() as node:
                return node
            case _:
                return None


def failed_probe(
    lookup: Lookup, source: Location, target: Target, attempts: Sequence[Attempt]
) -> FailedProbe:
    """The failure with what was promised of its flow."""
    flow = target.flow(source)
    found = promise(lookup, flow) if flow is not None else None
    return FailedProbe(lookup, source, target, tuple(attempts), found)


def why_empty(lookup: Lookup, service: Service) -> str:
    """Why a service has no ready endpoints."""
    selected = tuple(selected_pods(lookup.cluster, service))
    if service.selector is None:
        why = _ports_that_differ(lookup, service)
        why = why or "it has no selector, and no EndpointSlice names a ready endpoint"
    elif not selected:
        text = ",".join(f"{key}={value}" for key, value in service.selector.items())
        why = f"its selector {text} matches no pod in namespace {service.namespace}"
    elif not any(pod.ready for pod in selected):
        verbs = "matches but is" if len(selected) == 1 else "match but are"
        why = f"{', '.join(label(pod) for pod in selected[:3])} {verbs} not ready"
    else:
        why = "its targetPort fits no port of the pods it selects"
    return f"{why} (kns get endpoints)"


def _ports_that_differ(lookup: Lookup, service: Service) -> str:
    """The first port of a slice none of whose ports kube-proxy joins to the service's."""
    for item in lookup.cluster.slices_of(service):
        apart = unjoined(service, item.ports)
        if apart and len(apart) == len(item.ports):
            port = apart[0]
            known = ", ".join(f'"{each.name}" ({each.protocol})' for each in service.ports)
            return (
                f'EndpointSlice {item.name} has the port name "{port.name}" ({port.protocol}),'
                f" the Service {known}: they must be equal"
            )
    return ""
