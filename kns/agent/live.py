"""The living lab: what is written into the store becomes so in the kernel, within a moment.

    change ─▶ controllers ─▶ Lab ─▶ Cluster ─▶ what differs, under the lab's lock ─▶ servers
                  ▲                                                                    │
                  └──────────────── accounts: addresses, conditions, slices ◀──────────┘

Rounds follow each other until nothing changes. An object that can't be taken is left out, which an
event about it and the log tell, and tried again each time; it never stops the rest. Each write is
in the journal before the writer has its answer, so that an agent that was killed goes on where it
was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from kns.agent.controllers.run import Controllers
from kns.agent.controllers.view import ControllerOptions
from kns.agent.controllers.writes import NORMAL, WARNING, RecordEvent
from kns.agent.effects import essence, is_effective
from kns.agent.fault_events import fault_events
from kns.agent.kubelet.endings import PodEndings
from kns.agent.kubelet.kubelet import Kubelet
from kns.agent.kubelet.reports import PodReport
from kns.agent.kubelet.watched import ContainerEvent
from kns.agent.statuses import Account, LastAccounts, accounts, with_kubelet
from kns.agent.store import ChangeType, ExpiredError, ObjectChange, Store, StoreError
from kns.agent.strategy import UpdatePart
from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.cluster.sharing import sharing
from kns.compile.paths import LabPaths
from kns.engine import files, labs, reconcile, snapshot
from kns.engine.accounts import renew
from kns.engine.fitting import REFUSALS, fit, message_of, reborn_pods, replaced, words_of
from kns.engine.lock import locked
from kns.engine.objects import Journal, Kept, digest_of, name_text, read_objects, write_base
from kns.engine.orders import Failure
from kns.engine.reconcile import Applied
from kns.errors import ApplyError, KnsError, LockedError, PlatformError, from_os_error
from kns.kinds.assemble import Assembled, Assembler
from kns.kinds.common import Object
from kns.kinds.faults import Faults
from kns.kinds.load import load_lab
from kns.kinds.objects import Ref, key_of, mapping, ref_of, text
from kns.kinds.pod import Pod
from kns.kinds.resources import ENDPOINT_SLICE, EVENT, LAB, NODE, POD, SERVICE_ACCOUNT
from kns.kinds.seed import objects_of

#: seconds in which further changes are waited for: one command writes several objects
DEBOUNCE = 0.005
#: seconds after which a round that another command's work has kept waiting is tried again
_LOCK_PAUSE = 0.05
#: seconds after which a round that broke off (a full disk) is tried again
RETRY = 1.0
#: seconds between two looks whether it is in vain to wait
_LOOK_EVERY = 0.2
#: attempts after which what the kernel refuses is left out, and seconds until it is tried again
_ATTEMPTS, _LEFT_OUT_FOR = 3, 30.0
Serve = Callable[[Cluster], Awaitable[object]]


class _SupersededError(Exception):
    """An `up` has gone back to the file: what the store holds is of the past."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A lab as it was found: what is on file of it, and what was applied."""

    of: str
    stamp: files.Stamp
    faults: files.FileStamp
    kept: Kept | None
    applied: Applied


@dataclass(frozen=True, slots=True)
class _Round:
    """What a round has come to in the kernel."""

    assembled: Assembled
    applied: Applied
    leases: Leases
    taken: Mapping[Ref, Object]
    refused: Mapping[Ref, Exception]
    faults: files.FileStamp


