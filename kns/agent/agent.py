"""A lab's agent: one process that serves its pods, and takes orders on a unix socket.

The orders and their answers are `kns.engine.orders`, a line each.

Blocking work (reading files, entering netns, starting processes) happens in one worker thread, in
order; the event loop never waits for it. SIGTERM and SIGINT end the agent and let its containers
be, as the end of a kubelet does; the next agent takes them over.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from kns.agent.balancers import Balancers
from kns.agent.containers import Containers
from kns.agent.serve.api_sockets import APISockets
from kns.agent.serve.draining import Draining
from kns.agent.serve.listeners import Listeners
from kns.agent.serve.name_servers import NameServers
from kns.cluster.api_server import server_names
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.listeners import ListenerCompiler
from kns.compile.paths import LabPaths
from kns.compile.programs.programs import programs
from kns.engine import api_access, etc
from kns.engine.labs import applied_cluster
from kns.engine.orders import (
    MAX_LINE,
    AgentAnswer,
    AgentStatus,
    ContainerState,
    Converge,
    Converged,
    Failure,
    GetStatus,
    Kill,
    Killed,
    Order,
    Refused,
    Settle,
    Settled,
    Shutdown,
    Stopped,
    decode_order,
    encode,
)
from kns.engine.private import ensure_folder
from kns.errors import KnsError, LockedError, PlatformError
from kns.kernel import netns, processes, sockets
from kns.kinds.pod import Pod
from kns.kinds.resources import POD

if TYPE_CHECKING:
    from kns.agent.api.exposure import Exposure
    from kns.agent.kubelet.kubelet import Kubelet
    from kns.agent.kubelet.reports import PodReport
    from kns.agent.kubelet.watched import ContainerEvent
    from kns.agent.live import Live

#: seconds after which `up` has its answer and there is time for what can wait
IDLE_SECONDS = 1.0
#: seconds after which the agent takes the lab's objects over. The emulated VM of the tests, where
#: that takes as long as all else, asks for more by the variable
LIVE_SECONDS = float(os.environ.get("KNS_LIVE_AFTER", IDLE_SECONDS))
#: seconds after which that is tried again where it broke off
LIVE_RETRY = 1.0
#: seconds that one thread computes while another waits. Python's own 5 ms are what each step of an
#: answer would wait for while the worker computes what a change leads to
SWITCH_SECONDS = 0.0005
#: objects, and younger searches, after which garbage is looked for. A round makes and drops tens of
#: thousands, hardly one of them in a cycle: by Python's own 700, 10, 10 it is stopped ten times
GC_THRESHOLDS = (50_000, 20, 20)
#: seconds after which the pods are watched: `up` has its answer by then
WATCH_SECONDS = 0.1


class Agent:
    """Serves one lab from the running event loop until it is told to stop."""

    def __init__(self, paths: LabPaths, load: Callable[[LabPaths], Cluster]) -> None:
        self._paths = paths
        self._load = load
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="worker")
        self._name_servers = NameServers()
        self._api = APISockets()
        self._listeners = Listeners(
            self._worker, partial(etc.folder, paths), self._name_servers, self._api
        )
        self._listener_compiler = ListenerCompiler()
        self._containers = Containers(self._worker, paths)
        self._draining = Draining(self._worker)
        self._balancers = Balancers(self._worker)
        self._failures: tuple[Failure, ...] = ()
        self._kubelet: Kubelet | None = None
        self._live: Live | None = None
        self._exposure: Exposure | None = None
        self._expose: Callable[[Live], Awaitable[None]] | None = None
        self._served: Cluster | None = None
        self._turn = asyncio.Lock()
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, sock: socket.socket, api: socket.socket | None = None) -> None:
        """Take orders on the listening socket until one, or a signal, says stop.

        The API is served on the lab's own socket and, if it is given, on `api`.
        """
        self._expose = partial(self._serve_api, api)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        loop.call_later(IDLE_SECONDS, loop.run_in_executor, self._worker, import_later)
        server = await asyncio.start_unix_server(self._on_client, sock=sock, limit=MAX_LINE)
        try:
            await self._over.wait()
        finally:
            server.close()
            self._api.close()
            if self._exposure is not None:
                await self._exposure.close()
            self._paths.api_socket.unlink(missing_ok=True)
            self.close()

    def close(self) -> None:
        """Serve no more; the containers' processes live on."""
        if self._live is not None:
            self._live.close()
        if self._kubelet is not None:
            self._kubelet.close()
        self._draining.close()
        self._listeners.close()
        self._containers.release()
        self._balancers.close()
        self._worker.shutdown(cancel_futures=True)

    def end(self) -> None:
        """Let `serve` return; the containers' processes live on."""
        self._over.set()

    async def order(self, order: Order) -> AgentAnswer:
        """Carry out one order and say how it went; never raises."""
        try:
            return await self._carry_out(order)
        except KnsError as error:
            return Refused(str(error), error.hint)
        except Exception as error:
            logging.getLogger(__name__).exception("%s failed", order)
            return Refused(f"{type(error).__name__}: {error}")

    async def _carry_out(self, order: Order) -> AgentAnswer:
        match order:
            case Converge():
                return await self.converge()
            case GetStatus():
                return await self.status()
            case Kill():
                return self.kill(order)
            case Settle():
                return await self.settle()
            case Shutdown():
                return await self.stop()
            case _:
                assert_never(order)

    async def converge(self) -> Converged:
        """Serve and run what the lab's files say now. KnsError if they can't be read."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            cluster = await loop.run_in_executor(self._worker, self._load, self._paths)
            # who looks at the living lab must not see what was before this `up`
            loop.call_later(0 if self._live else LIVE_SECONDS, self._begin_to_live)
            return await self._serve_cluster(cluster)

    async def serve_cluster(self, cluster: Cluster) -> Converged:
        """Serve and run what the cluster says."""
        async with self._turn:
            return await self._serve_cluster(cluster)

    async def _serve_cluster(self, cluster: Cluster) -> Converged:
        self._served = cluster
        self._name_servers.update(cluster)
        servers, containers = self._listener_compiler.of(cluster), programs(cluster)
        self._draining.update(cluster)
        # what goes makes room for what comes: a port may pass from one container to another
        await self._containers.stop_others(containers)
        await self._listeners.close_others(servers)
        self._failures = (
            *await self._listeners.open_missing(servers),
            *await self._containers.start_missing(containers),
        )
        if self._exposure is not None:
            await self._exposure.renew(cluster)
        failures = (*self._failures, *await self._balancers.converge(cluster))
        self._watch(cluster)
        return Converged(len(self._listeners), len(self._containers.statuses), failures)

    def _begin_to_live(self) -> None:
        """Hold the lab's objects, as soon as there is time for what can wait."""
        self._tasks.add(task := asyncio.get_running_loop().create_task(self._start_live()))
        task.add_done_callback(self._tasks.discard)

    async def _start_live(self) -> None:
        try:
            live = await self._living()
            # a thousand pods' objects live as long as the lab: to look through them for garbage
            # takes 0.1 s and more, in which nobody has an answer
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            if self._expose is not None:
                expose, self._expose = self._expose, None
                await expose(live)
        except Exception:
            logging.getLogger(__name__).exception("the lab does not begin to live")

    async def _living(self) -> Live:
        """The living lab; where its beginning breaks off (a full disk), another time."""
        told = ""
        while True:
            try:
                return await self.live()
            except OSError as error:
                if str(error) != told:
                    told = str(error)
                    logging.getLogger(__name__).exception("the lab does not begin to live yet")
                await asyncio.sleep(LIVE_RETRY)

    async def _serve_api(self, port: socket.socket | None, live: Live) -> None:
        """Serve the API as soon as somebody connects: importing what carries it takes longer than
        all the rest, and half of the agent's memory.
        """
        self._api.listen(sockets.listen_unix(self._paths.api_socket), trusted=True)
        if port is not None:
            self._api.listen(port)
        await self._publish(port, live)
        await self._api.connection()
        exposure = await asyncio.to_thread(import_api)
        made = exposure(self._paths, live, self._listeners.logs, self._worker)
        await live.current()
        if self._over.is_set() or live.cluster is None:
            return
        self._exposure = made
        await made.start(self._api, f"{live.cluster.network.kube_proxy.version}.0")

    async def _publish(self, port: socket.socket | None, live: Live) -> None:
        """Say where the API is and what it asks for, if it has a port and a certificate."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._worker, api_access.token, self._paths)
        names_asked = () if live.cluster is None else server_names(live.cluster)
        if port is not None or names_asked:
            with contextlib.suppress(PlatformError):  # told when somebody asks
                await loop.run_in_executor(
                    self._worker, api_access.certificate, self._paths, names_asked
                )
                if port is not None:
                    api_access.publish(self._paths, port.getsockname()[1])

    async def live(self) -> Live:
        """The lab's objects and the loop that carries them out, which begins if it has not yet."""
        from kns.agent.live import Live

        if self._live is None:
            self._live = Live(self._paths, self._worker, self.serve_cluster, self.kubelet)
        await self._live.start()
        return self._live

    @property
    def kubelet(self) -> Kubelet:
        """Who watches the pods; it begins when it is first asked for."""
        # not before `up` has its answer
        from kns.agent.kubelet.kubelet import Kubelet

        if self._kubelet is None:
            self._kubelet = Kubelet(
                self._paths, self._containers, self._listeners, self._report, self._tell
            )
        return self._kubelet

    def _report(self, report: PodReport) -> None:
        """What the kubelet says of a pod."""
        if self._live is not None:
            self._live.report(report)
        _log_report(report)

    def _tell(self, pod: Pod, event: ContainerEvent) -> None:
        """What the kubelet tells of a container."""
        if self._live is not None:
            self._live.tell(pod, event)
        _log_event(pod, event)

    def _watch(self, cluster: Cluster) -> None:
        """Watch the pods of this cluster; at first when there is time for what can wait."""
        if self._kubelet is not None:
            self._kubelet.update(cluster)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(WATCH_SECONDS, self._begin_to_watch, cluster)

    def _begin_to_watch(self, cluster: Cluster) -> None:
        # a cluster that came in the meantime is watched already
        if self._kubelet is None and not self._over.is_set():
            self.kubelet.update(cluster)

    async def status(self) -> AgentStatus:
        """What is served and what runs at the moment, and what does not."""
        statuses = self._containers.statuses
        # what a container does now says more than how its first start went
        known = {status.container for status in statuses}
        errors = [failure for failure in self._failures if failure.subject not in known]
        errors += [
            Failure(status.container, f"{status.message}; it is going to be started again")
            for status in statuses
            if status.state is ContainerState.WAITING
        ]
        errors += [
            Failure(
                "/".join(key), "has ended; it is going to be started again, unless its pod ends"
            )
            for key in self._listeners.ended
        ]
        addresses = await self._balancers.takers()
        errors += self._balancers.failures(addresses)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return AgentStatus(
            pid=os.getpid(),
            rss_kb=pages * resource.getpagesize() // 1024,
            listeners=self._listeners.digests,
            containers=statuses,
            errors=tuple(errors),
            addresses=addresses,
            left_out=() if self._live is None else self._live.left_out,
        )

    async def settle(self) -> Settled:
        """Wait until what was written is so; of what is on its way even then the pods tell."""
        if self._live is None and (self._served is None or not _changes_alone(self._served)):
            return Settled()
        # imported by whoever lives
        from kns.engine.pending import coming

        live = await self.live()
        await live.settled()
        return Settled(coming(live.store.list(POD), time.time()))

    def kill(self, order: Kill) -> Killed:
        """Send a container, or all of a pod, a signal. UsageError if there is none."""
        number = signal.Signals(order.signal)
        self.kubelet.kill(order.namespace, order.pod, order.container, number)
        return Killed()

    async def stop(self) -> Stopped:
        """End the containers, and let `serve` return."""
        async with self._turn:
            if self._kubelet is not None:
                self._kubelet.close()
            self._listeners.close()
            await self._containers.stop()
            self._over.set()
            return Stopped()

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            try:
                while line := await reader.readline():
                    writer.write(encode(await self._answer(line)))
                    await writer.drain()
            except ValueError:  # the line is over the limit
                writer.write(encode(Refused(f"an order of more than {MAX_LINE} bytes")))
        writer.close()

    async def _answer(self, line: bytes) -> AgentAnswer:
        try:
            order = decode_order(line)
        except ValueError as error:
            return Refused(str(error), "it is one of another kns")
        return await self.order(order)


