"""Faults of a running lab, set and ended by commands, as whole processes on the running kernel."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from kns.compile.names import netns_of_node
from kns.compile.paths import LabPaths
from kns.engine import agent
from kns.engine.faults import change
from kns.engine.orders import AgentStatus, ContainerState, GetStatus
from kns.kernel.processes import Context, run
from kns.kinds.fault_edits import with_link_up
from tests.cli.process import KNS, kns, lab_text
from tests.vm import features

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("lab")]

LAB = "cli-faults"


@pytest.fixture(scope="module", name="lab")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("lab") / "lab.yaml"
    file.write_text(lab_text(LAB), encoding="utf-8")
    try:
        assert kns("up", str(file)).returncode == 0
        yield file
    finally:
        kns("down", LAB)


@pytest.fixture(autouse=True)
def _sound_again() -> Iterator[None]:
    yield
    assert faults("restore", "--all") == {}
    assert status()["healthy"]


def faults(*words: str) -> dict[str, list[object]]:
    """The faults after a command, which must succeed."""
    done = kns(*words, "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, list[object]] = json.loads(done.stdout)["faults"]
    return found


def status() -> dict[str, object]:
    found: dict[str, object] = json.loads(kns("status", LAB, "-o", "json").stdout)
    return found


def link(place: str) -> str:
    return kns("exec", place, "--", "ip", "-br", "link", "show", "eth0").stdout


@pytest.mark.parametrize("place", ["pod2", "node2"])
def test_a_pulled_cable_has_no_carrier_until_it_is_put_back(place: str) -> None:
    kind = "pod" if place == "pod2" else "node"
    assert faults("fail", place) == {"linksDown": [f"{kind}/{place}"]}
    assert "NO-CARRIER" in link(place)
    assert (status()["healthy"], status()["drift"]) == (True, [])
    failed = kns("probe", "pod1", "pod2")
    assert failed.returncode == 1
    assert f"as it must be: {place}'s link is down" in failed.stdout
    assert kns("verify").returncode == 0
    assert faults("restore", place) == {}
    assert "LOWER_UP" in link(place)
    assert kns("probe", "pod1", "pod2").returncode == 0


def test_a_fault_that_there_is_changes_nothing() -> None:
    faults("fail", "pod2")
    done = kns("fail", "pod2")
    assert (done.returncode, done.stdout) == (0, f"{LAB}: link down: pod2\n")


def test_somebody_who_puts_the_cable_back_by_hand_is_drift() -> None:
    faults("fail", "node2")
    assert kns("exec", "fabric", "--", "ip", "link", "set", "node2", "up").returncode == 0
    assert status()["drift"] == ["fabric: set node2 down"]
    assert kns("exec", "fabric", "--", "ip", "link", "set", "node2", "down").returncode == 0


def test_services_leave_out_a_pod_that_is_not_ready() -> None:
    assert faults("unready", "pod2") == {"unready": ["pod/pod2"]}
    shown = kns("probe", "pod1", "svc-a", "--count", "8", "-o", "json")
    assert {item["backend"] for item in json.loads(shown.stdout)["attempts"]} == {"pod1"}
    assert kns("probe", "pod1", "pod2").returncode == 0
    assert faults("unready", "pod2", "--undo") == {}


def test_a_rate_holds_back_the_packets_of_its_way_alone() -> None:
    assert faults("netem", "set", "pod1", "svc/svc-a", "--rate", "10mbit") == {
        "netem": [{"from": "pod/pod1", "to": "svc/svc-a", "rate": "10mbit"}]
    }
    assert (status()["healthy"], status()["drift"]) == (True, [])
    for source in ("node1", "pod1"):
        before = sent_by_class()
        assert kns("probe", source, "pod2").returncode == 0
        assert (sent_by_class() > before) == (source == "pod1")
    assert kns("verify").returncode == 0
    assert faults("netem", "clear", "pod1", "svc/svc-a") == {}


def sent_by_class() -> int:
    """Packets that the classes of node2's port to pod2 have sent."""
    shown = kns("exec", "node2", "--", "sh", "-c", "for l in /sys/class/net/veth*; do "
                "tc -s class show dev ${l##*/}; done").stdout  # fmt: skip
    return sum(int(n) for n in re.findall(r"Sent \d+ bytes (\d+) pkt", shown))


def test_what_the_command_has_carried_out_its_agent_takes_over() -> None:
    """Made again, a queue would lose the packets in it, and its counters."""
    until(LabPaths(LAB).objects.exists)
    inside = ("ip", "netns", "exec", f"kns.{LAB}.node1", "tc", "monitor")
    with subprocess.Popen(inside, stdout=subprocess.PIPE, text=True) as monitor:
        try:
            until(partial(listens, monitor.pid))
            for rate in ("7mbit", "8mbit"):
                faults("netem", "set", "node1", "any", "--rate", rate)
                until(partial(is_told, f"netem node1 → any: rate {rate}"))
        finally:
            monitor.terminate()
        assert monitor.stdout is not None
        told = [line.split() for line in monitor.stdout if line.startswith("qdisc ")]
    made = [(words[1], words[words.index("rate") + 1 :][:1]) for words in told if "rate" in words]
    assert made == [("tbf", ["7Mbit"]), ("tbf", ["8Mbit"])]
    assert [words[1] for words in told if "root" in words] == ["htb"]


