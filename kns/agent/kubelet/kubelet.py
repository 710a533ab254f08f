"""The kubelet of all nodes of a lab: watches the containers of the pods that run.

    cluster ──update()──▶ watched containers ──on_report(PodReport)──▶ status of the pod's object
    terminate(pod) ──▶ preStop, SIGTERM, the grace period, SIGKILL ──▶ returns: the object may go

A pod without probes costs a few objects and no task. `kill` is for those who break something on
purpose.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kns.agent.containers import Containers
from kns.agent.kubelet.asking import ProbeAnswer, ProbedContainer, ask
from kns.agent.kubelet.reports import PodReport
from kns.agent.kubelet.served import ServedContainer
from kns.agent.kubelet.watched import ContainerEvent, WatchedContainer
from kns.agent.serve.listeners import Listeners
from kns.cluster.api_server import account_of
from kns.cluster.model import Cluster
from kns.cluster.podfiles import pod_hostname
from kns.compile import names
from kns.compile.paths import LabPaths
from kns.compile.programs.program import is_program, own_variables
from kns.engine import accounts, etc
from kns.engine.environment import of_container, read_service_variables
from kns.engine.process_records import EXEC_MARKER
from kns.errors import UsageError
from kns.kernel.processes import Context
from kns.kinds.lifecycle import HookAction, ProbeAction
from kns.kinds.pod import Container, Pod

PodKey = tuple[str, str]


@dataclass(slots=True)
class _WatchedPod:
    pod: Pod
    containers: tuple[WatchedContainer, ...]
    served: tuple[ServedContainer, ...]

    @property
    def report(self) -> PodReport:
        reports = tuple(item.report for item in self.containers)
        return PodReport(self.pod.namespace, self.pod.name, reports, self.pod.restart_policy)


class Kubelet:
    """Watches pods from the running event loop."""

    def __init__(
        self,
        paths: LabPaths,
        containers: Containers,
        listeners: Listeners,
        on_report: Callable[[PodReport], None],
        on_event: Callable[[Pod, ContainerEvent], None],
    ) -> None:
        self._paths = paths
        self._containers, self._listeners = containers, listeners
        self._on_report, self._on_event = on_report, on_event
        # sockets are opened and programs started in it: what takes long, the event loop does
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="kubelet")
        self._pods: dict[PodKey, _WatchedPod] = {}
        self._is_updating = False

    # -- which pods --------------------------------------------------------------------------------

    def update(self, cluster: Cluster) -> None:
        """Watch the pods of this cluster, whose servers and processes are there by now."""
        wanted = {(pod.namespace, pod.name): pod for pod in cluster.pods}
        for key, watched in list(self._pods.items()):
            if key not in wanted or not _is_same(watched, wanted[key]):
                self._forget(key)
        self._is_updating = True
        try:
            for key, pod in wanted.items():
                if key in self._pods:
                    self._pods[key].pod = pod
                else:
                    self._watch(cluster, pod)
        finally:
            self._is_updating = False

    def close(self) -> None:
        """Watch nothing any more; the containers go on."""
        for key in list(self._pods):
            self._forget(key)
        self._worker.shutdown(wait=False, cancel_futures=True)

    def report(self, namespace: str, name: str) -> PodReport | None:
        """What there is to say of a pod; None for one that is not watched."""
        watched = self._pods.get((namespace, name))
        return None if watched is None else watched.report

    def _forget(self, key: PodKey) -> None:
        watched = self._pods.pop(key)
        for item in watched.containers:
            item.close()
        for served in watched.served:
            served.close()

    def _watch(self, cluster: Cluster, pod: Pod) -> None:
        key = (pod.namespace, pod.name)
        made: list[WatchedContainer] = []
        served: list[ServedContainer] = []
        for container in pod.containers:
            watched = WatchedContainer(
                pod,
                container,
                self._asker(cluster, pod, container),
                lambda: self._changed(key),
                lambda event: self._on_event(pod, event),
            )
            made.append(watched)
        self._pods[key] = _WatchedPod(pod, tuple(made), ())
        for watched in made:
            if not is_program(cluster, pod, watched.container):
                own = ServedContainer(pod, watched.container.name, self._listeners)
                watched.runtime = own
                own.observe(watched)
                served.append(own)
            elif process := self._containers.get(_program_key(cluster, pod, watched.container)):
                watched.runtime = process
                process.observe(watched)
        self._pods[key].served = tuple(served)

    def _changed(self, key: PodKey) -> None:
        if not self._is_updating and key in self._pods:
            self._on_report(self._pods[key].report)

    def _asker(
        self, cluster: Cluster, pod: Pod, container: Container
    ) -> Callable[[ProbeAction | HookAction, float], asyncio.Future[ProbeAnswer]]:
        asked = ProbedContainer(
            netns=names.netns_of_node(cluster.name, pod.node),
            address=str(pod.addresses[0]),
            container=container,
            context=lambda: self._context(cluster, pod, container),
        )
        return lambda action, timeout: asyncio.ensure_future(
            ask(action, asked, timeout, self._worker)
        )

    def _context(self, cluster: Cluster, pod: Pod, container: Container) -> Context:
        """What a program in the container finds."""
        folder = etc.folder(self._paths, names.netns_of_pod(cluster.name, pod.namespace, pod.name))
        hostname = pod_hostname(pod)
        variables: Mapping[str, str] = dict(
            of_container(
                read_service_variables(folder), own_variables(container), hostname=hostname
            )
        )
        run = accounts.files(self._paths, account_of(cluster, pod))
        netns = names.netns_with(cluster.name, pod)
        env = {**variables, EXEC_MARKER: cluster.name}
        return Context(netns, folder, hostname, env, run=run)

    # -- ends --------------------------------------------------------------------------------------

    async def terminate(self, namespace: str, name: str, grace: float) -> None:
        """End a pod's containers within `grace` seconds; returns when none of them runs."""
        watched = self._pods.get((namespace, name))
        if watched is not None:
            await asyncio.gather(*(item.terminate(grace) for item in watched.containers))

    def kill(
        self,
        namespace: str,
        name: str,
        container: str = "",
        number: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Send a signal to a container, or to all of a pod. UsageError if there is none."""
        for item in self._chosen((namespace, name), container):
            item.runtime.send_signal(number)

    def _chosen(self, key: PodKey, container: str) -> Iterator[WatchedContainer]:
        watched = self._pods.get(key)
        if watched is None:
            raise UsageError(f"no such pod runs: {'/'.join(key)}", hint="kns get pods lists them")
        chosen = [c for c in watched.containers if container in {"", c.container.name}]
        if not chosen:
            known = ", ".join(item.container.name for item in watched.containers)
            raise UsageError(
                f"pod {'/'.join(key)} has no container {container!r}",
                hint=f"its containers: {known}",
            )
        yield from chosen


def _program_key(cluster: Cluster, pod: Pod, container: Container) -> str:
    return f"{cluster.name}/{pod.namespace}/{pod.name}/{container.name}"


def _is_same(watched: _WatchedPod, other: Pod) -> bool:
    """Whether it is the same pod: one made anew has another address; a changed one, other words.

    One that was ending and is not any more has been made anew in its place, by `up`.
    """
    one = watched.pod
    if not other.terminating and any(item.is_ending for item in watched.containers):
        return False
    return (one.node, one.addresses, one.containers, one.restart_policy) == (
        other.node,
        other.addresses,
        other.containers,
        other.restart_policy,
    )
