"""`kns status`: what it says of objects that are left out."""

from __future__ import annotations

from kns.cluster.resolve import resolve
from kns.compile.paths import LabPaths
from kns.engine.labs import RunningLab
from kns.engine.orders import AgentStatus, Failure
from kns.engine.status import LabStatus
from kns.kinds.load import load_lab_text
from kns.report.status import status_json, status_text

LAB = "apiVersion: kns/v1\nkind: Lab\nmetadata: {name: lab}\nnodes: [{name: node1}]\n"


def status(*left_out: Failure) -> LabStatus:
    cluster = resolve(load_lab_text(LAB).spec).cluster
    agent = AgentStatus(7, 4096, {}, (), (), {}, left_out)
    return LabStatus(RunningLab("lab", cluster, LabPaths("lab")), (), 7, agent, "", 2)


def test_what_is_left_out_is_told_with_why() -> None:
    found = status(Failure("service/lb2", "no address is free"))
    assert status_text(found).endswith(
        "left out, and tried again with each change:\n  service/lb2: no address is free\n"
    )
    assert status_json(found)["left_out"] == ["service/lb2: no address is free"]


def test_nothing_is_said_where_nothing_is_left_out() -> None:
    assert "left out" not in status_text(status())
    assert status_json(status())["left_out"] == []