def is_told(fault: str) -> bool:
    """Whether the agent has told of it: once its own round is over."""
    return fault in kns("events").stdout


def listens(pid: int) -> bool:
    """Whether somebody in the netns of the process is told of what becomes of links there."""
    lines = Path(f"/proc/{pid}/net/netlink").read_text(encoding="ascii").splitlines()[1:]
    sockets = (line.split() for line in lines)
    return any(int(protocol) == 0 and int(groups, 16) for _, protocol, _, groups, *_ in sockets)


def test_a_rate_that_somebody_takes_off_is_drift() -> None:
    faults("netem", "set", "node1", "any", "--rate", "5mbit")
    assert kns("exec", "node1", "--", "tc", "qdisc", "del", "dev", "eth0", "root").returncode == 0
    assert status()["drift"] == ["node1: tc on eth0: tbf rate 5000000bit burst 16384 limit 81920"]
    assert faults("netem", "set", "node1", "any", "--rate", "6mbit")["netem"] == [
        {"from": "node/node1", "rate": "6mbit"}
    ]


@pytest.mark.parametrize(
    ("place", "asking", "address"),
    [("pod2", "node2", "10.244.1.2"), ("node2", "node1", "172.18.0.3")],
)
def test_who_has_asked_in_vain_is_answered_when_the_cable_is_back(
    place: str, asking: str, address: str
) -> None:
    """The kernel asks once a second: packets would wait that long, or be told EHOSTUNREACH."""
    faults("fail", place)
    ping = [*KNS, "exec", "-l", LAB, asking, "--", "ping", "-c", "200", "-i", "0.3", "-W", "1"]
    with subprocess.Popen([*ping, address], stdout=subprocess.DEVNULL) as pinging:
        try:
            until(lambda: "INCOMPLETE" in neighbor(asking, address))
            change(LAB, lambda found, _cluster: with_link_up(found, *found.links_down))
            known = neighbor(asking, address)
        finally:
            pinging.terminate()
    assert "INCOMPLETE" not in known


def neighbor(place: str, address: str) -> str:
    context = Context(netns_of_node(LAB, place))
    return run(["ip", "neigh", "show", address], context=context).stdout


def test_between_the_sides_of_a_partition_nothing_passes() -> None:
    shown = faults("partition", "node1,internet", "pod2")
    assert shown == {"partitions": [{"between": ["node/node1", "internet"], "and": ["pod/pod2"]}]}
    assert (status()["healthy"], status()["drift"]) == (True, [])
    failed = kns("probe", "pod1", "pod2")
    assert failed.returncode == 1
    assert "as it must be: a partition keeps node1 and pod2 apart" in failed.stdout
    done = kns("verify")
    assert done.returncode == 0, done.stdout
    # whichever side is named first, and twice is once
    assert faults("partition", "pod/pod2", "internet,node1") == {
        "partitions": [{"between": ["pod/pod2"], "and": ["internet", "node/node1"]}]
    }
    assert faults("partition", "--heal", "node1,internet", "pod2") == {}
    assert kns("probe", "pod1", "pod2").returncode == 0


def test_a_partition_of_nodes_is_healed_with_all_others() -> None:
    faults("partition", "node1", "node2")
    assert len(faults("partition", "pod1", "svc/svc-a")["partitions"]) == 2
    assert kns("exec", "node1", "--", "tc", "qdisc", "del", "dev", "eth0", "root").returncode == 0
    assert status()["drift"] == ["node1: tc on eth0: pfifo limit 0"]
    assert faults("partition", "--heal") == {}


def test_setting_a_way_again_replaces_what_it_was() -> None:
    faults("netem", "set", "any", "pod2", "--rate", "5mbit")
    found = faults("netem", "set", "any", "pod/pod2", "--rate", "1500kbit")
    assert found == {"netem": [{"to": "pod/pod2", "rate": "1500kbit"}]}
    assert faults("netem", "clear") == {}


@pytest.mark.skipif(not features.missing("netem"), reason="this kernel has netem")
def test_without_netem_a_delay_is_refused_and_leaves_nothing() -> None:
    done = kns("netem", "set", "pod1", "pod2", "--delay", "50ms")
    assert done.returncode == 3
    assert "error: delay, loss and the like need netem, which this kernel lacks\n" in done.stderr
    assert "a rate alone works without it" in done.stderr
    assert status()["faults"] == {}


