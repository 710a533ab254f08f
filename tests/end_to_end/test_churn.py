"""`kns churn` on a lab that changes: what is lost, by which kind, and why."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kns.compile import names
from kns.engine.down import down
from kns.engine.labs import running
from kns.engine.up import up
from kns.errors import UsageError
from kns.experiment.churn.drive import scenario_change
from kns.experiment.churn.model import ChurnResult, KindResult
from kns.experiment.churn.run import Change, Wanted, churn, command_change, waiting
from kns.experiment.churn.scenarios import ChurnScenario, Manner
from kns.kernel import processes
from kns.kernel.processes import Context
from kns.probe.load.model import BreakCause, Cause, Kind
from tests.cli.process import kns

pytestmark = pytest.mark.kernel

LAB = "churn-lab"
PORTS = "containers: [{name: web, ports: [{port: 8080}, {port: 8080, protocol: UDP}]}]"
HEAD = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: churn-lab}
networking: {dns: {enabled: false}, kubeProxy: {version: "RELEASE"}}
nodes: [{name: node1}, {name: node2}]
services:
- name: web
  selector: {app: web}
  ports:
  - {name: tcp, port: 80, targetPort: 8080}
  - {name: udp, port: 80, targetPort: 8080, protocol: UDP}
pods:
- {name: client, node: node1}
- {name: bystander, node: node1}
"""
#: an answer may take long on a busy machine: what is lost here is lost for good
PATIENT = Wanted(rate=30.0, held=6, flows=6, timeout=10.0, before=0.5, after=1.0)
#: where losses belong to the matter, each is waited for
BRIEF = replace(PATIENT, timeout=3.0)
#: where pods go, and connections with them: those are given up after as many seconds of silence
MIDDLING = replace(PATIENT, timeout=5.0, before=2.0)
#: of a hundred answers, how many may come late: the agent that serves has changes to carry out, and
#: on a busy machine that takes seconds, in which the queues of its sockets fill
LATE_PERCENT = 5


def pod(name: str, node: str = "node1", more: str = "") -> str:
    return f"- {{name: {name}, node: {node}, labels: {{app: web}}, {PORTS}{more}}}\n"