def run(lab: str) -> None:
    """Be the agent of a lab until told to stop. LockedError if it has one already."""
    paths = LabPaths(lab)
    ensure_folder(paths.folder)
    sys.setswitchinterval(SWITCH_SECONDS)
    api = sockets.inherited()
    with claimed(paths.pid):
        sock = sockets.listen_unix(paths.socket)
        try:
            # the main thread's netns is the process' own in /proc: it tells whose agent this is
            netns.enter(names.fabric_netns(lab))
            processes.raise_file_limit()  # each socket of each pod is a file
            asyncio.run(_serve(paths, sock, api))
        finally:
            sock.close()
            paths.socket.unlink(missing_ok=True)


async def _serve(paths: LabPaths, sock: socket.socket, api: socket.socket | None) -> None:
    await Agent(paths, load).serve(sock, api)


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold the lab's pid file: locked by the agent that lives, so that there is one at most."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise LockedError(f"this lab has an agent already: {path}") from error
    try:
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
        # emptied, not unlinked: another agent may have it open already and lock it next
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def _changes_alone(cluster: Cluster) -> bool:
    """Whether a pod may become ready, or not, without anybody's doing: by a probe or a program."""
    return any(
        container.readiness_probe or container.startup_probe or container.command
        for pod in cluster.pods
        for container in pod.containers
    )


def _log_report(report: PodReport) -> None:
    states = ", ".join(
        f"{item.name} {'ready' if item.ready else item.waiting[0] or 'not ready'}"
        for item in report.containers
    )
    logging.getLogger(__name__).info("%s/%s: %s", report.namespace, report.name, states)


def _log_event(pod: Pod, event: ContainerEvent) -> None:
    level = logging.WARNING if event.is_warning else logging.INFO
    logging.getLogger(__name__).log(level, "%s: %s: %s", pod.full_name, event.reason, event.message)


def import_later() -> None:
    """Import what the first request and the first DNS question need: they may come sooner."""
    import kns.agent.serve.dns
    import kns.agent.serve.http_server
    import kns.cluster.zone  # noqa: F401


def import_api() -> type[Exposure]:
    """What serves the API; importing it takes longer than all the rest."""
    from kns.agent.api.exposure import Exposure

    return Exposure


def load(paths: LabPaths) -> Cluster:
    """The lab as `up` last wrote it down."""
    return applied_cluster(paths)
