"""Where a lab's pods, nodes and hosts are in the kernel: the netns a probe starts in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kns.cluster.podfiles import pod_hostname
from kns.compile.names import netns_of_internet, netns_of_node, netns_of_pod, netns_with
from kns.compile.paths import LabPaths
from kns.engine import certificates, etc
from kns.errors import KnsError
from kns.kernel.processes import Context
from kns.kinds.pod import Pod
from kns.promise.location import Location, LocationKind


@dataclass(frozen=True, slots=True)
class Places:
    """`netns_of` names an object's netns; `etc_of` the folder of its resolv.conf, if it has one.

    `drift` says what `up` would change to have the lab as its file says, a line each.
    `trusted` is the file of the certificates that clients of the lab trust; empty: the system's.
    """

    netns_of: Callable[[Location], str]
    etc_of: Callable[[Location], Path | None]
    trusted: str = ""
    drift: Callable[[], Sequence[str]] = tuple

    def context(self, found: Location) -> Context:
        """To run a program there that resolves no names."""
        return Context(netns=self.netns_of(found))

    def resolving_context(self, found: Location) -> Context:
        """To run a program there that resolves names as the pod does."""
        item = found.item
        hostname = pod_hostname(item) if isinstance(item, Pod) else item.name
        return Context(netns=self.netns_of(found), etc=self.etc_of(found), hostname=hostname)


def places_of(lab: str, paths: LabPaths) -> Places:
    """The places of a lab that `kns up` built."""

    def netns_of(found: Location) -> str:
        item = found.item
        if isinstance(item, Pod):
            return netns_with(lab, item)
        if found.kind is LocationKind.NODE:
            return netns_of_node(lab, item.name)
        return netns_of_internet(lab, item.name)

    def etc_of(found: Location) -> Path | None:
        item = found.item
        if isinstance(item, Pod):
            return etc.folder(paths, netns_of_pod(lab, item.namespace, item.name))
        return etc.folder(paths, netns_of(found))

    def drift() -> Sequence[str]:
        # only a failure has the kernel's state read, and pays for pyroute2's import
        from kns.engine.status import drift_of  # noqa: PLC0415

        try:
            return drift_of(lab)
        except (KnsError, OSError) as error:  # what was probed is still worth telling
            return (f"kns status fails: {error}",)

    return Places(netns_of, etc_of, certificates.trusted(paths), drift)
