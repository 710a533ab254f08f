"""Faults of a running lab, set by a command: written beside the lab's files, carried out at once.

What a command sets holds until another one, or `up`, says otherwise: `up` goes back to the file.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.compile.lab import recompile_host
from kns.compile.paths import LabPaths
from kns.engine import agent, files, platform, reconcile, snapshot, stale
from kns.engine.change_lines import change_lines
from kns.engine.labs import Loaded, applied_spec, resolved_here, running, with_faults
from kns.engine.lock import locked
from kns.engine.orders import Converge, Converged, Refused
from kns.engine.private import write_private
from kns.errors import ApplyError, KnsError
from kns.kinds.faults import Faults
from kns.kinds.lab import Lab
from kns.plan.ops import Op

#: what is to become of the faults; it gets the cluster, to find what is named
Edit = Callable[[Faults, Cluster], Faults]


@dataclass(frozen=True, slots=True)
class LabFaults:
    """The faults of a lab, and what a command has changed in the kernel to have them so."""

    lab: str
    faults: Faults
    changes: tuple[str, ...] = ()


def faults_of(lab: str | None) -> LabFaults:
    """The faults of the lab that is meant, as they are."""
    found = running(lab)
    return LabFaults(found.name, found.cluster.faults.written)


def change(lab: str | None, edit: Edit) -> LabFaults:
    """Change the faults of the lab that is meant.

    Its agent takes over what was carried out here, as after an `up`.
    Raises UsageError where `edit` does, ApplyError after everything was put back as it was.
    """
    found = running(lab)
    paths = found.paths
    with locked(paths):
        spec = applied_spec(paths, found.cluster.network_policies)
        now = with_faults(spec, paths).faults
        before = reconcile.take_over(paths)
        faults = edit(now, before.cluster)
        wanted = resolved_here(replace(spec, faults=faults), paths)
        platform.require_queues(recompile_host(wanted.cluster, before.compiled).host)
        kept = files.LabFiles.read(paths, objects=False)
        try:
            _write(paths, spec, faults)
            ops = _carry_out(paths, before, wanted)
        except BaseException:
            with contextlib.suppress(KnsError, OSError):
                kept.restore()
                reconcile.mend(before.compiled.host, before.cluster)
                snapshot.save(paths, before.cluster)
                _tell_agent(found.name)
            raise
    return LabFaults(found.name, faults, tuple(change_lines(found.name, ops)))


def _write(paths: LabPaths, spec: Lab, faults: Faults) -> None:
    if faults == spec.faults:
        paths.faults.unlink(missing_ok=True)
    else:
        write_private(paths.faults, json.dumps(faults.to_document()))


def _carry_out(paths: LabPaths, before: reconcile.Applied, wanted: Loaded) -> tuple[Op, ...]:
    applied, ops = reconcile.reconcile(paths, before, wanted.cluster, wanted.leases)
    snapshot.save(paths, wanted.cluster)
    _tell_agent(paths.lab)
    back = frozenset(_back(before.cluster, wanted.cluster))
    stale.await_answers(before.compiled.host, applied.compiled.host, ops, back)
    return ops


def _back(before: Cluster, now: Cluster) -> Iterator[IPAddress]:
    """The addresses whose cable was put back."""
    for pod in now.pods:
        if pod.full_name in before.faults.pods_down - now.faults.pods_down:
            yield from pod.addresses
    for node in now.nodes:
        if node.name in before.faults.nodes_down - now.faults.nodes_down:
            yield from node.addresses


def _tell_agent(lab: str) -> None:
    if agent.is_running(lab):
        answer = agent.order(lab, Converge(), Converged)
        if isinstance(answer, Refused):
            raise ApplyError(answer.error, hint=answer.hint)
