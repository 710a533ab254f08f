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
from kns.agent.serve.api_sockets import APISockets
from kns.agent.serve.server_logs import ServerLogs
from kns.agent.store import Store
from kns.cluster.api_server import server_names
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.paths import LabPaths
from kns.compile.programs.program import is_program
from kns.engine import accounts, api_access, enter
from kns.engine.labs import RunningLab
from kns.kernel import sockets
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
        self._server: APIServer | None = None
        self._runners: dict[bool, web.AppRunner] = {}
        #: with the names that its certificate is for
        self._tls: tuple[ssl.SSLContext, tuple[str, ...]] | None = None

    async def start(self, listening: APISockets, release: str) -> None:
        """Serve on the lab's own socket as it is, on the others with TLS and a token."""
        loop = asyncio.get_running_loop()
        token = await loop.run_in_executor(self._worker, api_access.token, self._paths)
        self._server = APIServer(
            self._live.store,
            release,
            Authenticator(token, partial(accounts.account_token, self._paths)),
            current=self._live.current,
            settled=self._live.settled,
            streams={
                "exec": self._exec,
                "attach": self._attach,
                "portforward": self._forward,
                "log": self._log,
            },
        )
        await listening.serve_by(self._accept)

    async def _accept(self, sock: socket.socket, trusted: bool) -> asyncio.Server:  # noqa: FBT001
        """Serve one socket. PlatformError without openssl, where it takes a certificate."""
        context = None if trusted else await self._context()
        if trusted not in self._runners:
            assert self._server is not None  # noqa: S101 - it was started
            self._runners[trusted] = self._server.runner(trusted=trusted)
            await self._runners[trusted].setup()
        loop, server = asyncio.get_running_loop(), self._runners[trusted].server
        assert server is not None  # noqa: S101 - it was set up
        return await loop.create_server(server, sock=sock, ssl=context, backlog=sockets.BACKLOG)

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None and self._live.cluster is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            await self._certify(context, self._live.cluster)
        assert self._tls is not None  # noqa: S101 - a lab that is served has a cluster
        return self._tls[0]

    async def _certify(self, context: ssl.SSLContext, cluster: Cluster) -> None:
        names_asked = server_names(cluster)
        loop = asyncio.get_running_loop()
        files = await loop.run_in_executor(
            self._worker, api_access.certificate, self._paths, names_asked
        )
        context.load_cert_chain(*files)
        self._tls = (context, names_asked)

    async def renew(self, cluster: Cluster) -> None:
        """Show another certificate from now on, if the cluster calls the API otherwise."""
        if self._tls is not None and self._tls[1] != server_names(cluster):
            await self._certify(self._tls[0], cluster)

    async def close(self) -> None:
        """Serve no more."""
        for runner in self._runners.values():
            await runner.cleanup()
        self._runners.clear()
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