class Lab:
    """The lab in one form after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, *pods: str, release: str = "1.37") -> Path:
        """Its file with these backends."""
        text = HEAD.replace("RELEASE", release) + "".join(pods)
        file = self.folder / f"{abs(hash(text))}.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    def to(self, *pods: str, release: str = "1.37") -> Change:
        """The change to these backends."""
        return command_change(f"kns up {self.file(*pods, release=release)}", LAB)

    def start(self, *pods: str, release: str = "1.37") -> None:
        """The lab as it is before a change, without what the last test's losses left behind.

        A connection that nobody answered stays in conntrack for two minutes. Who then gets its
        port is led to the pod that is gone, and told after three seconds: host unreachable.
        """
        up(self.file(*pods, release=release))
        for node in ("node1", "node2"):
            where = Context(names.netns_of_node(LAB, node))
            done = processes.run(["conntrack", "-D", "-p", "tcp"], context=where, timeout=30)
            assert done.returncode in {0, 1}, done.stderr  # 1: there is none

    def churn(
        self, change: Change, source: str = "client", wanted: Wanted = PATIENT
    ) -> ChurnResult:
        return churn(running(LAB), (source, "web"), wanted, change)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    try:
        yield Lab(tmp_path_factory.mktemp("lab"))
    finally:
        down(LAB)


def kinds(found: ChurnResult) -> dict[Kind, KindResult]:
    return {item.kind: item for item in found.kinds}


def backends(found: ChurnResult) -> dict[str, tuple[bool, bool]]:
    """Who answered before the change, and who after it."""
    return {item.name: (item.before > 0, item.after > 0) for item in found.backends}


def lost_for_good(found: ChurnResult, *wanted: Kind) -> dict[Kind, tuple[int, dict[Cause, int]]]:
    """How many are lost, and why, where somebody was refused or reset, or many had no answer."""
    chosen = {kind: kinds(found)[kind] for kind in wanted or Kind}
    return {
        kind: (item.lost, item.causes)
        for kind, item in chosen.items()
        if not set(item.causes) <= {Cause.TIMEOUT}
        or item.lost * 100 > len(item.exchanges) * LATE_PERCENT
    }


def test_nothing_is_lost_where_nothing_changes(lab: Lab) -> None:
    lab.start(pod("web-1"), pod("web-2", "node2"))
    found = lab.churn(waiting(1.0))
    assert (found.events, found.notes) == ((), ())
    assert set(kinds(found)) == set(Kind)
    assert not lost_for_good(found)
    assert (kinds(found)[Kind.HELD].streams, kinds(found)[Kind.FLOW].streams) == (6, 6)
    assert set(backends(found)) == {"web-1", "web-2"}
    sent = len(kinds(found)[Kind.CONNECTION].exchanges)
    assert abs(sent - found.seconds * 30) <= 2


def test_an_endpoint_that_becomes_ready_costs_nothing(lab: Lab) -> None:
    lab.start(pod("web-1"), pod("web-2", "node2", ", ready: false"))
    found = lab.churn(lab.to(pod("web-1"), pod("web-2", "node2")))
    assert not lost_for_good(found)
    assert backends(found) == {"web-1": (True, True), "web-2": (False, True)}


def test_an_endpoint_that_becomes_unready_keeps_its_connections(lab: Lab) -> None:
    """TCP connections stay with the pod that they have; UDP flows move, as kube-proxy cleans up."""
    lab.start(pod("web-1"), pod("web-2", "node2"))
    found = lab.churn(lab.to(pod("web-1"), pod("web-2", "node2", ", ready: false")))
    assert not lost_for_good(found)
    end = found.events[-1].at
    late = {(i.kind, i.backend) for i in found.exchanges if i.sent > end}
    assert (Kind.HELD, "web-2") in late
    assert {name for kind, name in late if kind is not Kind.HELD} == {"web-1"}


def test_a_held_connection_stays_with_a_terminating_pod(lab: Lab) -> None:
    lab.start(pod("web-1"), pod("web-2", "node2"))
    found = lab.churn(lab.to(pod("web-1"), pod("web-2", "node2", ", terminating: true")))
    assert not lost_for_good(found)
    end = found.events[-1].at
    late = {(i.kind, i.backend) for i in found.exchanges if i.sent > end}
    assert (Kind.HELD, "web-2") in late
    assert (Kind.CONNECTION, "web-2") not in late


def test_a_pod_that_is_removed_at_once_breaks_its_held_connections(lab: Lab) -> None:
    lab.start(pod("web-1"), pod("web-2", "node2"))
    # a connection is given up after three seconds of silence
    found = lab.churn(lab.to(pod("web-1")), wanted=replace(BRIEF, after=6.0))
    held = [i for i in found.exchanges if i.kind is Kind.HELD]
    before = {i.stream: i.backend for i in held if i.answered and i.ended < found.events[0].at}
    assert {item.stream for item in found.breaks} == {s for s, n in before.items() if n == "web-2"}
    assert {item.how for item in found.breaks} <= {BreakCause.SILENCE, BreakCause.RESET}
    assert {item.backend for item in found.breaks} == {"web-2"}
    assert all(found.again(item) is not None for item in found.breaks)
    assert backends(found)["web-2"] == (True, False)


def stale(found: ChurnResult) -> list[str]:
    return [note for note in found.notes if "no endpoint any more" in note]


def test_a_service_that_loses_its_last_endpoint_refuses(lab: Lab) -> None:
    """The most part of the refusals comes to nobody, as Linux limits ICMP errors: that is told."""
    lab.start(pod("web-1", "node2"))
    found = lab.churn(lab.to(), wanted=BRIEF)
    end = found.events[-1].at
    for kind in Kind:
        late = {i.cause for i in found.exchanges if i.kind is kind and i.sent > end}
        assert late <= {Cause.REFUSED, Cause.TIMEOUT, Cause.UNREACHABLE}, kind
    assert Cause.REFUSED in kinds(found)[Kind.CONNECTION].causes
    assert stale(found) == []
    assert [note for note in found.notes if "icmp_ratelimit" in note] != []


def test_a_udp_flow_is_stuck_where_conntrack_is_not_cleaned_up(lab: Lab) -> None:
    """kube-proxy 1.32 to 1.36 keeps the entries of a service that has lost its last endpoint."""
    lab.start(pod("web-1", "node2"), release="1.34")
    gone = next(p for p in running(LAB).cluster.pods if p.name == "web-1").addresses[0]
    found = lab.churn(lab.to(release="1.34"), wanted=BRIEF)
    end = found.events[-1].at
    assert not any(i.answered for i in found.exchanges if i.kind is Kind.FLOW and i.sent > end)
    (note,) = stale(found)
    words = re.sub(r"\d+ entries", "N entries", note)
    assert words.startswith(f"node1's conntrack still leads UDP flows (N entries) to {gone}, which")
    assert words.endswith("is no endpoint any more: kube-proxy 1.34 does not delete them")


@pytest.mark.parametrize("cleans_up", [True, False])
def test_a_udp_flow_to_a_killed_pod_moves_if_conntrack_is_cleaned_up(
    lab: Lab,
    cleans_up: bool,  # noqa: FBT001
) -> None:
    """Without clean-up flows are lost for as long as they go on, though others would answer."""
    lab.start(pod("web-1", "node2"), pod("web-2", "node2"))
    gone = next(p for p in running(LAB).cluster.pods if p.name == "web-1").addresses[0]
    scenario = (ChurnScenario.POD_KILL, Manner.ABRUPT)
    wanted = replace(BRIEF, held=0, flows=24, after=4.0)
    with scenario_change(running(LAB), ("client", "web"), *scenario, cleans_up=cleans_up) as change:
        found = churn(running(LAB), ("client", "web"), wanted, change)
    flows = [item for item in found.exchanges if item.kind is Kind.FLOW]
    end = found.events[-1].at
    late = {item.stream for item in flows if item.answered and item.sent > end}
    before = [item for item in flows if item.answered and item.sent < found.events[0].at]
    to_gone = {item.stream for item in before if item.backend == "web-1"}
    assert to_gone
    if cleans_up:
        assert late >= to_gone
        assert stale(found) == []
    else:
        assert not late & to_gone
        (note,) = stale(found)
        assert f"to {gone}, which" in note
        assert note.endswith("is no endpoint any more: the lab has no clean-up of conntrack")


def test_a_service_without_endpoints_refuses_the_first_connections_at_once(lab: Lab) -> None:
    """The rest waits for Linux' next ICMP error."""
    lab.start()
    found = lab.churn(waiting(0.1), wanted=replace(PATIENT, rate=2.0, held=0, flows=0, timeout=0.9))
    connections = kinds(found)[Kind.CONNECTION].exchanges
    assert connections[0].cause is Cause.REFUSED
    assert not found.ok


