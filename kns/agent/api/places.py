"""Where the API's streams of a pod go: its netns, its containers, what they have said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kns.kernel.processes import Context


@dataclass(frozen=True, slots=True)
class ContainerPlace:
    """A container of a pod that runs here."""

    #: `namespace/pod`
    name: str
    container: str
    netns: str
    addresses: tuple[str, ...]
    #: where a program runs in it
    context: Context
    #: what its process has said; None for a built-in server
    log: Path | None = None


#: finds the container of a pod by namespace, pod and container, which is empty for the first;
#: StatusError if it is not there or does not run
FindPlace = Callable[[str, str, str], ContainerPlace]
