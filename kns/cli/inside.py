"""A program of the user's own at a place that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from kns.cli.lab_options import HOSTS
from kns.engine import enter
from kns.engine.labs import running
from kns.errors import UsageError
from kns.kinds.service import Service
from kns.probe.names import find


def become(
    argv: Sequence[str], lab: str | None, target: str, container: str | None = None
) -> NoReturn:
    """Become the program at `target`: a pod, a node, a host outside, or the fabric."""
    running_lab = running(lab)
    place: enter.Place = None
    if target != enter.FABRIC:
        found = find(
            running_lab.cluster,
            target,
            HOSTS,
        ).item
        if isinstance(found, Service):
            raise UsageError(f"{target} is a service", hint="name a pod, a node or internet")
        place = found
    enter.become(argv, running_lab, place, container)