# -- scenarios -------------------------------------------------------------------------------------


def driven(
    scenario: ChurnScenario, style: Manner = Manner.GRACEFUL, wanted: Wanted = MIDDLING
) -> ChurnResult:
    found, ends = running(LAB), ("client", "web")
    with scenario_change(found, ends, scenario, style) as change:
        return churn(found, ends, replace(wanted, held=8, after=7.0), change)


def lost(found: ChurnResult) -> dict[Kind, int]:
    return {item.kind: item.lost for item in found.kinds}


def test_no_request_is_lost_in_a_graceful_rolling_update(lab: Lab) -> None:
    """Held connections outlive no pod; requests and datagrams never see one go."""
    lab.start(pod("web-1"), pod("web-2", "node2"))
    found = driven(ChurnScenario.ROLLING_UPDATE)
    assert found.failure == ""
    assert not lost_for_good(found, Kind.CONNECTION, Kind.QUERY)
    assert {item.backend for item in found.breaks} == {"web-1", "web-2"}
    assert backends(found) == {
        "web-1": (True, False),
        "web-2": (True, False),
        "web-3": (False, True),
        "web-4": (False, True),
    }
    # a connection goes on with a pod that terminates, until it is gone
    ending = next(e.at for e in found.events if e.text == "web-1 terminates, and still serves")
    gone = next(e.at for e in found.events if e.text == "web-1 is gone")
    late = {i.kind for i in found.exchanges if i.backend == "web-1" and ending < i.sent < gone}
    assert Kind.HELD in late
    assert {item.ended > gone for item in found.breaks if item.backend == "web-1"} == {True}


def test_requests_are_lost_in_an_abrupt_rolling_update(lab: Lab) -> None:
    lab.start(pod("web-1"), pod("web-2", "node2"))
    found = driven(ChurnScenario.ROLLING_UPDATE, Manner.ABRUPT, BRIEF)
    assert found.failure == ""
    assert sum(lost(found).values()) > 0
    causes = {cause for losses in found.losses for item in losses for cause in item.causes}
    assert causes <= {Cause.REFUSED, Cause.TIMEOUT, Cause.UNREACHABLE, Cause.RESET}
    assert {cause for item in found.losses[0] for cause in item.causes} <= {Cause.TIMEOUT}
    assert all(losses for losses in found.losses[1:3])


