"""Faults of a running lab, set by a command: written beside the lab's files, carried out at once.

What a command sets holds until another one, or `up`, says otherwise: `up` goes back to the file.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from kns.cluster.model import Cluster
from kns.compile.lab import compile_host
from kns.compile.own_rules import own_rules
from kns.compile.paths import LabPaths
from kns.engine import agent, files, platform, snapshot
from kns.engine.change_lines import change_lines
from kns.engine.labs import applied_spec, lab_netns, resolved_here, running, with_faults
from kns.engine.lock import locked
from kns.engine.orders import Converge, Converged, Refused
from kns.engine.private import write_private
from kns.errors import ApplyError, KnsError
from kns.kernel.apply import apply
from kns.kernel.observe import interests, observe
from kns.kinds.faults import Faults
from kns.kinds.lab import Lab
from kns.plan.diff import plan
from kns.plan.ops import Op
from kns.state.model import HostState

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

    Raises UsageError where `edit` does, ApplyError after everything was put back as it was.
    """
    found = running(lab)
    paths = found.paths
    with locked(paths):
        spec = applied_spec(paths, found.cluster.network_policies)
        now = with_faults(spec, paths).faults
        before = _cluster(paths, spec, now)
        faults = edit(now, before)
        after = _cluster(paths, spec, faults)
        old, desired = compile_host(before), compile_host(after)
        platform.require_queues(desired)
        kept = files.LabFiles.read(paths, objects=False)
        try:
            _write(paths, spec, faults, after)
            ops = _carry_out(found.name, old, desired)
        except BaseException:
            with contextlib.suppress(KnsError, OSError):
                kept.restore()
                snapshot.save(paths, before)
                _carry_out(found.name, desired, old)
            raise
    return LabFaults(found.name, faults, tuple(change_lines(found.name, ops)))


def _cluster(paths: LabPaths, spec: Lab, faults: Faults) -> Cluster:
    """The cluster of the lab's files, but with these faults."""
    return resolved_here(replace(spec, faults=faults), paths).cluster


def _write(paths: LabPaths, spec: Lab, faults: Faults, cluster: Cluster) -> None:
    if faults == spec.faults:
        paths.faults.unlink(missing_ok=True)
    else:
        write_private(paths.faults, json.dumps(faults.to_document()))
    snapshot.save(paths, cluster)


def _carry_out(lab: str, before: HostState, after: HostState) -> tuple[Op, ...]:
    """Turn one desired state into the other: what differed from both before stays as it is."""
    old = {space.name: space for space in before.netns}
    wanted = HostState(tuple(space for space in after.netns if old.get(space.name) != space))
    names = {space.name for space in wanted.netns}
    # a veth is known by both of its ends, wherever the other one is
    found = observe(lab_netns(lab), interests(wanted, own_rules()))
    now = HostState(tuple(space for space in found.state.netns if space.name in names))
    ops = plan(wanted, now)
    apply(ops, found.indexes)
    if agent.is_running(lab):
        answer = agent.order(lab, Converge(), Converged)
        if isinstance(answer, Refused):
            raise ApplyError(answer.error, hint=answer.hint)
    return ops
