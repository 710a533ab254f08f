"""Watches: the changes of a resource's objects as they come, a JSON line each.

Source: k8s.io/apiserver/pkg/endpoints/handlers/watch.go and the API concepts of the documentation
(bookmarks, streaming lists, 410 Gone).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

from kns.agent.api.endpoints import MadeEndpoints, listed
from kns.agent.api.representations import Representation, represented, table
from kns.agent.api.requests import APIRequest
from kns.agent.api.selectors import RequestSelector, selector
from kns.agent.api.status import expired
from kns.agent.store import ChangeType, ExpiredError, ObjectChange, Store
from kns.kinds.common import Object
from kns.kinds.objects import name_of, text, with_part
from kns.kinds.resources import ENDPOINTS, Resource

#: seconds between two bookmarks, and until a watch ends by itself
BOOKMARK_SECONDS = 60.0
_LIFE_SECONDS = 1800.0
_INITIAL_END = "k8s.io/initial-events-end"
#: changes that may wait for a client that does not read
_WAITING = 10_000


class ObjectWatch:
    """One client's watch of a store."""

    def __init__(self, store: Store, request: APIRequest, form: Representation) -> None:
        query = request.query
        self._store, self._form = store, form
        self._target = request.target
        self._selector: RequestSelector = selector(
            request.target.resource, query.get("labelSelector", ""), query.get("fieldSelector", "")
        )
        self._version = request.number("resourceVersion") or 0
        self._initial = request.flag("sendInitialEvents")
        self._bookmarks = request.flag("allowWatchBookmarks")
        self._include = query.get("includeObject", "Metadata")
        self._seconds = float(request.number("timeoutSeconds") or _LIFE_SECONDS)
        self._has_heads = False
        self._made = MadeEndpoints(store) if request.target.resource is ENDPOINTS else None

    async def events(self) -> AsyncIterator[Object]:
        """The events until the client has watched long enough."""
        waiting: asyncio.Queue[ObjectChange | None] = asyncio.Queue()

        def note(change: ObjectChange) -> None:
            if waiting.qsize() < _WAITING:
                waiting.put_nowait(change)
            else:
                unsubscribe()
                waiting.put_nowait(None)

        # subscribed before anything is read: nothing comes between
        unsubscribe = self._store.subscribe(note)
        try:
            for event in self._first():
                yield event
            async for event in self._following(waiting):
                yield event
        except ExpiredError as error:
            yield {"type": "ERROR", "object": expired(error.message).body}
        finally:
            unsubscribe()

    def _first(self) -> Iterator[Object]:
        """What is there, or what changed since the version that the client has."""
        if self._version and not self._initial:
            changes = self._store.changes_since(self._version)
            if self._made is not None:
                self._made.forget(changes)
            for change in changes:
                yield from self._told(change)
            return
        for obj in listed(self._store, self._target.resource, self._target.namespace, ""):
            if self._admits(obj):
                yield self._event("ADDED", obj)
        if self._initial:
            yield self._bookmark(end=True)

    async def _following(
        self, waiting: asyncio.Queue[ObjectChange | None]
    ) -> AsyncIterator[Object]:
        """The events of the changes until None, which stands for those that are not kept."""
        end = time.monotonic() + self._seconds
        bookmark = time.monotonic() + BOOKMARK_SECONDS
        while (left := end - time.monotonic()) > 0:
            pause = min(left, max(bookmark - time.monotonic(), 0))
            try:
                change = await asyncio.wait_for(waiting.get(), pause)
            except TimeoutError:
                bookmark = time.monotonic() + BOOKMARK_SECONDS
                if self._bookmarks and time.monotonic() < end:
                    yield self._bookmark(end=False)
                continue
            if change is None:
                raise ExpiredError("the client reads too slowly")
            for event in self._told(change):
                yield event

    def _told(self, change: ObjectChange) -> Iterator[Object]:
        """A change as the selectors see it: what they no longer admit is gone."""
        if self._made is not None and (made := self._made.change(change)) is not None:
            change = made
        if change.resource is not self._target.resource:
            return
        is_admitted = self._admits(change.object)
        was_admitted = change.old is not None and self._admits(change.old)
        if change.type is ChangeType.DELETED:
            if is_admitted or was_admitted:
                yield self._event("DELETED", change.object)
        elif is_admitted:
            yield self._event("MODIFIED" if was_admitted else "ADDED", change.object)
        elif was_admitted:
            yield self._event("DELETED", change.object)

    def _admits(self, obj: Object) -> bool:
        target = self._target
        if target.namespace and text(obj, "metadata", "namespace") != target.namespace:
            return False
        if target.name and name_of(obj) != target.name:
            return False
        return self._selector.admits(obj)

    def _event(self, kind: str, obj: Object) -> Object:
        shown = represented(obj, self._target.resource, self._form, time.time(), self._include)
        if self._form is Representation.TABLE:
            shown = with_part(
                shown, text(obj, "metadata", "resourceVersion"), "metadata", "resourceVersion"
            )
            if self._has_heads:
                shown = {**shown, "columnDefinitions": None}
            self._has_heads = True
        return {"type": kind, "object": shown}

    def _bookmark(self, *, end: bool) -> Object:
        resource = self._target.resource
        own: Object = {"resourceVersion": str(self._store.version)}
        if end:
            own["annotations"] = {_INITIAL_END: "true"}
        obj: Object = {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            "metadata": own,
        }
        if self._form is Representation.TABLE:
            obj = {**_empty_table(resource), "metadata": own}
        return {"type": "BOOKMARK", "object": obj}


def _empty_table(resource: Resource) -> Object:
    return table(resource, (), {}, 0.0)
