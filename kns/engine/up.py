"""`up`: make the kernel what the lab file says, and nothing else.

load → resolve → compile → observe → plan ─▶ apply ─▶ agent converges
                                               └ on failure or a signal: back to what was
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.lab import LabState, compile_lab
from kns.compile.own_rules import own_rules
from kns.compile.paths import LabPaths
from kns.engine import agent, certificates, files, platform, snapshot, stale, switch
from kns.engine import script as by_hand
from kns.engine.change_lines import change_lines, serving_lines
from kns.engine.down import remove
from kns.engine.interruption import cancelled_by_signals
from kns.engine.labs import (
    Loaded,
    ModeOptions,
    in_modes,
    lab_netns,
    read_leases,
    resolved,
    unchanged,
)
from kns.engine.lock import locked
from kns.engine.objects import live_changes
from kns.engine.orders import AgentStatus, Converge, Converged, GetStatus, Refused
from kns.engine.reconcile import created_netns, write_down
from kns.engine.serving import ServingOp, plan_serving
from kns.errors import ApplyError, CancelledError, KnsError, Problem, Severity, from_os_error
from kns.kernel import processes
from kns.kernel.apply import apply
from kns.kernel.observe import Observation, interests, observe
from kns.kinds.load import LoadedLab, load_lab
from kns.kinds.networking import ProxyMode
from kns.kinds.nft_refusals import refused_rules
from kns.kinds.release import Release
from kns.plan.diff import plan
from kns.plan.ops import CreateNetns, Op
from kns.state.model import HostState

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class UpResult:
    """What `up` did. `ops` is empty when the kernel was already as the file says."""

    lab: str
    cluster: Cluster
    created: bool
    ops: tuple[Op, ...]
    agent_started: bool
    seconds: float
    #: what an agent that ran already opened, closed, started and stopped
    serving: tuple[ServingOp, ...] = ()
    warnings: tuple[Problem, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: changes of the living lab that are as in the file again
    undone: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[str, ...]:
        """One line for each change: where, and what."""
        return (
            *(line.replace(": ", ": undone: ", 1) for line in self.undone),
            *change_lines(self.lab, self.ops),
            *serving_lines(self.lab, self.serving),
        )


@dataclass(slots=True)
class DesiredLab:
    """A lab file on its way to the kernel."""

    loaded: Loaded
    text: str
    options: ModeOptions
    state: LabState
    #: of the lab's own files, before any of them was read
    stamp: files.Stamp
    #: what was added to the files
    notes: tuple[str, ...] = ()
    #: whether the agent's objects stay: they are the file's, and nobody has changed one
    keeps_objects: bool = False
    #: what was changed since the last `up`, and is as in the file again
    undone: tuple[str, ...] = ()

    @property
    def cluster(self) -> Cluster:
        """The resolved cluster."""
        return self.loaded.cluster


def desire(
    path: Path,
    proxy_mode: ProxyMode | None = None,
    release: Release | None = None,
    *,
    more: Sequence[Path] = (),
    fresh: bool = False,
) -> DesiredLab:
    """The lab file, and `more` of the same lab, as desired state.

    `fresh`: as on a machine that never saw the lab. Raises SpecError with everything that is wrong
    in the files.
    """
    spec = load_lab(path, *more)
    paths = LabPaths(spec.spec.name)
    stamp = files.stamp(paths)
    leases = Leases() if fresh else read_leases(paths)
    loaded = resolved(spec.spec, leases)
    why = "" if fresh else platform.balancer_fallback(loaded.cluster)
    options = ModeOptions(proxy_mode, "l2" if why else "", release)
    if not fresh:
        nfacct = platform.nfacct_use(in_modes(loaded, options).cluster)
        options = replace(options, nfacct=nfacct)
    undone = () if fresh else live_changes(paths)
    now = None if fresh or undone else unchanged(paths, spec, options)
    loaded = now or in_modes(loaded, options)
    notes = [_fallback_warning(path, why)] if why else []
    of_file = spec.warnings
    if proxy_mode is not None or release is not None:
        of_file = _of_other_rules(path, spec, loaded.cluster)
    warnings = tuple(sorted({*of_file, *loaded.warnings, *notes}))
    complete = Loaded(loaded.cluster, loaded.leases, warnings)
    state = compile_lab(loaded.cluster)
    return DesiredLab(
        complete, spec.text, options, state, stamp, spec.notes, now is not None, undone
    )


def _of_other_rules(path: Path, spec: LoadedLab, cluster: Cluster) -> tuple[Problem, ...]:
    """The file's warnings, and what nft refuses of the cluster's rules and not of the file's."""
    services, of_file = cluster.services, spec.spec.networking.kube_proxy
    untrue = {item.message for item in refused_rules(str(path), services, of_file)}
    kept = (item for item in spec.warnings if item.message not in untrue)
    return (*kept, *refused_rules(str(path), services, cluster.network.kube_proxy))


