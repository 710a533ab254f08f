"""`kns get` of kinds of which the agent holds the objects."""

from __future__ import annotations

from kns.kinds.common import Object
from kns.kinds.objects import mappings, name_of
from kns.kinds.resources import CONFIG_MAP, DEPLOYMENT, EVENT, NODE
from kns.report.get import Columns, Selection
from kns.report.resources import resource_objects, resource_table
from kns.report.table import prefixed

NOW = 1_767_323_045.0


def deployment(name: str, namespace: str = "default") -> Object:
    meta: Object = {"name": name, "namespace": namespace, "labels": {"app": name}}
    meta["creationTimestamp"] = "2026-01-02T03:00:00Z"
    status: Object = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "c"}]}}},
        "status": status,
    }


OBJECTS: tuple[Object, ...] = (
    deployment("web"),
    deployment("db"),
    deployment("web", "shop"),
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}},
)


def test_columns_are_kubectls() -> None:
    table = resource_table(DEPLOYMENT, OBJECTS, Selection(), Columns(), NOW)
    assert table.heads == ("NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE")
    assert [row[:3] for row in table.rows] == [("db", "1/2", "2"), ("web", "1/2", "2")]
    wide = resource_table(DEPLOYMENT, OBJECTS, Selection(), Columns(wide=True, labels=True), NOW)
    assert wide.heads[5:] == ("CONTAINERS", "IMAGES", "SELECTOR", "LABELS")
    assert wide.rows[0][-1] == "app=db"


def test_of_every_namespace() -> None:
    table = resource_table(DEPLOYMENT, OBJECTS, Selection(""), Columns(), NOW)
    assert [row[:2] for row in table.rows] == [
        ("default", "db"),
        ("default", "web"),
        ("shop", "web"),
    ]
    nodes = resource_table(NODE, OBJECTS, Selection(""), Columns(), NOW)
    assert nodes.heads[0] == "NAME"


def test_objects_are_a_list_or_the_one_that_is_named() -> None:
    found = resource_objects(DEPLOYMENT, OBJECTS, Selection("shop", ("web",)))
    assert (name_of(found), found["kind"]) == ("web", "Deployment")
    assert resource_objects(CONFIG_MAP, OBJECTS, Selection())["items"] == []


def event(name: str, last: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "web-1"},
        "lastTimestamp": last,
    }


def test_events_come_the_oldest_first_as_by_kns_events() -> None:
    events = (event("a", "2026-01-02T03:04:02Z"), event("b", "2026-01-02T03:04:01Z"))
    table = resource_table(EVENT, events, Selection(), Columns(wide=True), NOW)
    assert [row[table.heads.index("NAME")] for row in table.rows] == ["b", "a"]
    listed = mappings(resource_objects(EVENT, events, Selection()), "items")
    assert [name_of(item) for item in listed] == ["b", "a"]


def test_kinds_are_told_apart_where_there_is_a_column_of_names() -> None:
    events = (event("a", "2026-01-02T03:04:02Z"),)
    table = resource_table(EVENT, events, Selection(), Columns(), NOW)
    assert prefixed(table, "event/") == table
    wide = resource_table(EVENT, events, Selection(), Columns(wide=True), NOW)
    assert prefixed(wide, "event/").rows[0][-1] == "event/a"