class Live:
    """The store of a lab, and the loop that carries out what is written into it."""

    def __init__(self, paths: LabPaths, worker: Executor, serve: Serve, kubelet: Kubelet) -> None:
        self._paths, self._worker, self._serve = paths, worker, serve
        self._kubelet = kubelet
        self._journal = Journal(paths)
        self._assembler = Assembler()
        self._applied: Applied | None = None
        #: the cluster that is served, and told of by the objects; None after an attempt that failed
        self._followed: Cluster | None = None
        #: the cluster of the snapshot, as far as it was saved here
        self._kept: Cluster | None = None
        self._leases = Leases()
        self._options = labs.ModeOptions()
        #: the file of a command's faults, as far as they are carried out
        self._faults: files.FileStamp = (0, 0, 0)
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._effective = False
        self._changed: set[Ref] = set()
        #: the objects as they were carried out last
        self._taken: Mapping[Ref, Object] = {}
        #: what the kernel has refused time and again: it waits a while
        self._left_out: dict[Ref, Object] = {}
        self._refusals: dict[Ref, str] = {}
        self._failures = 0
        self._retry: asyncio.TimerHandle | None = None
        self._told: dict[Ref, str] = {}
        self._settled = asyncio.Event()
        #: how often in a row rounds have broken off, and why the last one did
        self._breaks = 0
        self._broken: KnsError | None = None
        self._starting = False
        self._beginning = asyncio.Lock()
        self.store = Store(self._write)
        self.store.subscribe(self._on_change)
        self._controllers = Controllers(self.store)
        self._endings = PodEndings(self.store, kubelet)
        self._silent: dict[str, float] = {}
        #: the store's version of which the objects were told last what they have become
        self._accounted = 0

    # -- beginning and end -------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over the lab as `up`, or an earlier agent, has left it. KnsError if it can't."""
        async with self._beginning:
            while not self.is_current:
                self.close()
                self._starting = True
                try:
                    await self._take_over()
                except (LockedError, _SupersededError):
                    # an `up` is at work: what was read may be half of the one, half of the other
                    await asyncio.sleep(_LOCK_PAUSE)
                finally:
                    self._starting = False
            # a command may have set faults, which are in no object
            self._effective = True
            self._wake()

    async def _take_over(self) -> None:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._worker, self._look)
        kept, applied = found.kept, found.applied
        self._faults = found.faults
        self._journal.prepare(found.of)
        self._kubelet.update(applied.cluster)
        self._assembler = Assembler(applied.cluster.network_policies)
        self._leases = labs.read_leases(self._paths)
        self._options = labs.read_options(self._paths)
        if kept is None:
            bound = {name: lease.node for name, lease in self._leases.pods.items()}
            loaded = await loop.run_in_executor(self._worker, load_lab, self._paths.spec)
            seed = tuple(objects_of(loaded, bound))
            self.store.replace_all(seed)
            # of an object that the last file had, too, the journal has not heard
            self._journal.prepare(found.of, _in_order(self.store.all(), seed))
        else:
            if self.store.all():
                self.store.replace_all(kept.objects)
            else:
                self.store.restore(kept.objects, kept.version)
            self._journal.prepare(found.of, _in_order(self.store.all(), kept.objects))
        self._account(applied.cluster, None)
        begin = partial(self._begin_journal, found.stamp, is_new=kept is None)
        await loop.run_in_executor(self._worker, begin)
        self._applied = applied
        # servers of what the kernel may not hold yet are opened once it does
        self._followed = None if applied.is_unread else applied.cluster

    def _look(self) -> _Found:
        """In the worker: the lab as it is. LockedError while another command is at work on it."""
        with locked(self._paths, patience=0):
            return _Found(
                digest_of(self._paths),
                files.stamp(self._paths),
                files.stamp_of(self._paths.faults),
                read_objects(self._paths),
                reconcile.last_applied(self._paths),
            )

    def _begin_journal(self, stamp: files.Stamp, *, is_new: bool) -> None:
        """In the worker: put on file what was taken over, if no `up` has written since."""
        with locked(self._paths, patience=0):
            if stamp != files.stamp(self._paths):
                raise _SupersededError
            if is_new:
                write_base(self._paths, self._journal.objects)
            self._journal.begin(self.store.version)

    def close(self) -> None:
        """Let the lab be as it is."""
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._endings.close()
        self._task, self._timer, self._applied = None, None, None
        self._journal.close()

    @property
    def is_current(self) -> bool:
        """Whether it has taken over the lab, and no `up` has gone back to the file since."""
        return self._applied is not None and self._journal.is_current

    @property
    def cluster(self) -> Cluster | None:
        """The cluster as it was applied last."""
        return None if self._applied is None else self._applied.cluster

    @property
    def left_out(self) -> tuple[Failure, ...]:
        """The objects that are left out, as a user names them, and why."""
        reasons = {**self._refusals, **self._told}
        return tuple(Failure(name_text(ref), why) for ref, why in sorted(reasons.items()))

    async def current(self) -> None:
        """Wait until it has taken over what an `up` has written."""
        while not self.is_current:
            await asyncio.sleep(_LOCK_PAUSE)

    async def settled(self) -> None:
        """Wait until everything that was written is so.

        PlatformError or ApplyError where the attempts to make it so break off time and again.
        """
        while not self._settled.is_set():
            if self._broken is not None and self._breaks >= _ATTEMPTS:
                raise self._broken
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), _LOOK_EVERY)

    # -- what calls for a round --------------------------------------------------------------------

    def _write(self, change: ObjectChange) -> None:
        """The store's journal."""
        gone = change.type is ChangeType.DELETED
        self._journal.append(change.version, change.object, gone=gone)

    def _on_change(self, change: ObjectChange) -> None:
        if change.resource is EVENT or self._starting:
            return
        if change.resource is SERVICE_ACCOUNT and change.type is ChangeType.DELETED:
            renew(self._paths, *key_of(change.object))
        if is_effective(change):
            self._effective = True
            self._changed.add(ref_of(change.object))
        self._wake()

    def _wake(self) -> None:
        """Begin rounds soon; those under way look for more themselves before they end."""
        self._settled.clear()
        if self._task is None:
            self._plan(DEBOUNCE)

    def _plan(self, after: float) -> None:
        """Begin rounds in so many seconds, unless they are planned for sooner."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + after:
                return
            self._timer.cancel()
        self._timer = loop.call_later(after, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._rounds())

    async def _rounds(self) -> None:
        """Rounds until nothing changes; then when the controllers want to be asked again."""
        again = math.inf
        loop = asyncio.get_running_loop()
        try:
            while True:
                now = time.time()
                again = self._controllers.run(now, self._silent_nodes(now))
                self._endings.begin(self._controllers.deleted_pods, self._silent)
                if self._effective:
                    await self._round()
                    continue
                version = self.store.version
                await loop.run_in_executor(self._worker, self._keep_snapshot)
                if self.store.version == version and not self._effective:
                    break
        except _SupersededError:
            return
        except Exception as error:
            logging.getLogger(__name__).exception("a round of the live lab failed")
            self._breaks, self._broken = self._breaks + 1, _as_told(error)
            self._plan(RETRY)
            return
        finally:
            # a lab that was taken over anew may have rounds of its own already
            if self._task is asyncio.current_task():
                self._task = None
        self._breaks, self._broken = 0, None
        self._settled.set()
        if again < math.inf:
            self._plan(max(0.0, again - time.time()))

    def _keep_snapshot(self) -> None:
        """In the worker: the applied cluster is what the files lead to."""
        with contextlib.suppress(LockedError), locked(self._paths, patience=0):
            is_seen = files.stamp_of(self._paths.faults) == self._faults
            if self._journal.is_current and self.cluster is not None and is_seen:
                is_kept = self.cluster == self._kept
                if not (is_kept and snapshot.renew(self._paths)):
                    snapshot.save(self._paths, self.cluster)
                    self._kept = self.cluster

    # -- one round ---------------------------------------------------------------------------------

    async def _round(self) -> None:
        self._effective = False
        changed, self._changed = self._changed, set()
        items = self._journal.by_ref
        left_out = {ref for ref, item in items.items() if self._is_left_out(ref, item)}
        chosen = replaced(items, left_out, self._taken)
        # first the old pod of the name has to be gone, with its netns, address and containers
        reborn = reborn_pods(chosen, self._taken)
        objects = {ref: item for ref, item in chosen.items() if ref not in reborn}
        # what did not go with the rest may do so by now
        suspects = changed | self._told.keys()
        loop = asyncio.get_running_loop()
        try:
            done = await loop.run_in_executor(self._worker, self._carry_out, objects, suspects)
        except LockedError:
            self._effective, self._changed = True, self._changed | changed
            await asyncio.sleep(_LOCK_PAUSE)
            return
        except (KnsError, *REFUSALS) as error:
            self._leave_out(changed, error)
            return
        except Exception:
            self._effective, self._changed = True, self._changed | changed
            raise
        self._applied, self._leases, self._faults = done.applied, done.leases, done.faults
        self._taken = done.taken
        grace = done.assembled.lab.controller_manager.node_monitor_grace_period
        self._controllers.options = ControllerOptions(grace)
        self._failures = self._failures if left_out else 0
        self._refusals = {ref: why for ref, why in self._refusals.items() if ref in left_out}
        if reborn:
            self._effective, self._changed = True, self._changed | reborn
        self._tell(done)
        await self._follow(done.applied.cluster)

    async def _follow(self, cluster: Cluster) -> None:
        """Serve what was applied, and say it of the objects; anew next time if this breaks off."""
        before, self._followed = self._followed, None
        try:
            if cluster is not before:
                await self._serve(cluster)
            self._account(cluster, before)
        except Exception:
            self._effective = True
            raise
        self._followed = cluster

    def _carry_out(self, objects: Mapping[Ref, Object], suspects: Collection[Ref]) -> _Round:
        """In the worker: from the objects to the kernel. Raises what resolving or applying does."""
        before = self._applied
        assert before is not None  # noqa: S101 - rounds follow a start
        with locked(self._paths, patience=0):
            if not self._journal.is_current:
                raise _SupersededError
            faults = files.stamp_of(self._paths.faults)
            if faults != self._faults or before.is_unread:
                # the command that has set them has carried them out, or an `up` all there was to do
                before = reconcile.take_over(self._paths, before.compiled)
                self._leases = labs.read_leases(self._paths)
            found = fit(objects, suspects, self._taken, self._resolve)
            assembled, loaded = found.made
            cluster, applied = sharing(loaded.cluster, before.cluster), before
            is_same = cluster is before.cluster and loaded.leases == self._leases
            if not is_same or before.observed is not None:
                applied, _ops = reconcile.reconcile(self._paths, before, cluster, loaded.leases)
            taken, refused = found.objects, found.refused
            return _Round(assembled, applied, loaded.leases, taken, refused, faults)

    def _resolve(self, objects: Mapping[Ref, Object]) -> tuple[Assembled, labs.Loaded]:
        assembled = self._assembler.assemble(objects)
        lab = labs.with_faults(assembled.lab, self._paths)
        return assembled, labs.in_modes(labs.resolved(lab, self._leases), self._options)

    def _leave_out(self, changed: set[Ref], error: Exception) -> None:
        """Try again what the kernel has refused; go on without it once it has done so often.

        It may have been out of memory for a moment: nobody is to blame for that.
        """
        self._changed |= changed
        self._failures += 1
        log = logging.getLogger(__name__)
        if self._failures < _ATTEMPTS:
            log.warning("to be tried again: %s", message_of(error))
            self._later(RETRY)
            return
        items = self._journal.by_ref
        new = {ref: items[ref] for ref in changed if ref in items}
        new = {ref: item for ref, item in new.items() if not self._is_left_out(ref, item)}
        log.error("left out for a while: %s: %s", sorted(changed), message_of(error))
        self._left_out |= new
        self._refusals |= dict.fromkeys(new, message_of(error))
        self._say({ref: message_of(error) for ref in new})
        self._effective = bool(new)
        self._later(_LEFT_OUT_FOR)

    def _is_left_out(self, ref: Ref, item: Object) -> bool:
        """Whether it is as it was when the kernel refused it."""
        old = self._left_out.get(ref)
        return old is not None and essence(old) == essence(item)

    def _later(self, seconds: float) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(seconds, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if self._applied is not None:
            self._changed |= self._left_out.keys()
            self._left_out = {}
            self._effective = True
            self._wake()

    def _tell(self, done: _Round) -> None:
        """Say of each object that is left out why, once."""
        found = {ref: words_of(each) for ref, each in done.assembled.problems.items()}
        found |= {ref: message_of(error) for ref, error in done.refused.items()}
        self._say({ref: why for ref, why in found.items() if self._told.get(ref) != why})
        self._told = found

    def _say(self, reasons: Mapping[Ref, str]) -> None:
        items = self._journal.by_ref if reasons else {}
        for ref, why in reasons.items():
            logging.getLogger(__name__).warning("left out: %s: %s", "/".join(ref), why)
            if ref in items:
                told = RecordEvent(items[ref], "LeftOut", why, "kns", WARNING)
                self._controllers.recorder.record(told, time.time())

    # -- what is said of the objects ---------------------------------------------------------------

    def _account(self, cluster: Cluster, before: Cluster | None) -> None:
        authority = self._authority() if cluster.api_server is not None else ""
        written = self._written_since(self._accounted)
        last = None if before is None else LastAccounts(before, written)
        self._accounted = self.store.version
        found = accounts(cluster, last, self.store, self._kubelet, time.time(), authority)
        for item in tuple(found):
            with contextlib.suppress(StoreError):
                self._put(item)
        if before is not None and before.faults.written != cluster.faults.written:
            self._tell_faults(before.faults.written, cluster.faults.written)

    def _written_since(self, version: int) -> frozenset[Ref] | None:
        """The objects that were written after a version of the store; None: it may be any."""
        try:
            return frozenset(ref_of(each.object) for each in self.store.changes_since(version))
        except ExpiredError:
            return None

    def _tell_faults(self, before: Faults, after: Faults) -> None:
        """Say what is broken on purpose, and what no longer is."""
        lab = self.store.get(LAB, "", self._paths.lab)
        for event in fault_events(lab, before, after) if lab is not None else ():
            self._controllers.recorder.record(event, time.time())

    def _authority(self) -> str:
        """The certificate of the lab's CA."""
        with contextlib.suppress(OSError):
            return (self._paths.tls / "ca.pem").read_text(encoding="ascii")
        return ""

    def _put(self, item: Account) -> None:
        there = self.store.get(item.resource, item.namespace, item.name)
        if item.obj is None:
            if there is not None:
                self.store.delete(item.resource, item.namespace, item.name)
        elif there is None:
            self.store.create(item.resource, item.obj)
        elif item.resource is ENDPOINT_SLICE:
            kept = mapping(there, "metadata")
            self.store.update(
                item.resource, {**item.obj, "metadata": {**kept, **mapping(item.obj, "metadata")}}
            )
        else:
            self.store.update(item.resource, item.obj)

    def _silent_nodes(self, now: float) -> Mapping[str, float]:
        """The nodes whose cable is pulled: nobody hears of their kubelet, and since when."""
        down = () if self.cluster is None else self.cluster.faults.nodes_down
        self._silent = {name: self._silent.get(name, now) for name in down}
        return self._silent

    # -- what the kubelet says ---------------------------------------------------------------------

    def report(self, report: PodReport) -> None:
        """How the containers of a pod are."""
        item = self.store.get(POD, report.namespace, report.name)
        if self._applied is None or item is None or not text(item, "status", "podIP"):
            return
        made = with_kubelet(item, report, self._host_of(item), self._applied.cluster, time.time())
        with contextlib.suppress(StoreError):
            self.store.update(POD, made, UpdatePart.STATUS)

    def _host_of(self, item: Object) -> Object | None:
        return self.store.get(NODE, "", text(item, "spec", "nodeName"))

    def tell(self, pod: Pod, event: ContainerEvent) -> None:
        """What has happened to a container, as an event about its pod."""
        item = self.store.get(POD, pod.namespace, pod.name)
        if self._applied is not None and item is not None:
            kind = WARNING if event.is_warning else NORMAL
            told = RecordEvent(item, event.reason, event.message, "kubelet", kind)
            self._controllers.recorder.record(told, time.time())


def _as_told(error: Exception) -> KnsError:
    """Why a round broke off, to who waits for what it should have brought."""
    if isinstance(error, OSError):
        error = from_os_error(error)
    hint = error.hint if isinstance(error, KnsError) else ""
    kind = PlatformError if isinstance(error, PlatformError) else ApplyError
    again = "the agent goes on trying; kns status"
    return kind(f"not so yet: {error}", hint=f"{hint}; {again}" if hint else again)


def _in_order(objects: Sequence[Object], order: Sequence[Object]) -> list[Object]:
    """The objects as they follow each other in `order`; what is not in it comes first."""
    places = {ref_of(item): place for place, item in enumerate(order)}
    return sorted(objects, key=lambda item: places.get(ref_of(item), -1))
