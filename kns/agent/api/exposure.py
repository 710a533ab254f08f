"""The API of a running lab: its sockets, and the streams of its pods."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Protocol

from aiohttp import web

from kns.agent.api import executions, logs, portforward
from kns.agent.api.access import Authenticator
from kns.agent.api.places import ContainerPlace, is_running
from kns.agent.api.requests import APIRequest
from kns.agent.api.server import APIServer
from kns.agent.api.status import bad_request, not_found
from kns.agent.serve.server_logs import ServerLogs
from kns.agent.store import Store
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.paths import LabPaths
from kns.compile.programs.program import is_program
from kns.engine import api_access, enter
from kns.engine.labs import RunningLab
from kns.kinds.common import Object
from kns.kinds.objects import name_of, text
from kns.kinds.resources import POD


class LivingLab(Protocol):
    """The objects of a lab, and what has become of them."""

    @property
    def store(self) -> Store:
        """The objects."""

    @property
    def cluster(self) -> Cluster | None:
        """The cluster as it was applied last."""

    async def current(self) -> None:
        """Wait while an `up` goes back to the file."""

    async def settled(self) -> None:
        """Wait until everything that was written is so."""


class Exposure:
    """Serves the API of one lab until it is closed."""

    def __init__(
        self,
        paths: LabPaths,
        live: LivingLab,
        server_logs: ServerLogs,
        worker: Executor,
    ) -> None:
        self._paths, self._live = paths, live
        self._server_logs, self._worker = server_logs, worker
        #: of its own: a program that starts slowly keeps nobody else waiting
        self._streams = ThreadPoolExecutor(2, thread_name_prefix="api")
        self._runners: list[web.AppRunner] = []

    async def start(self, own: socket.socket, port: socket.socket | None, release: str) -> None:
        """Serve on the lab's own socket, and on one of the loopback with TLS and a token.

        PlatformError without openssl: then on the lab's socket alone.
        """
        loop = asyncio.get_running_loop()
        token = await loop.run_in_executor(self._worker, api_access.token, self._paths)
        server = APIServer(
            self._live.store,
            release,
            Authenticator(token),
            current=self._live.current,
            settled=self._live.settled,
            streams={
                "exec": self._exec,
                "attach": self._attach,
                "portforward": self._forward,
                "log": self._log,
            },
        )
        await self._site(server, own, None, trusted=True)
        if port is not None:
            files = await loop.run_in_executor(self._worker, api_access.certificate, self._paths)
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*files)
            await self._site(server, port, context, trusted=False)

    async def _site(
        self,
        server: APIServer,
        sock: socket.socket,
        context: ssl.SSLContext | None,
        *,
        trusted: bool,
    ) -> None:
        runner = server.runner(trusted=trusted)
        await runner.setup()
        self._runners.append(runner)
        await web.SockSite(runner, sock, ssl_context=context).start()

    async def close(self) -> None:
        """Serve no more."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self._paths.api_socket.unlink(missing_ok=True)
        self._streams.shutdown(wait=False, cancel_futures=True)

    # -- streams -----------------------------------------------------------------------------------

    async def _exec(
        self, request: web.Request, asked: APIRequest, pod: Object
    ) -> web.StreamResponse:
        return await executions.serve(request, self._place(asked, pod), self._streams)

    async def _attach(
        self, request: web.Request, asked: APIRequest, pod: Object
    ) -> web.StreamResponse:
        return await logs.attach(request, self._place(asked, pod), self._server_logs)

    async def _forward(
        self, request: web.Request, asked: APIRequest, pod: Object
    ) -> web.StreamResponse:
        return await portforward.serve(request, self._place(asked, pod), self._streams)

    async def _log(
        self, request: web.Request, asked: APIRequest, pod: Object
    ) -> web.StreamResponse:
        place = self._place(asked, pod)
        return await logs.serve(request, asked, place, self._server_logs, time.time())

    def _place(self, asked: APIRequest, obj: Object) -> ContainerPlace:
        """Where the container of a request is. StatusError if it does not run."""
        cluster = self._live.cluster
        namespace, name = text(obj, "metadata", "namespace"), name_of(obj)
        pods = cluster.pods if cluster is not None else ()
        pod = next(
            (item for item in pods if (item.namespace, item.name) == (namespace, name)), None
        )
        if cluster is None or pod is None:
            if self._live.store.get(POD, namespace, name) is None:
                raise not_found(POD, name)
            raise bad_request(f"pod {name} does not have a host assigned")
        wanted = asked.query.get("container", "")
        container = next((item for item in pod.containers if wanted in {"", item.name}), None)
        if container is None:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        lab = RunningLab(cluster.name, cluster, self._paths)
        folder = names.netns_of_pod(cluster.name, namespace, name)
        log = self._paths.logs / f"{folder}.{container.name}.log"
        return ContainerPlace(
            pod.full_name,
            container.name,
            names.netns_with(cluster.name, pod),
            tuple(map(str, pod.addresses)),
            enter.context_of(lab, pod, container.name),
            log if is_program(cluster, pod, container) else None,
            partial(self._runs, obj, container.name),
        )

    def _runs(self, was: Object, container: str) -> bool:
        """Whether the container runs that ran when the pod's object was this."""
        key = (POD, text(was, "metadata", "namespace"), name_of(was))
        return is_running(was, self._live.store.get(*key), container)
