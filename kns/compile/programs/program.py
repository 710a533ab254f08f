"""What the agent runs as a process: a pod's container with a command, or a component."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container whose `command` is a real process in the pod's netns."""

    key: str
    netns: str
    name: str
    command: tuple[str, ...]
    hostname: str
    env: tuple[tuple[str, str], ...] = ()
    #: configuration written before it starts: path and text
    files: tuple[tuple[str, str], ...] = ()
    #: the signal that makes it read its files anew
    reload_signal: int = 0
    #: TCP ports on which it listens once it has started
    listens: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """Changes when the process must be another one; service variables don't count.

        Kubernetes too hands out the services' variables at the container's start only. Files
        don't count either: a change of them is a reload.
        """
        text = json.dumps([self.command, self.env, self.hostname])
        return hashlib.sha256(text.encode()).hexdigest()[:16]
