"""A container's environment from the files of its pod.

The services' variables are in the pod's `env` file, written when the pod was made: as in
Kubernetes, services that come later are not in it. Rules: `kns.cluster.environment`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from kns.cluster.environment import Variables, expand


def read_service_variables(etc: Path | None) -> Variables:
    """The pod's `env` file; nothing if the pod has none."""
    if etc is None:
        return ()
    try:
        pairs = json.loads((etc / "env").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple((str(name), str(value)) for name, value in pairs)


def of_container(
    services: Variables, own: Iterable[tuple[str, str]], *, hostname: str
) -> Variables:
    """The whole environment: HOSTNAME as container runtimes set it, its own, the services'."""
    inherited = dict(services)
    composed = {"HOSTNAME": hostname}
    for name, value in own:
        composed[name] = expand(value, {**inherited, **composed})
    return tuple({**composed, **{k: v for k, v in inherited.items() if k not in composed}}.items())
