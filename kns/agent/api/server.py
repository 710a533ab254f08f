"""The HTTP side of the API: aiohttp carries it, the registry answers.

    https://127.0.0.1:PORT    kubectl's, with the lab's certificate and a bearer token
    api.sock                  kns' own verbs': whoever may open the socket may do anything

Only the agent imports this, and after it has begun to serve: aiohttp takes a while to import.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from aiohttp import web

from kns.agent.api import discovery, openapi, subresources
from kns.agent.api.access import Authenticator, review
from kns.agent.api.decoding import json_of
from kns.agent.api.registry import APIAnswer, Registry
from kns.agent.api.representations import Representation, represented, wanted
from kns.agent.api.requests import ADMIN, APIRequest, APIUser, target_of
from kns.agent.api.status import (
    StatusError,
    method_not_allowed,
    not_found,
    of_store,
    unauthorized,
    unavailable,
)
from kns.agent.api.watches import ObjectWatch
from kns.agent.controllers import meta
from kns.agent.store import Store, timestamp
from kns.engine.pending import pending
from kns.errors import KnsError, from_os_error
from kns.kinds.common import Object
from kns.labfile.reader import JSON

#: as the API server's --max-request-bytes
_MAX_BODY = 3 << 20
#: seconds that an answer waits for the lab; clients give up after a minute
_PATIENCE = 20.0
#: as long as a lab's certificates are good
_TOKEN_SECONDS = 10 * 365 * 86_400
#: seconds that open requests have at the end: a watch never ends by itself
_SHUTDOWN = 0.1
_STREAMS = frozenset({"log", "exec", "attach", "portforward"})
_TRUSTED: web.AppKey[bool] = web.AppKey("trusted", bool)
#: carries out a request for a stream of a pod
PodStream = Callable[[web.Request, APIRequest, Object], Awaitable[web.StreamResponse]]


class APIServer:
    """The API of one lab, over any number of listening sockets."""

    def __init__(
        self,
        store: Store,
        release: str,
        authenticator: Authenticator,
        *,
        current: Callable[[], Awaitable[None]] | None = None,
        settled: Callable[[], Awaitable[None]] | None = None,
        streams: Mapping[str, PodStream] | None = None,
    ) -> None:
        """`current` waits while an `up` goes back to the file, `settled` until a write is so."""
        self.registry = Registry(store)
        self._release = release
        self._authenticator = authenticator
        self._current, self._settled = current or _at_once, settled or _at_once
        self._streams = streams or {}

    def application(self, *, trusted: bool) -> web.Application:
        """What answers; on a `trusted` socket without asking who it is."""
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[self._in_form])
        app[_TRUSTED] = trusted
        app.router.add_get("/version", self._version)
        app.router.add_get("/readyz/settled", self._settle)
        if trusted:
            app.router.add_get("/readyz/pending", self._pending)
        for path in ("/healthz", "/livez", "/readyz"):
            app.router.add_get(path, _healthy)
            app.router.add_get(path + "/{check:.*}", _healthy)
        app.router.add_get("/openapi/v2", _no_openapi_v2)
        app.router.add_get("/openapi/v3", self._openapi)
        app.router.add_get("/openapi/v3/{path:.+}", self._openapi)
        app.router.add_route("*", "/{path:apis?(/.*)?}", self._api)
        app.router.add_route("*", "/{path:.*}", _nothing)
        return app

    def runner(self, *, trusted: bool) -> web.AppRunner:
        """Serves the application; a handler ends when its client goes.

        By itself aiohttp lets it go on: a watch or a followed log that has nothing to send never
        notices that nobody listens.
        """
        return web.AppRunner(
            self.application(trusted=trusted),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN,
        )

    # -- who, and errors ---------------------------------------------------------------------------

    @web.middleware
    async def _in_form(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Errors as Status objects; nobody gets further whom nobody knows."""
        try:
            self._user(request)
            return await handler(request)
        except KnsError as error:
            refused = of_store(error)
            return answered(refused.body, refused.code)
        except web.HTTPException as error:
            reason = "RequestEntityTooLarge" if error.status == 413 else "BadRequest"
            refused = StatusError(error.status, reason, error.reason)
            return answered(refused.body, refused.code)
        except OSError as error:
            # what cannot be kept is not written: the journal's disk is full
            refused = of_store(from_os_error(error))
            return answered(refused.body, refused.code)
        except Exception as error:
            logging.getLogger(__name__).exception("%s %s", request.method, request.path)
            message = f"Internal error occurred: {type(error).__name__}: {error}"
            return answered(StatusError(500, "InternalError", message).body, 500)

    def _user(self, request: web.Request) -> APIUser:
        if request.app[_TRUSTED]:
            return ADMIN
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        store = self.registry.store
        user = self._authenticator.user(token.strip(), store) if kind.lower() == "bearer" else None
        if user is None:
            raise unauthorized()
        return user

    # -- what is about the API ---------------------------------------------------------------------

    async def _version(self, _request: web.Request) -> web.StreamResponse:
        return answered(discovery.version_info(self._release))

    async def _settle(self, request: web.Request) -> web.StreamResponse:
        """Answers when everything that was written is so in the kernel."""
        await self._current()
        await self._settled()
        return await _healthy(request)

    async def _pending(self, _request: web.Request) -> web.StreamResponse:
        """Then answers what is on its way: of all pods, which are too many to send them for it."""
        await self._current()
        await self._settled()
        items: list[JSON] = [
            {"kind": kind, "metadata": {"namespace": namespace, "name": name}, "message": waits}
            for (kind, namespace, name), waits in pending(self.registry.store.list).items()
        ]
        return answered({"items": items})

    async def _openapi(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info.get("path", "")
        if not path:
            return answered(openapi.index())
        found = openapi.document(path.partition("/")[2]) if path.startswith("api") else None
        if found is None:
            raise not_found()
        return answered(found)

    def _discovered(self, request: web.Request) -> Object | None:
        """The answer to a path that names no resource; None for one that does."""
        parts = [part for part in request.path.split("/") if part]
        whole = "as=APIGroupDiscoveryList" in request.headers.get("Accept", "")
        match parts:
            case ["api"] | ["apis"] if whole:
                return discovery.aggregated(core=parts[0] == "api")
            case ["api"]:
                return discovery.core_versions(request.host)
            case ["apis"]:
                return discovery.group_list()
            case ["apis", group]:
                versions = discovery.group_versions()
                found = next((item for item in versions if item.startswith(f"{group}/")), None)
                if found is None:
                    raise not_found()
                group_ = discovery.api_group(found)
                return {"kind": "APIGroup", "apiVersion": "v1", **group_}
            case ["api", version]:
                return _served(version)
            case ["apis", group, version]:
                return _served(f"{group}/{version}")
            case _:
                return None

    # -- objects -----------------------------------------------------------------------------------

    async def _api(self, request: web.Request) -> web.StreamResponse:
        found = self._discovered(request)
        if found is not None:
            if request.method != "GET":
                raise method_not_allowed()
            kind = "application/json"
            if found["kind"] == "APIGroupDiscoveryList":
                kind += ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            return answered(found, content_type=kind)
        if request.path == f"/apis/{discovery.REVIEW_GROUP}/{discovery.REVIEW_PLURAL}":
            return await self._review(request)
        return await self._object(request, await _asked(request, self._user(request)))

    async def _review(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            raise method_not_allowed()
        body = json_of(await request.read(), request.content_type)
        return answered(review(body, self._user(request), self.registry.store), 201)

    async def _object(self, request: web.Request, asked: APIRequest) -> web.StreamResponse:
        if not await _within(self._current):
            raise unavailable()
        self._authenticator.authorize(asked, self.registry.store)
        if asked.target.subresource in _STREAMS:
            stream = self._streams.get(asked.target.subresource)
            if stream is None:
                raise method_not_allowed(asked.target.resource)
            return await stream(request, asked, self.registry.get(replace(asked, method="GET")))
        if asked.target.subresource == "token":
            return self._token(asked)
        form = wanted(request.headers.get("Accept", ""))
        if asked.method == "GET" and asked.flag("watch"):
            return await self._watch(request, asked, form)
        before = self.registry.store.version
        answer = self._answer(asked)
        if self.registry.store.version != before:
            await _within(self._settled)
            answer = self._anew(asked, answer)
        shown = represented(
            answer.object,
            asked.target.resource,
            form,
            time.time(),
            asked.query.get("includeObject", "Metadata"),
        )
        return answered(shown, answer.code, warnings=answer.warnings)

    def _token(self, asked: APIRequest) -> web.StreamResponse:
        """A service account's token (`kubectl create token`). It is good as long as the account."""
        if asked.method != "POST":
            raise method_not_allowed(asked.target.resource)
        self.registry.get(replace(asked, method="GET"))
        token = self._authenticator.token_of(asked.target.namespace, asked.target.name)
        lasting = timestamp(time.time() + _TOKEN_SECONDS)
        status: Object = {"token": token, "expirationTimestamp": lasting}
        made: Object = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
        named: Object = {"name": asked.target.name, "namespace": asked.target.namespace}
        return answered({**made, "metadata": named, "spec": {}, "status": status}, 201)

    def _answer(self, asked: APIRequest) -> APIAnswer:
        if asked.target.subresource:
            return subresources.answer(self.registry, asked, time.time())
        return self.registry.answer(asked)

    def _anew(self, asked: APIRequest, answer: APIAnswer) -> APIAnswer:
        """The object with what the cluster gave it in the meantime: a cluster IP, node ports.

        Not its successor of the same name: kubectl waits until the one that it is told of is gone.
        """
        target = asked.target
        own = answer.object.get("metadata")
        name = own.get("name") if isinstance(own, dict) else None
        if answer.object.get("kind") != target.resource.kind or not isinstance(name, str):
            return answer
        space = own.get("namespace") if isinstance(own, dict) else None
        found = self.registry.store.get(target.resource, str(space or ""), name)
        if found is None or meta.uid(found) != meta.uid(answer.object):
            return answer
        return replace(answer, object=found)

    async def _watch(
        self, request: web.Request, asked: APIRequest, form: Representation
    ) -> web.StreamResponse:
        watch = ObjectWatch(self.registry.store, asked, form)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            async for event in watch.events():
                await response.write(json.dumps(event).encode() + b"\n")
            await response.write_eof()
        except ConnectionError:
            pass
        return response


async def _at_once() -> None:
    """Wait for nothing."""


async def _within(wait: Callable[[], Awaitable[None]]) -> bool:
    """Wait, but not for longer than who asks does; False if it was in vain."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await wait()
    except (TimeoutError, KnsError):  # it is written, and will be so in time
        return False
    return True


async def _asked(request: web.Request, user: APIUser) -> APIRequest:
    content_type = request.headers.get("Content-Type", "application/json").partition(";")[0]
    return APIRequest(
        request.method,
        target_of(request.path),
        dict(request.query),
        content_type.strip(),
        await request.read(),
        user,
        request.headers.get("User-Agent", ""),
    )


def _served(api_version: str) -> Object:
    found = discovery.resource_list(api_version)
    if found is None:
        raise not_found()
    return found


async def _healthy(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


async def _no_openapi_v2(_request: web.Request) -> web.StreamResponse:
    """An empty document: kubectl asks for it before it says that it knows no such kind."""
    kind = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    return web.Response(body=b"", headers={"Content-Type": kind})


async def _nothing(_request: web.Request) -> web.StreamResponse:
    raise not_found()


def answered(
    obj: Object,
    code: int = 200,
    *,
    content_type: str = "application/json",
    warnings: tuple[str, ...] = (),
) -> web.Response:
    """An object as the body of an answer."""
    response = web.Response(body=json.dumps(obj).encode(), status=code)
    response.headers["Content-Type"] = content_type
    for warning in warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response