def _fallback_warning(path: Path, why: str) -> Problem:
    message = f"{why}: mode l2 in place of bgp"
    hint = "one node at a time takes each address; kns up switches to bgp once it can"
    place = "loadBalancer.mode"
    return Problem(str(path), 0, 0, place, message, hint, severity=Severity.WARNING)


def look(desired: DesiredLab) -> Observation:
    """Observe all netns of the lab, those that it should not have included."""
    present = lab_netns(desired.cluster.name)
    return observe(present, interests(desired.state.host, own_rules()))


def script(
    path: Path,
    proxy_mode: ProxyMode | None = None,
    release: Release | None = None,
    more: Sequence[Path] = (),
) -> tuple[str, tuple[Problem, ...]]:
    """A POSIX shell script that builds the lab's network on a machine that has none of it.

    With it, the warnings about the file.
    """
    desired = desire(path, proxy_mode, release, more=more, fresh=True)
    ops, serving = plan(desired.state.host, HostState()), plan_serving(desired.state, None)
    return by_hand.script(desired.cluster, ops, serving), desired.loaded.warnings


@dataclass(frozen=True, slots=True)
class DryRun:
    """What `up` would do now: in the kernel, and what the agent would. `script`: by hand."""

    ops: tuple[Op, ...]
    serving: tuple[ServingOp, ...]
    script: str

    @property
    def is_empty(self) -> bool:
        """True if the lab is as its file says."""
        return not self.ops and not self.serving


def dry_run(
    path: Path,
    proxy_mode: ProxyMode | None = None,
    release: Release | None = None,
    more: Sequence[Path] = (),
) -> DryRun:
    """What `up` would do now. Touches nothing."""
    desired = desire(path, proxy_mode, release, more=more)
    ops = plan(desired.state.host, look(desired).state)
    serving = plan_serving(desired.state, _agent_status(desired.cluster.name))
    return DryRun(ops, serving, by_hand.script(desired.cluster, ops, serving))


def _agent_status(lab: str) -> AgentStatus | None:
    """The account of the lab's agent; None if it has none, or none that answers."""
    if not agent.is_running(lab):
        return None
    with contextlib.suppress(ApplyError):
        answer = agent.order(lab, GetStatus(), AgentStatus, patience=agent.DEAF)
        return answer if isinstance(answer, AgentStatus) else None
    return None


def up(
    path: Path,
    *,
    more: Sequence[Path] = (),
    proxy_mode: ProxyMode | None = None,
    release: Release | None = None,
    report: Report = lambda _line: None,
    on_op: Callable[[Op], None] | None = None,
) -> UpResult:
    """Create the lab or converge it to the file. `report` gets a line a phase.

    Raises SpecError, LockedError; PlatformError or ApplyError after everything that this run made
    was taken back.
    """
    start = time.monotonic()
    desired = desire(path, proxy_mode, release, more=more)
    paths = LabPaths(desired.cluster.name)
    platform.require(desired.state.host, desired.cluster)
    certificates.check(desired.cluster)
    with locked(paths, waiting=lambda holder: report(f"waiting for {holder}")):
        if files.stamp(paths) != desired.stamp:
            # another run, or the living lab, has changed what the lab is made of since
            desired = desire(path, proxy_mode, release, more=more)
        try:
            return _converge(desired, paths, report, on_op, start)
        except OSError as error:
            raise from_os_error(error) from error


def _converge(
    desired: DesiredLab,
    paths: LabPaths,
    report: Report,
    on_op: Callable[[Op], None] | None,
    start: float,
) -> UpResult:
    before = look(desired)
    ops = plan(desired.state.host, before.state)
    created = not before.state.netns
    report(_phase(desired.cluster, created=created, ops=ops))
    network = desired.cluster.network
    notes = switch.notes(before.state, network.kube_proxy.mode, network.service_cidrs)
    kept = files.LabFiles.read(paths, objects=not desired.keeps_objects)
    starter = _AgentStarter(desired.cluster.name, on_op)
    with cancelled_by_signals() as cancelled:
        try:
            if not desired.keeps_objects:
                files.forget_objects(paths)
            files.write_lab(paths, desired.text, desired.loaded.leases, desired.options.to_json())
            snapshot.save(paths, desired.cluster, carried_out=False)
            write_down(paths, desired.cluster, created_netns(ops))
            apply(ops, before.indexes, cancelled=cancelled, on_op=starter.on_op)
            if ops and not created:
                _settle(desired, report)
                stale.forget_neighbors(before.state, desired.state.host, ops)
            served = _serve(starter, report, desired, cancelled)
            _check(cancelled)
            snapshot.mark_carried_out(paths)
        except BaseException:
            _roll_back(desired, before, kept, created=created, report=report)
            raise
        finally:
            starter.release()
    return UpResult(
        lab=desired.cluster.name,
        cluster=desired.cluster,
        created=created,
        ops=ops,
        agent_started=served.agent_started,
        seconds=time.monotonic() - start,
        serving=served.ops,
        warnings=desired.loaded.warnings,
        problems=served.problems,
        notes=(*desired.notes, *notes),
        undone=desired.undone,
    )


