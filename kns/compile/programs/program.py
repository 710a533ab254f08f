"""A real program of a lab: a pod's container with a command, or a component of kns' own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from kns.cluster.model import Cluster
from kns.compile.name_servers import is_name_server, runs_coredns
from kns.kinds.pod import Container, Pod


@dataclass(frozen=True, slots=True)
class Program:
    """A real process in a netns. To the agent each is a container."""

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
    #: the folder of the files in its /etc, where it isn't called as the netns
    etc: str = ""
    #: `namespace/name` of the service account whose files it finds; empty: none
    account: str = ""

    @property
    def etc_name(self) -> str:
        """What the folder of the files in its /etc is called."""
        return self.etc or self.netns

    @property
    def digest(self) -> str:
        """Changes when the process must be another one; service variables don't count.

        Kubernetes too hands out the services' variables at the container's start only. Files
        don't count either: a change of them is a reload.
        """
        return _digest(
            [self.command, self.env, self.hostname, *([self.account] if self.account else [])]
        )

    @property
    def files_digest(self) -> str:
        """Changes with its files."""
        return _digest(self.files)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def is_program(cluster: Cluster, pod: Pod, container: Container) -> bool:
    """True if the container is a real process; else the agent's built-in server answers for it."""
    if container.component or container.command:
        return True
    return runs_coredns(cluster) and is_name_server(pod, container)


def own_variables(container: Container) -> tuple[tuple[str, str], ...]:
    """The container's own `env`; the services' variables come from its pod."""
    return tuple((variable.name, variable.value) for variable in container.env)
