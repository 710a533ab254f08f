"""What built-in servers have said."""

from __future__ import annotations

from kns.agent.serve.server_logs import KEPT, LogLine, ServerLogs


def test_the_last_lines_of_each_container_are_kept() -> None:
    logs = ServerLogs(lambda: 5.0)
    for number in range(KEPT + 3):
        logs.note("default/a/web", f"line {number}")
    logs.note("default/b/web", "other")
    assert len(logs.lines("default/a/web")) == KEPT
    assert logs.lines("default/a/web")[-1] == LogLine(5.0, f"line {KEPT + 2}")
    assert logs.lines("default/c/web") == ()
    logs.forget({"default/b/web"})
    assert logs.lines("default/a/web") == ()
    assert [line.text for line in logs.lines("default/b/web")] == ["other"]


def test_who_follows_a_container_gets_its_lines_alone() -> None:
    logs = ServerLogs(lambda: 5.0)
    told: list[LogLine] = []
    unsubscribe = logs.subscribe("default/a/web", told.append)
    logs.note("default/a/web", "one")
    logs.note("default/b/web", "other")
    unsubscribe()
    logs.note("default/a/web", "two")
    assert told == [LogLine(5.0, "one")]
