"""The one place where a pod network is looked up by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kns.compile.podnetwork.base import PodNetwork
from kns.compile.podnetwork.host_gw import HostGateway
from kns.compile.podnetwork.vxlan import VxlanNetwork
from kns.kinds.networking import PodNetworkMode

POD_NETWORKS: Final[Mapping[PodNetworkMode, PodNetwork]] = {
    PodNetworkMode.HOST_GW: HostGateway(),
    PodNetworkMode.VXLAN: VxlanNetwork(),
}


def pod_network(mode: PodNetworkMode) -> PodNetwork:
    """The pod network of that name."""
    return POD_NETWORKS[mode]