def containers() -> dict[str, tuple[int, int]]:
    """Pid and restarts of each program that runs."""
    answer = agent.order(LAB, GetStatus(), AgentStatus)
    assert isinstance(answer, AgentStatus)
    running = (item for item in answer.containers if item.state is ContainerState.RUNNING)
    return {item.container.rpartition("/")[2]: (item.pid, item.restarts) for item in running}


def until(met: Callable[[], bool]) -> None:
    """Wait for what the agent does by itself."""
    deadline = time.monotonic() + 45
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_process_that_is_killed_is_started_again(lab: Path, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    job = "- {name: job, node: node1, containers: [{name: main, command: [sleep, infinity]}]}"
    text = lab.read_text(encoding="utf-8").replace("services:", f"{job}\nservices:")
    file.write_text(text, encoding="utf-8")
    assert kns("up", str(file)).returncode == 0
    until(lambda: "main" in containers())
    pid, restarts = containers()["main"]
    assert kns("kill", "job", "-c", "main").stdout == "SIGKILL to job, container main\n"
    until(lambda: containers().get("main", (pid, 0)) != (pid, restarts) and "main" in containers())
    assert containers()["main"][1] == restarts + 1
    assert kns("up", str(lab)).returncode == 0


def test_a_built_in_server_that_is_killed_serves_again() -> None:
    done = kns("kill", "pod2", "--signal", "TERM", "-o", "json")
    assert json.loads(done.stdout) == {"lab": LAB, "pod": "default/pod2", "signal": "SIGTERM"}
    until(lambda: kns("probe", "pod1", "pod2").returncode == 0)


def test_up_ends_what_its_file_does_not_say(lab: Path) -> None:
    faults("fail", "node2")
    faults("unready", "pod1")
    done = kns("up", str(lab))
    assert "fabric: set node2 up" in done.stdout
    assert status()["faults"] == {}


def test_a_fault_of_the_file_is_restored_by_up(lab: Path, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    text = lab.read_text(encoding="utf-8")
    file.write_text(f"{text}faults: {{linksDown: [pod1]}}\n", encoding="utf-8")
    assert "set veth" in kns("up", str(file)).stdout
    assert "NO-CARRIER" in link("pod1")
    assert faults("restore", "pod1") == {}
    assert "LOWER_UP" in link("pod1")
    kns("up", str(file))
    assert "NO-CARRIER" in link("pod1")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("fail", "nowhere"), "there is no pod or node 'nowhere'"),
        (("fail", "svc/svc-a"), "there is no pod or node 'svc/svc-a'"),
        (("restore",), "what is to be restored?"),
        (("restore", "pod1", "--all"), "what is to be restored?"),
        (("unready", "node1"), "there is no pod 'node1'"),
        (("netem", "set", "pod1", "pod1", "--rate", "1mbit"), "both ends are the same"),
        (("netem", "set", "any", "any", "--rate", "1mbit"), "both ends are the same"),
        (("netem", "set", "pod1", "pod2"), "Required value: what happens to the packets"),
        (("netem", "set", "pod1", "pod2", "--rate", "5"), "--rate: Invalid value"),
        (("netem", "set", "pod1", "pod2", "--jitter", "5ms"), "jitter has no effect"),
        (("kill", "node1"), "there is no pod 'node1'"),
        (("kill", "pod1", "-c", "nothing"), "pod default/pod1 has no container 'nothing'"),
        (("kill", "pod1", "--signal", "GO"), "there is no signal 'GO'"),
        (("partition",), "which two sides?"),
        (("partition", "pod1"), "which two sides?"),
        (("partition", "--heal", "pod1"), "which two sides?"),
        (("partition", "pod1,node1", "node2,pod1"), "pod/pod1 is on both sides"),
        (("partition", ",", "pod1"), "a side is empty"),
        (("partition", "pod1", "nowhere"), "there is no"),
        (("partition", "--heal", "pod1", "pod2"), "pod1 and pod2 are not apart"),
        (("netem", "clear", "pod1"), "from pod1 to whom?"),
        (("netem", "clear", "pod1", "pod2"), "nothing impairs packets from pod1 to pod2"),
    ],
)
def test_what_is_not_there_can_not_fail(words: tuple[str, ...], error: str) -> None:
    done = kns(*words)
    assert done.returncode == 2
    assert f"error: {error}" in done.stderr
    assert "hint: " in done.stderr


def test_a_link_that_somebody_has_deleted_is_made_again() -> None:
    faults("netem", "set", "node1", "any", "--rate", "5mbit")
    assert kns("exec", "node1", "--", "ip", "link", "del", "eth0").returncode == 0
    done = kns("netem", "set", "node1", "any", "--rate", "6mbit")
    assert done.returncode == 0
    assert "there is no link eth0" in done.stderr
    assert (status()["healthy"], status()["drift"]) == (True, [])
