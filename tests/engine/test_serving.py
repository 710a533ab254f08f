"""What should listen and run against what does: the operations and their words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kns.compile.lab import LabState
from kns.compile.listeners import Identity, Listener, ListenSocket
from kns.compile.programs.program import Program
from kns.engine.change_lines import serving_lines
from kns.engine.orders import AgentStatus, ContainerState, ContainerStatus
from kns.engine.serving import plan_serving
from kns.state.model import HostState

WEB = Listener(ListenSocket("kns.lab.b", "0.0.0.0", 80), Identity("b", "default", "b", "n", "web"))
SIDE = Listener(ListenSocket("kns.lab.b", "::", 81), Identity("b", "default", "b", "n", "side"))
JOB = Program("lab/default/b/job", "kns.lab.b", "job", ("sleep", "1"), "b", files=(("/f", "x"),))
STATE = LabState(HostState(), (WEB, SIDE), (JOB,))
JOB_STATUS = ContainerStatus(
    JOB.key, JOB.netns, JOB.digest, JOB.files_digest, ContainerState.RUNNING, 7, 0, False, ""
)
STATUS = AgentStatus(
    pid=1,
    rss_kb=1,
    listeners={str(item.socket): item.digest for item in (WEB, SIDE)},
    containers=(JOB_STATUS,),
    errors=(),
    addresses={},
)


def lines(desired: LabState, observed: AgentStatus | None) -> list[str]:
    return list(serving_lines("lab", plan_serving(desired, observed)))


def test_a_lab_that_serves_all_it_should_needs_nothing() -> None:
    assert lines(STATE, STATUS) == []


def test_an_agent_that_is_yet_to_be_started_does_it_all() -> None:
    assert lines(STATE, None) == [
        "b: open tcp 0.0.0.0:80 for default/b/web",
        "b: open tcp [::]:81 for default/b/side",
        "b: start default/b/job",
    ]


def test_what_goes_is_told_first() -> None:
    assert lines(LabState(HostState(), (SIDE,), ()), STATUS) == [
        "b: close tcp 0.0.0.0:80",
        "b: stop default/b/job",
    ]


@pytest.mark.parametrize(
    ("program", "verb"),
    [
        (replace(JOB, command=("sleep", "2")), "restart"),
        (replace(JOB, env=(("A", "b"),)), "restart"),
        (replace(JOB, netns="kns.lab.c"), "restart"),
        (replace(JOB, files=(("/f", "y"),)), "reload"),
    ],
)
def test_a_program_that_changes(program: Program, verb: str) -> None:
    (line,) = lines(replace(STATE, programs=(program,)), STATUS)
    assert line.partition(": ")[2] == f"{verb} default/b/job"


def test_a_server_that_answers_otherwise_stays_open() -> None:
    other = replace(WEB, subject=Identity("b", "default", "b", "n", "web", ready=False))
    assert lines(replace(STATE, listeners=(other, SIDE)), STATUS) == [
        "b: update tcp 0.0.0.0:80 for default/b/web"
    ]


def test_of_two_on_one_socket_the_first_counts() -> None:
    second = replace(SIDE, socket=WEB.socket)
    assert lines(replace(STATE, listeners=(WEB, second, SIDE)), STATUS) == []
