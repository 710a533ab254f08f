"""Events as client-go's recorder keeps them: the same one again is counted, too many alike are one.

Source: client-go tools/record/events_cache.go.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from kns.agent.controllers import meta
from kns.agent.controllers.writes import RecordEvent
from kns.agent.store import Store
from kns.kinds import objects
from kns.kinds.common import Object
from kns.kinds.resources import EVENT, NAMESPACE

#: the API server's --event-ttl
TTL_SECONDS = 3600
#: so many events that differ in their message alone, within so many seconds, become one
SIMILAR, SIMILAR_SECONDS = 10, 600
#: how many objects and reasons are remembered (maxLruCacheEntries)
_REMEMBERED = 4096
_COMBINED = "(combined from similar events): "


class Recorder:
    """Writes events into a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._similar: OrderedDict[tuple[str, ...], dict[str, float]] = OrderedDict()
        self._expired_at = 0.0

    def record(self, record: RecordEvent, now: float) -> None:
        """Tell an event: a new one, or once more one that was told before."""
        message = self._combined(record, now)
        key = "|".join((*_source(record), message))
        about = record.object
        name = f"{objects.name_of(about)}.{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        namespace = meta.namespace(about) or "default"
        known = self._store.get(EVENT, namespace, name)
        if meta.is_deleted(self._store.get(NAMESPACE, "", namespace) or {}):
            return  # nothing new is made there
        if known is None:
            text = record.message if message != _COMBINED else f"{_COMBINED}{record.message}"
            self._store.create(EVENT, _event(record, name, text, now))
            return
        if now < objects.seconds(objects.text(known, "lastTimestamp")) + record.every:
            return
        again = objects.with_part(known, objects.number(known, "count", default=1) + 1, "count")
        again = objects.with_part(again, meta.stamp(now), "lastTimestamp")
        if message == _COMBINED:
            again = objects.with_part(again, f"{_COMBINED}{record.message}", "message")
        self._store.update(EVENT, again)

    def expire(self, now: float) -> None:
        """Remove the events that nobody has told again for an hour; looks once a minute."""
        if now - self._expired_at < 60:
            return
        self._expired_at = now
        for event in self._store.list(EVENT):
            if objects.seconds(objects.text(event, "lastTimestamp")) + TTL_SECONDS < now:
                self._store.delete(EVENT, *objects.key_of(event))

    def _combined(self, record: RecordEvent, now: float) -> str:
        """The message, or what stands for all of its kind (EventAggregate)."""
        key = _source(record)
        known = self._similar.setdefault(key, {})
        self._similar.move_to_end(key)
        if len(self._similar) > _REMEMBERED:
            self._similar.popitem(last=False)
        for message, at in list(known.items()):
            if now - at > SIMILAR_SECONDS:
                del known[message]
        if record.message in known or len(known) < SIMILAR:
            known[record.message] = now
            return record.message
        return _COMBINED


def _source(record: RecordEvent) -> tuple[str, ...]:
    about = record.object
    return (
        meta.kind(about),
        meta.namespace(about),
        objects.name_of(about),
        meta.uid(about),
        record.component,
        record.type,
        record.reason,
    )


def _event(record: RecordEvent, name: str, message: str, now: float) -> Object:
    about = record.object
    involved = {
        "apiVersion": objects.text(about, "apiVersion"),
        "kind": meta.kind(about),
        "namespace": meta.namespace(about),
        "name": objects.name_of(about),
        "uid": meta.uid(about),
        "resourceVersion": objects.text(about, "metadata", "resourceVersion"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": meta.namespace(about) or "default"},
        "involvedObject": {key: each for key, each in involved.items() if each},
        "reason": record.reason,
        "message": message,
        "type": record.type,
        "count": 1,
        "firstTimestamp": meta.stamp(now),
        "lastTimestamp": meta.stamp(now),
        "source": {"component": record.component},
        "reportingComponent": record.component,
        "reportingInstance": "",
    }