def _check(cancelled: threading.Event) -> None:
    if cancelled.is_set():
        raise CancelledError("interrupted", hint="nothing of this run is left behind")


def _phase(cluster: Cluster, *, created: bool, ops: Sequence[Op]) -> str:
    if created:
        sizes = {"node": cluster.nodes, "pod": cluster.pods, "service": cluster.services}
        counts = [f"{len(found)} {noun}{'s' * (len(found) != 1)}" for noun, found in sizes.items()]
        return f"building {cluster.name}: {', '.join(counts)}"
    if not ops:
        return f"looking at {cluster.name}: nothing differs"
    return f"converging {cluster.name}: {len(ops)} change{'s' if len(ops) > 1 else ''}"


class _AgentStarter:
    """Starts the agent as soon as the fabric netns is there, while the rest is being built."""

    def __init__(self, lab: str, on_op: Callable[[Op], None] | None) -> None:
        self._lab = lab
        self._fabric = names.fabric_netns(lab)
        self._on_op = on_op
        self._fabric_made = False
        self.process: processes.Process | None = None

    def on_op(self, op: Op) -> None:
        """Called before each op."""
        if self._fabric_made and self.process is None and op.netns != self._fabric:
            agent.end_stray(self._lab)
            self.process = agent.start(self._lab)
        if isinstance(op, CreateNetns) and op.netns == self._fabric:
            self._fabric_made = True
        if self._on_op is not None:
            self._on_op(op)

    def ensure(self) -> bool:
        """Start the agent if there is none; True if this run started it."""
        if self.process is None and not agent.is_running(self._lab):
            self.process = agent.start(self._lab)
        return self.process is not None

    def release(self) -> None:
        """The agent lives on without us (or was ended with the rest of the lab)."""
        if self.process is not None:
            processes.release(self.process)


@dataclass(frozen=True, slots=True)
class _Served:
    """What the agent did, unless it was started just now, and what it could not do."""

    agent_started: bool
    ops: tuple[ServingOp, ...]
    problems: tuple[str, ...]


def _serve(
    starter: _AgentStarter, report: Report, desired: DesiredLab, cancelled: threading.Event
) -> _Served:
    """Let the agent serve what the lab now holds."""
    lab = desired.cluster.name
    started = starter.ensure()
    report("starting servers" if started else "looking at servers")
    before: AgentStatus | Refused | None = None
    # always: the agent compares for itself, and a file may have changed what no netns shows
    try:
        if not started:
            patience = agent.DEAF
            before = agent.order(
                lab, GetStatus(), AgentStatus, patience=patience, cancelled=cancelled
            )
        answer = _converged(lab, starter, cancelled)
    except ApplyError:
        if started:
            raise
        report("the agent does not answer: starting another")
        agent.end(lab)
        before, started = None, starter.ensure()
        answer = _converged(lab, starter, cancelled)
    if isinstance(answer, Refused):
        raise ApplyError(answer.error, hint=answer.hint)
    ops = plan_serving(desired.state, before) if isinstance(before, AgentStatus) else ()
    problems = tuple(f"{item.subject}: {item.message}" for item in answer.errors)
    return _Served(started, ops, problems)


def _converged(lab: str, starter: _AgentStarter, cancelled: threading.Event) -> Converged | Refused:
    process = starter.process
    return agent.order(lab, Converge(), Converged, process=process, cancelled=cancelled)


def _settle(desired: DesiredLab, report: Report) -> None:
    """After a change: look again, and mend what the change itself took away.

    The kernel drops routes with the address or the link that they stood on. Raises ApplyError if
    the state is still not as desired after a second plan.
    """
    for _ in range(2):
        now = look(desired)
        rest = plan(desired.state.host, now.state)
        if not rest:
            return
        report(f"settling: {len(rest)} more")
        apply(rest, now.indexes)
    now = look(desired)
    rest = plan(desired.state.host, now.state)
    if rest:
        lines = "; ".join(change_lines(desired.cluster.name, rest[:3]))
        raise ApplyError(
            f"the kernel does not keep what was set: {lines}",
            hint="does another program change this lab's netns?",
        )


def _roll_back(
    desired: DesiredLab, before: Observation, kept: files.LabFiles, *, created: bool, report: Report
) -> None:
    """Take back what this run made. Never raises: the first error is the one to tell."""
    report("taking back what this run made")
    with contextlib.suppress(KnsError, OSError):
        if created:
            remove(desired.cluster.name)
            return
        kept.restore()
        now = look(desired)
        apply(plan(before.state, now.state), now.indexes)
        if agent.is_running(desired.cluster.name):
            # it may serve the other file already, and has let go of the objects on file
            agent.order(desired.cluster.name, Converge(), Converged)
