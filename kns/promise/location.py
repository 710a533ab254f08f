"""Pods, nodes, services and internet hosts as ends of a flow, by the names that people use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service

DEFAULT_NAMESPACE = "default"
INTERNET = "internet"


class LocationKind(StrEnum):
    """What a name stands for."""

    POD = "pod"
    SERVICE = "service"
    NODE = "node"
    INTERNET = "internet"


_SHORT = {
    LocationKind.POD: "pod",
    LocationKind.SERVICE: "svc",
    LocationKind.NODE: "node",
    LocationKind.INTERNET: INTERNET,
}


@dataclass(frozen=True, slots=True)
class Location:
    """One object of the cluster."""

    item: Pod | Service | Node | InternetHost

    @property
    def kind(self) -> LocationKind:
        """What it is."""
        match self.item:
            case Pod():
                return LocationKind.POD
            case Service():
                return LocationKind.SERVICE
            case Node():
                return LocationKind.NODE
            case _:
                return LocationKind.INTERNET

    @property
    def label(self) -> str:
        """Its name as people write it: the namespace only where it isn't `default`."""
        return label(self.item)

    @property
    def explicit(self) -> str:
        """The spelling that can't be mistaken for another kind."""
        return f"{_SHORT[self.kind]}/{self.label}"


def label(item: Pod | Service | Node | InternetHost) -> str:
    """`name`, or `namespace/name` outside the namespace `default`."""
    if isinstance(item, (Pod, Service)) and item.namespace != DEFAULT_NAMESPACE:
        return f"{item.namespace}/{item.name}"
    return item.name
