"""A container's environment from the files of its pod.

The services' variables are in the pod's `env` file, written when the pod was made: as in
Kubernetes, services that come later are not in it. Rules: `kns.cluster.environment`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from kns.cluster.environment import Variables, container_environment
from kns.errors import PlatformError


def read_service_variables(etc: Path | None) -> Variables:
    """The pod's `env` file; nothing if the pod has none."""
    if etc is None:
        return ()
    path = etc / "env"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    variables = variables_in(text)
    if variables is None:
        raise PlatformError(f"{path} is damaged", hint="kns up with the lab's YAML writes it again")
    return variables


def variables_in(text: str) -> Variables | None:
    """The variables in the text of an `env` file; None if it is damaged."""
    try:
        return tuple((str(name), str(value)) for name, value in json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None


def of_container(
    services: Variables, own: Iterable[tuple[str, str]], *, hostname: str
) -> Variables:
    """The whole environment: HOSTNAME as container runtimes set it, its own, the services'."""
    return container_environment([("HOSTNAME", hostname), *own], services)
