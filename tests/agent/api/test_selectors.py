"""Label and field selectors."""

from __future__ import annotations

import pytest

from kns.agent.api.selectors import selector
from kns.agent.api.status import StatusError
from kns.kinds.common import Object
from kns.kinds.resources import NODE, POD

OBJ: Object = {
    "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web", "n": "5"}},
    "spec": {"nodeName": "node1", "hostNetwork": True},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("labels", "admitted"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,n", True),
        ("app!=web", False),
        ("app in (web, db)", True),
        ("app notin (web)", False),
        ("tier notin (web)", True),
        ("tier", False),
        ("!tier", True),
        ("app in (a,b),n=5", False),
        ("n>4", True),
        ("n<5", False),
        ("app>4", False),
    ],
)
def test_labels(labels: str, *, admitted: bool) -> None:
    assert selector(POD, labels, "").admits(OBJ) is admitted


@pytest.mark.parametrize(
    ("fields", "admitted"),
    [
        ("metadata.name=web", True),
        ("spec.nodeName!=node1", False),
        ("status.phase=Running,spec.nodeName=node1", True),
        ("spec.hostNetwork=true", True),
        ("status.podIP=", True),
    ],
)
def test_fields(fields: str, *, admitted: bool) -> None:
    assert selector(POD, "", fields).admits(OBJ) is admitted


@pytest.mark.parametrize(
    ("labels", "fields"),
    [("app=(", ""), ("=x", ""), ("", "spec.nodeName"), ("", "spec.dnsPolicy=x"), ("", "a>b")],
)
def test_what_can_not_be_parsed_is_refused(labels: str, fields: str) -> None:
    with pytest.raises(StatusError) as caught:
        selector(POD, labels, fields)
    assert caught.value.code == 400


def test_a_field_is_known_by_its_kind() -> None:
    with pytest.raises(StatusError, match="field label not supported"):
        selector(NODE, "", "spec.nodeName=x")
