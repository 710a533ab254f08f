"""From one state of a running lab to the next: its files, and what of the kernel differs.

    Cluster ─compile─▶ HostState ─plan against the last one─▶ ops ─▶ apply

`up` reads the whole kernel first. While a lab lives, a change is compared with what was applied
last, and only the netns that differ are touched, as kube-proxy's partial syncs do: what somebody
has changed by hand is left to `up`. Where the kernel refuses an op, or nobody has said that he had
carried out what is on file, all of it is read, and mended.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.compile.lab import CompiledHost, recompile_host
from kns.compile.own_rules import own_rules
from kns.compile.paths import LabPaths
from kns.engine import certificates, etc, files, platform, snapshot, stale
from kns.engine.labs import lab_netns, written_cluster
from kns.errors import ApplyError
from kns.kernel.apply import apply
from kns.kernel.observe import interests, link_indexes, observe
from kns.plan.diff import plan
from kns.plan.ops import Add, CleanConntrack, CreateNetns, Op, RuleOp, VethPair
from kns.state.model import HostState


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied last: the cluster, its state in the kernel, and the links' ifindexes.

    `written`: what its netns find in their files; None if nobody has looked yet.
    `observed`: what the kernel held instead; None if it was as compiled.
    `is_unread`: nobody has said that the cluster was carried out, and the kernel was not asked.
    """

    compiled: CompiledHost
    indexes: Mapping[str, Mapping[str, int]]
    written: etc.Written | None = None
    observed: HostState | None = None
    is_unread: bool = False

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self.compiled.cluster


def write_down(
    paths: LabPaths, cluster: Cluster, new: Collection[str], last: etc.Written | None = None
) -> etc.Written:
    """What the lab's netns find in their files, before they are there. `new`: those to come."""
    written = etc.write(cluster, paths, new, last)
    certificates.ensure(cluster, paths)
    return written


def created_netns(ops: Collection[Op]) -> frozenset[str]:
    """The netns that ops make."""
    return frozenset(op.netns for op in ops if isinstance(op, CreateNetns))


def last_applied(paths: LabPaths, last: CompiledHost | None = None) -> Applied:
    """A lab, whose lock is held, as another has left it: `up`, its agent, a command of faults.

    `last`: what is known of the lab. KnsError where its files can't be read.
    A snapshot is of what was carried out. Where it is of other files, somebody was killed who had
    written down a change: he may have carried out all of it, or nothing.
    """
    kept = snapshot.restore(paths, carried_out=True)
    compiled = recompile_host(kept or written_cluster(paths), last)
    return Applied(compiled, link_indexes(lab_netns(paths.lab)), is_unread=kept is None)


def take_over(paths: LabPaths, last: CompiledHost | None = None) -> Applied:
    """The same, with what the kernel holds where nobody has said it.

    For what is carried out under the same lock: others mend what they find.
    """
    applied = last_applied(paths, last)
    if not applied.is_unread:
        return applied
    found = observe(lab_netns(paths.lab), interests(applied.compiled.host, own_rules()))
    # the rules may be new, and the connection table of before
    unclean = HostState(tuple(replace(space, udp_flows=()) for space in found.state.netns))
    return Applied(applied.compiled, found.indexes, observed=unclean)


def reconcile(
    paths: LabPaths, before: Applied, cluster: Cluster, leases: Leases
) -> tuple[Applied, tuple[Op, ...]]:
    """Make the lab, whose lock is held, what the cluster says; the ops that it took.

    The snapshot of the cluster before goes; that of this one is the caller's to save, in time.
    Raises PlatformError, or ApplyError if the kernel refuses what a second look asks for.
    """
    compiled = recompile_host(cluster, before.compiled)
    host, old = compiled.host, before.observed or before.compiled.host
    ops = _changes(host, old)
    certificates.check(cluster)
    if ops:
        platform.require(host, cluster)
    snapshot.forget(paths)
    files.write_leases(paths, leases)
    written = write_down(paths, cluster, created_netns(ops), before.written)
    indexes: dict[str, Mapping[str, int]] = dict(before.indexes)
    if ops:
        relinked = _relinked(ops)
        indexes.update(link_indexes(name for name in relinked if name in indexes))
        try:
            apply(ops, indexes)
        except ApplyError as error:
            logging.getLogger(__name__).warning("reading the whole lab again: %s", error)
            ops = (*ops, *mend(host, cluster))
            # a second look at the rules does not tell whether what follows them was done
            apply([op for op in ops if isinstance(op, CleanConntrack)], {})
            indexes.update(link_indexes(lab_netns(cluster.name)))
        else:
            indexes.update(link_indexes(relinked))
        stale.forget_neighbors(old, host, ops)
        kept = _names(host)
        indexes = {name: found for name, found in indexes.items() if name in kept}
    return Applied(compiled, indexes, written), ops


def _changes(host: HostState, before: HostState) -> tuple[Op, ...]:
    """The ops between two states."""
    old = {space.name: space for space in before.netns}
    wanted = tuple(space for space in host.netns if old.get(space.name) != space)
    kept = _names(host)
    names_of = {space.name for space in wanted}
    found = tuple(
        space for space in before.netns if space.name in names_of or space.name not in kept
    )
    return plan(HostState(wanted), HostState(found))


def _relinked(ops: Collection[Op]) -> frozenset[str]:
    """The netns with whose links ops have to do: a dump of a node with its pods is dear."""
    names = {op.netns for op in ops if not isinstance(op, RuleOp)}
    pairs = (op.item for op in ops if isinstance(op, Add) and isinstance(op.item, VethPair))
    return frozenset(names.union(pair.peer_netns for pair in pairs))


def _names(host: HostState) -> frozenset[str]:
    return frozenset(space.name for space in host.netns)


def mend(host: HostState, cluster: Cluster) -> list[Op]:
    """Compare the whole lab with the kernel, and carry out what differs; then what is left."""
    done: list[Op] = []
    for _ in range(2):
        found = observe(lab_netns(cluster.name), interests(host, own_rules()))
        ops = plan(host, found.state)
        apply(ops, found.indexes)
        done += ops
    return done