@pytest.mark.parametrize("scenario", [ChurnScenario.SCALE, ChurnScenario.ENDPOINT_FLAP])
def test_nothing_is_lost_where_readiness_leads(lab: Lab, scenario: ChurnScenario) -> None:
    lab.start(pod("web-1"), pod("web-2", "node2"))
    found = driven(scenario)
    assert found.failure == ""
    assert not lost_for_good(found, Kind.CONNECTION, Kind.QUERY)


def test_a_pod_that_is_killed_is_replaced(lab: Lab) -> None:
    lab.start(pod("web-1"), pod("web-2", "node2"))
    found = driven(ChurnScenario.POD_KILL, wanted=BRIEF)
    assert found.failure == ""
    assert backends(found)["web-1"] == (True, False)
    assert backends(found)["web-3"] == (False, True)


def test_a_node_that_fails_costs_until_it_is_noticed(lab: Lab) -> None:
    lab.start(pod("web-1"), pod("web-2", "node2"))
    found, ends = running(LAB), ("client", "web")
    wanted = replace(PATIENT, timeout=0.9, after=4.0)
    with scenario_change(found, ends, ChurnScenario.NODE_FAIL) as change:
        result = churn(found, ends, wanted, change)
    assert Cause.TIMEOUT in kinds(result)[Kind.CONNECTION].causes
    assert {item.backend for item in result.breaks} == {"web-2"}
    assert backends(result)["web-2"] == (True, True)


def test_the_lab_is_as_its_file_says_after_a_scenario(lab: Lab) -> None:
    lab.start(pod("web-1"), pod("web-2", "node2"))
    before = running(LAB).paths.spec.read_text(encoding="utf-8")
    driven(ChurnScenario.POD_KILL, wanted=BRIEF)
    assert running(LAB).paths.spec.read_text(encoding="utf-8") == before
    assert kns("status", LAB).returncode == 0


@pytest.mark.parametrize(
    ("pods", "target", "scenario", "message"),
    [
        ((), "web", ChurnScenario.SCALE, "no pod behind default/web is ready"),
        (("web-1",), "bystander:8080", ChurnScenario.SCALE, "is no service"),
        (("web-1",), "web", ChurnScenario.NODE_FAIL, "are on node1, where the traffic comes from"),
    ],
)
def test_a_scenario_that_can_not_happen_is_told(
    lab: Lab, pods: tuple[str, ...], target: str, scenario: ChurnScenario, message: str
) -> None:
    lab.start(*map(pod, pods))
    found = running(LAB)
    with (
        pytest.raises(UsageError, match=message),
        scenario_change(found, ("client", target), scenario),
    ):
        pass


# -- the command -----------------------------------------------------------------------------------


def test_the_command_reports_and_draws(lab: Lab, tmp_path: Path) -> None:
    lab.start(pod("web-1"), pod("web-2", "node2"))
    picture = tmp_path / "churn.svg"
    change = ["--while", "kns get pods web-1 -o json", "--timeout", "10", "--after", "500ms"]
    done = kns("churn", "client", "web", "-l", LAB, *change, "-o", "json", "--svg", str(picture))
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["failure"]) == (0, True, "")
    assert [event["event"][:8] for event in found["events"]] == ["starts: ", "ends"]
    assert picture.read_text(encoding="utf-8").startswith("<svg")


def test_a_change_that_fails_is_no_success(lab: Lab) -> None:
    lab.start(pod("web-1"))
    change = ("--while", "echo no >&2; exit 7", "--timeout", "5", "--before", "100ms")
    done = kns("churn", "client", "web", "-l", LAB, *change, "--after", "100ms")
    assert done.returncode == 1
    assert "ends with exit code 7" in done.stdout
    assert "echo no >&2; exit 7: no" in done.stdout


@pytest.mark.parametrize(
    ("target", "message"),
    [("nobody", "nobody"), ("https://web/", "only plain HTTP"), ("node1", "no address and port")],
)
def test_what_can_not_be_asked_is_told(lab: Lab, target: str, message: str) -> None:
    lab.start(pod("web-1"))
    with pytest.raises(UsageError, match=message):
        churn(running(LAB), ("client", target), PATIENT, waiting(0.1))


def test_one_change_has_to_be_named(lab: Lab) -> None:
    lab.start(pod("web-1"))
    done = kns("churn", "client", "web", "-l", LAB)
    assert done.returncode == 2
    assert "--while 'CMD', --scenario NAME or --for TIME" in done.stderr
