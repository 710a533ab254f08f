"""Events are counted, combined and forgotten."""

from __future__ import annotations

from kns.agent.controllers.events import TTL_SECONDS, Recorder
from kns.agent.controllers.writes import RecordEvent
from kns.agent.store import Store
from kns.kinds import objects
from kns.kinds.resources import EVENT
from tests.agent.controllers.cluster import bare_pod

NOW = 1_800_000_000.0


def record(message: str = "Back-off restarting failed container") -> RecordEvent:
    return RecordEvent(bare_pod("web"), "BackOff", message, "kubelet", "Warning")


def test_the_same_event_again_is_counted() -> None:
    store = Store()
    recorder = Recorder(store)
    for second in range(3):
        recorder.record(record(), NOW + second)
    (event,) = store.list(EVENT)
    assert event["count"] == 3
    assert event["firstTimestamp"] == "2027-01-15T08:00:00Z"
    assert event["lastTimestamp"] == "2027-01-15T08:00:02Z"
    assert objects.text(event, "involvedObject", "name") == "web"


def test_the_eleventh_of_a_kind_stands_for_all_that_follow() -> None:
    store = Store()
    recorder = Recorder(store)
    for number in range(15):
        recorder.record(record(f"try {number}"), NOW)
    combined = [item for item in store.list(EVENT) if "combined" in objects.text(item, "message")]
    assert len(store.list(EVENT)) == 11
    (last,) = combined
    assert last["message"] == "(combined from similar events): try 14"
    assert last["count"] == 5


def test_an_event_is_forgotten_after_an_hour() -> None:
    store = Store()
    recorder = Recorder(store)
    recorder.record(record(), NOW)
    recorder.expire(NOW + TTL_SECONDS)
    assert store.list(EVENT)
    recorder.expire(NOW + TTL_SECONDS + 61)
    assert not store.list(EVENT)
